// Package push decides what deserves a user's attention: push rules, unread counts, and the pushers that
// tell devices which sleep.
//
// Rules are JSON towards clients and compiled for use. A user's rules are the server's defaults, which are
// not stored, with the user's changes, which are. Whether an event notifies is a pure function of the
// event, the rules and a few facts of the room.
//
// Invariants:
//   - of each kind the user's own rules stand before the defaults, but for the master rule, which is first;
//   - a condition that is unknown or malformed never matches, and is given back to clients as it came;
//   - evaluating reads the event in its canonical bytes and builds nothing of it;
//   - counts are a pure function of the events since the receipt and the rules: what is stored of them is
//     a sum up to a place, which can be thrown away at any time.
//
// Spec: CS "Push Notifications".
package push
