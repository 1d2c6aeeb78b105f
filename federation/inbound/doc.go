// Package inbound takes the transactions of other servers: it judges what is in them, keeps it durably, answers, and
// brings it into the rooms.
//
// What a transaction brings is read strictly, and verified, before it is answered. From then on it stands in the
// database, and a job for each room receives its events in the order of the room's graph. Events before which others
// are missing are put aside for a second job, which asks other servers: so nobody who makes this server wait
// keeps the events of others waiting, of the same room or of another.
//
// Invariants:
//   - an event that was answered without an error is received, or it is logged why not, over any crash;
//   - transactions of a server are taken one at a time, and a repeated one is answered the same;
//   - a server speaks for its own users only, and of a room only where the room's ACL lets it;
//   - every body, list and queue is bounded; too much of one server or room is refused, and delays no other.
//
// Spec: SS "Transactions", "PDUs", "EDUs".
package inbound
