// Package e2ee keeps what clients need to encrypt from end to end: identity keys of devices and their
// signatures, one-time and fallback keys, cross-signing keys, messages to devices, backups of room keys,
// and who has to hear that a user's devices changed. It sees public keys and encrypted bytes only.
//
// Invariants:
//   - a one-time key is given out at most once, whatever runs at the same time or crashes. Claiming it is
//     committed before it is told. A claimed key that is uploaded again is not given again. A database that
//     was restored from a backup has forgotten what it gave out; it is found out, and drops them all;
//   - what is stored was checked: it has the user's and device's ids, the types and sizes of the
//     specification, and the signatures that it carries by its own keys are right;
//   - identity keys that a device has signed never change; another identity is another device;
//   - messages to a device have positions of the one stream, in the order of commits. They are told in that
//     order, and deleted only when the client shows a token that covers them;
//   - a change of a user's devices has a position of the stream, taken in the transaction that makes it;
//   - what belongs to a device goes with it, in the transaction that deletes it. Backups belong to the user.
package e2ee
