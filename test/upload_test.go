package test

import (
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// TestACutUploadLeavesNothing cuts the connection in the middle of a file: while it has a length that was
// said, while it is sent in chunks, and in the middle of one.
func TestACutUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	var folder string
	hs := story.Start(t, testkit.SQLite(t), func(c *config.Config) { folder = filepath.Join(c.DataDir, "media") })
	alice := hs.User("alice")
	half := strings.Repeat("x", 200<<10)
	for name, request := range map[string]string{
		"a length":    "Content-Length: 1000000\r\n\r\n" + half,
		"chunks":      fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(half), half),
		"a cut chunk": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s", 1<<20, half),
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(hs.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n%s", alice.Token, request)
		until(t, name+": the file arrives", func() bool { return files(folder) == 1 })
		if err := c.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		until(t, name+": nothing is left", func() bool { return files(folder) == 0 })
	}
	alice.IsRefused(matrix.CodeTooLarge, 413, "POST", "/keys/upload", `{"one_time_keys":{"signed_curve25519:A":{"key":"`+strings.Repeat("A", 12<<20)+`"}}}`)
}

// until waits for something of which nothing else tells.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// files counts the files in a folder and those in it.
func files(folder string) (n int) {
	_ = filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return nil // what is not there, or goes meanwhile, is no file
	})
	return n
}
