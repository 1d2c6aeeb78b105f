// Package story runs whole servers within a test and gives the verbs of their users, from which stories
// are told: alice.CreatesRoom, bob.Joins, bob.Sees.
//
// It stands apart from package testkit so that the tests of every package can use that one.
//
// Invariants:
//   - users talk to the server by HTTP alone, as clients do;
//   - what holds for every answer is checked at every answer, not only where a story is about it: answers
//     are JSON, no event comes twice in a sync, a room's events come in order;
//   - an error in the server's log fails the story.
package story
