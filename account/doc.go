// Package account keeps the users of this server: accounts, passwords, devices, access tokens,
// user-interactive authentication, registration tokens, profiles, account data, tags and filters.
//
// Invariants:
//   - a user id is never given twice: rows of users are deactivated, not deleted;
//   - no secret is stored as it is: tokens as SHA-256, passwords as argon2id or bcrypt;
//   - a token ends with its device, in the same transaction; a device has one pair of tokens in use,
//     and besides it only successors that nobody has used yet;
//   - a revoked token is refused at once by the node that revoked it, and by the others as soon as
//     the change arrives by the bus; a lost change costs at most cacheTTL;
//   - hashing passwords is bounded in number at a time, so that log-ins cannot exhaust the memory;
//   - an unknown user costs a log-in as much as a wrong password.
package account
