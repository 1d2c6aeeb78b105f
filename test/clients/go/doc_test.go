// Package clients tries the server with mautrix-go, the client library of most bridges. It is a module of
// its own, so that the library is no dependency of the server:
//
//	go test -tags goolm ./...
//
// The tag chooses the pure Go cryptography, which needs no C library.
package clients
