// Package homeserver makes the parts of a server from the ground up, runs them, and stops them.
//
// Invariants:
//   - New makes and starts nothing but the database's migrations; Run starts every goroutine and waits
//     for all of them;
//   - parts stop from the top down: no request is served by a part that has stopped;
//   - a part that ends by itself ends the server.
package homeserver
