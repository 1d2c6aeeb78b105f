// Package sender brings to other servers what they are to know: events, and what passes.
//
// A follower of the stream marks for each event the servers that it is for. Whatever waits for a server stands in
// the database as places of timelines, and is read when a transaction is made of it: a server that is not reached
// costs a few rows and no memory. A node takes a server by a claim in its row, sends one transaction after the
// other until nothing waits, and gives it back.
//
// Invariants:
//   - an event is for the servers that are in its room before it or after it, and for no others;
//   - a place is passed only when the server has taken the transaction, in the same order: a crash repeats at most
//     the transaction that was under way, under the same id, as the id is made of what is in it;
//   - at any time one node sends one transaction to a server;
//   - a server that is not reached is left alone for a time that doubles, up to a day, and tried at once when it
//     is heard of;
//   - what is kept in memory is bounded and passes: typing, receipts, presence.
//
// Spec: SS "Transactions", "PDUs", "EDUs".
package sender
