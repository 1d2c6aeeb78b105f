// Package appservice serves application services: bridges and bots that act for many users of this server.
// It reads their registrations, knows their tokens and namespaces, brings them the events that concern
// them, and asks them for users, aliases and third-party places.
//
// Invariants:
//   - no two registrations share an id, a token or a sender;
//   - a token is compared in constant time, and is neither stored nor logged;
//   - a service is told its events in the order of the stream, one transaction at a time; a transaction is
//     repeated under the same id until the service has taken it, also after a restart and on another node;
//   - what lies in an exclusive namespace is made by its service alone.
package appservice
