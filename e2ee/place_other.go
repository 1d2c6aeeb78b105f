//go:build !linux

package e2ee

// placeOf would tell a file from its copies; here it is not known how.
func placeOf(string) (string, error) { return "", nil }
