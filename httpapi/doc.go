// Package httpapi stands between a socket and a handler: it routes, decodes requests into structs by
// their tags, finds the caller, applies limits, and writes answers and errors. It knows nothing of
// rooms or accounts; who a token belongs to is told by an Authenticator.
//
// Invariants:
//   - every answer carries the CORS headers, and every failure the standard error body, also those of
//     the HTTP layer itself;
//   - a handler sees only decoded values: path segments are percent-decoded after the routing, text is
//     valid UTF-8 without NUL, identifiers are valid, bodies are bounded and checked JSON objects;
//   - a *matrix.Error is shown to the caller; the text of any other error is logged and never shown;
//   - access tokens and bodies are never logged.
package httpapi
