// Package peer finds other servers and speaks with them: it resolves their names, connects to addresses that
// the egress policy allows, signs requests, and keeps the keys by which requests and events of others are
// verified. What is asked and what an answer means is for others.
//
// Invariants:
//   - a connection is used for a server only where its certificate is good for the name that the server's name
//     leads to;
//   - every answer is bounded in size and time before it is read;
//   - a key counts only where its server has signed for it, whoever brought it;
//   - keys are fetched outside of any transaction; who needs the same server's keys at the same time waits for
//     one fetch; a server that gave none is left alone for a while.
//
// Spec: SS "Server discovery", "Authentication", "Retrieving server keys".
package peer
