//go:build unix

package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"testing"
	"time"

	"astrocyte/testkit/story"
)

// idler is a client of which there is nothing but a socket of the kernel, so that what is measured is the server's.
type idler struct {
	b  *testing.B
	fd int
}

func dial(b *testing.B, server string) idler {
	b.Helper()
	u, err := url.Parse(server)
	if err != nil {
		b.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		b.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		b.Fatal(err)
	}
	return idler{b, fd}
}

func (c idler) writes(text string) {
	c.b.Helper()
	if _, err := syscall.Write(c.fd, []byte(text)); err != nil {
		c.b.Fatal(err)
	}
}

// reads reads until a text came.
func (c idler) reads(text string) {
	c.b.Helper()
	var all []byte
	for buf := make([]byte, 64<<10); !bytes.Contains(all, []byte(text)); {
		n, err := syscall.Read(c.fd, buf)
		if n <= 0 || err != nil {
			c.b.Fatalf("no %s came: %s, %v", text, all, err)
		}
		all = append(all, buf[:n]...)
	}
}

// request begins an HTTP request of a user's, as clients write it.
func (c idler) request(u *story.User, method, path string, body any) {
	c.b.Helper()
	text := ""
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			c.b.Fatal(err)
		}
		text = string(raw)
	}
	c.writes(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s",
		method, path, u.Token, len(text), text))
}

// frame writes a frame of a WebSocket, masked with zeros.
func (c idler) frame(v any) {
	c.b.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		c.b.Fatal(err)
	}
	head := []byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}
	if len(text) > 125 {
		head = []byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}
	}
	c.writes(string(head) + string(text))
}

// BenchmarkIdle tells how much memory of the server's a client takes who waits, and how much CPU.
func BenchmarkIdle(b *testing.B) {
	const clients = 1000
	faces := map[string]func(b *testing.B, hs *story.Server, u *story.User){
		"sync": func(b *testing.B, hs *story.Server, u *story.User) {
			dial(b, hs.URL).request(u, "GET", "/_matrix/client/v3/sync?set_presence=offline&timeout=300000&since="+u.Since, nil)
		},
		"sliding": func(b *testing.B, hs *story.Server, u *story.User) {
			pos := u.Slides("idle", roomsInView()).Asks(0).JSON.At("pos").Text()
			dial(b, hs.URL).request(u, "POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?set_presence=offline&timeout=300000&pos="+pos, roomsInView())
		},
		"socket": func(b *testing.B, hs *story.Server, u *story.User) {
			c := dial(b, hs.URL)
			c.writes("GET /_matrix/client/unstable/im.astrocyte.sync/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\r\n")
			c.reads("101 Switching Protocols")
			c.frame(map[string]any{"type": "auth", "access_token": u.Token, "since": u.Since, "set_presence": "offline"})
			c.reads("ready")
		},
	}
	for _, name := range []string{"sync", "sliding", "socket"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				hs := story.Start(b, "sqlite:"+b.TempDir()+"/idle.db")
				users := make([]*story.User, clients)
				var room string
				for i := range users {
					if users[i] = hs.User(fmt.Sprint("u", i)); i%10 == 0 {
						room = users[i].CreatesRoom()
					} else {
						users[i].Joins(room)
					}
				}
				for _, u := range users {
					u.Since = u.SyncsFrom("", "set_presence", "offline").At("next_batch").Text()
				}
				settle()
				before := memoryNow()
				for _, u := range users {
					faces[name](b, hs, u)
				}
				settle()
				after, cpu := memoryNow(), processorTime()
				const watched = 10 * time.Second
				time.Sleep(watched)
				b.ReportMetric(float64(after-before)/1024/clients, "KB/client")
				b.ReportMetric(float64(processorTime()-cpu)/float64(watched)*100/clients, "%core/client")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

func roomsInView() map[string]any {
	return map[string]any{"conn_id": "idle", "lists": map[string]any{"all": map[string]any{"ranges": [][2]int{{0, 19}}, "timeline_limit": 1, "required_state": [][2]string{{"m.room.name", ""}}}},
		"extensions": map[string]any{"to_device": map[string]any{"enabled": true}, "e2ee": map[string]any{"enabled": true}}}
}

// settle waits until the server has nothing left to do.
func settle() {
	for {
		began := processorTime()
		time.Sleep(time.Second)
		if processorTime()-began < 20*time.Millisecond {
			return
		}
	}
}

// memoryNow is what the heap and the stacks take.
func memoryNow() uint64 {
	runtime.GC()
	debug.FreeOSMemory()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
