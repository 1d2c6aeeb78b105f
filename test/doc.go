// Package test holds what is tested from outside of single packages: the rules of the house, and the
// stories that users live on whole servers.
package test
