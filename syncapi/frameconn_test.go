package syncapi

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
)

// masked is a frame of a client, masked with zeros.
func masked(kind byte, final bool, payload string) []byte {
	first := kind
	if final {
		first |= 0x80
	}
	head := []byte{first, 0x80 | 127, 0, 0, 0, 0, 0, byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload))}
	switch {
	case len(payload) < 126:
		head = []byte{first, 0x80 | byte(len(payload))}
	case len(payload) < 1<<16:
		head = []byte{first, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload))}
	}
	return append(append(head, 0, 0, 0, 0), payload...)
}

// TestFramesAreReadOneByOne cuts a row of messages at any place: each is read whole, and after it nothing of the next one
// is held back where nobody can see it.
func TestFramesAreReadOneByOne(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var want []string
	var ends []int // of the messages, in the row
	var row []byte
	for i := range 200 {
		text := fmt.Sprint(i, strings.Repeat("x", []int{0, 1, 120, 130, 4090, 70000}[rng.IntN(6)]))
		switch rng.IntN(4) {
		case 0:
			row = append(row, masked(9, true, "ping")...)
			fallthrough
		case 1:
			row = append(row, masked(1, false, text[:1])...)
			row = append(row, masked(0, false, "")...)
			row = append(row, masked(0, true, text[1:])...)
		default:
			row = append(row, masked(1, true, text)...)
		}
		want, ends = append(want, text), append(ends, len(row))
	}
	upgrade := websocket.Upgrader{ReadBufferSize: 128}
	var buffers sync.Pool
	read := make(chan error, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		taken := &taking{ResponseWriter: w, buffers: &buffers}
		conn, err := upgrade.Upgrade(taken, r, nil)
		if err != nil {
			read <- err
			return
		}
		defer conn.Close()
		counted := &countedConn{Conn: taken.conn.Conn}
		taken.conn.Conn = counted
		read <- func() error {
			for i := range want {
				_, text, err := conn.ReadMessage()
				if err != nil || string(text) != want[i] {
					return fmt.Errorf("message %d is %.20q, %v; want %.20q", i, text, err, want[i])
				}
				if beyond := counted.n - ends[i]; beyond != len(taken.conn.unread) || taken.conn.more() != (beyond > 0) || beyond == 0 && taken.conn.buffer != nil {
					return fmt.Errorf("after message %d: %d bytes were read beyond it, %d are known", i, beyond, len(taken.conn.unread))
				}
			}
			return nil
		}()
	}))
	defer s.Close()
	client, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	go io.Copy(io.Discard, client.NetConn()) //nolint:errcheck // pongs
	for rest := row; len(rest) > 0; {
		n := min(1+rng.IntN([]int{3, 300, 9000}[rng.IntN(3)]), len(rest))
		if _, err := client.NetConn().Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// countedConn counts what is read.
type countedConn struct {
	net.Conn
	n int
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n += n
	return n, err
}
