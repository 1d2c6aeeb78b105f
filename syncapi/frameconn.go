package syncapi

import (
	"bufio"
	"encoding/binary"
	"net"
	"net/http"
	"sync"
)

// frameConn is the connection of a WebSocket as the library reads it: never beyond the end of a frame. So the library
// keeps nothing back between two frames, and a socket may rest whenever more says that nothing else has come. What is
// read is kept in a buffer that is only there while something is in it.
type frameConn struct {
	net.Conn
	buffers *sync.Pool
	buffer  *[4096]byte
	unread  []byte   // of the buffer
	head    [14]byte // of the frame
	have    int      // how much of the head is there
	left    uint64   // how much of the frame's payload is to come
}

// more says whether something was read that no frame before it had.
func (c *frameConn) more() bool { return len(c.unread) > 0 }

// Read reads what is left of a frame, or less.
func (c *frameConn) Read(b []byte) (int, error) {
	if len(c.unread) == 0 {
		if c.buffer == nil {
			if c.buffer, _ = c.buffers.Get().(*[4096]byte); c.buffer == nil {
				c.buffer = new([4096]byte)
			}
		}
		n, err := c.Conn.Read(c.buffer[:])
		if c.unread = c.buffer[:n]; n == 0 {
			c.drop()
			return 0, err
		}
	}
	n := 0
	for over := false; n < len(b) && len(c.unread) > 0 && !over; {
		var part int
		part, over = c.part(b[n:])
		n += part
	}
	if len(c.unread) == 0 {
		c.drop()
	}
	return n, nil
}

// drop gives the buffer back.
func (c *frameConn) drop() {
	c.buffers.Put(c.buffer)
	c.buffer, c.unread = nil, nil
}

// part copies a byte of the head, or some of the payload; over: the frame ends there.
func (c *frameConn) part(b []byte) (n int, over bool) {
	if c.left > 0 {
		n = copy(b, c.unread[:min(uint64(len(c.unread)), c.left)])
		c.unread, c.left = c.unread[n:], c.left-uint64(n)
		return n, c.left == 0
	}
	b[0], c.head[c.have] = c.unread[0], c.unread[0]
	c.unread = c.unread[1:]
	c.have++
	if !c.headed() {
		return 1, false
	}
	c.have = 0
	return 1, c.left == 0
}

// headed says whether the head is whole, which then tells how long the payload is.
//
// Spec: RFC 6455, 5.2
func (c *frameConn) headed() bool {
	if c.have < 2 {
		return false
	}
	length, whole := uint64(c.head[1]&0x7f), 2
	switch length {
	case 126:
		whole += 2
	case 127:
		whole += 8
	}
	extended := whole
	if c.head[1]&0x80 != 0 {
		whole += 4 // the mask
	}
	if c.have < whole {
		return false
	}
	switch extended {
	case 4:
		length = uint64(binary.BigEndian.Uint16(c.head[2:]))
	case 10:
		length = binary.BigEndian.Uint64(c.head[2:])
	}
	c.left = length
	return true
}

// taking makes the connection that the upgrader takes a frameConn.
type taking struct {
	http.ResponseWriter
	buffers *sync.Pool
	conn    *frameConn
}

// Hijack takes the connection.
func (t *taking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	t.conn = &frameConn{Conn: conn, buffers: t.buffers}
	return t.conn, rw, nil
}
