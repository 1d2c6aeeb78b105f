// Package rules is the room engine's part that needs nothing but its arguments: events are read, built,
// hashed, signed, redacted, authorized and resolved by the rules of their room's version. It knows no
// store, no clock and no network.
//
// Invariants:
//   - An Event exists only in verified form: its bytes are canonical JSON that the strict reader accepts,
//     with hashes and signatures and without unsigned. What was verified is what is stored, byte for byte,
//     and what is read again: Read and Load look at the bytes through the same index.
//   - An Event is immutable. Its accessors may be called from any goroutine; its bytes are never written.
//   - Keys are compared byte by byte. No event is ever decoded into a map.
package rules
