// Package syncapi tells clients what is new: the long poll of /sync, and the WebSocket extension. Both
// read with one reader and wait with one waker.
//
// How it reads: listen first, then read, then sleep. A waiter is registered before the database is
// read, so that what is committed in between wakes it. Each answer is read in one transaction, of one
// moment: the position upto. It tells what came after the position of the client's token, and its own
// token says upto, so the next answer begins where this one ended.
//
// Invariants:
//   - all parts of an answer are of one moment;
//   - along a chain of tokens, each timeline event that the client may see is told once, unless the
//     answer says that the timeline is limited: then what is missing is before its prev_batch;
//   - a room's state, as the client computes it from all answers, is the room's state at upto;
//   - hints of the bus wake, and decide nothing: what changed is known from the database. One reader reads
//     for all, up to the position of its transaction, which rooms and users changed (see tail);
//   - what is kept in memory (tails, rooms of users, recent places of rooms, members sent to devices) is
//     bounded, and losing it costs a query or repeats a member event, no more;
//   - a slow reader makes nothing grow: the next answer is read when the last one was written.
package syncapi
