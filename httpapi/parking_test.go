package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"astrocyte/httpapi"
	"astrocyte/matrix"
)

// waitingRoom is a server with an endpoint that waits: its requests are parked, and answered by the test.
type waitingRoom struct {
	t      *testing.T
	addr   string
	srv    *httpapi.Server
	stop   func()
	parked chan *httpapi.Detached
	waits  chan struct{} // who waits in the handler
	log    *lines
}

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

func newWaitingRoom(t *testing.T) *waitingRoom {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("nothing is parked on this system")
	}
	w := &waitingRoom{t: t, parked: make(chan *httpapi.Detached, 100), waits: make(chan struct{}, 100), log: new(lines)}
	r := httpapi.New(httpapi.Options{Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	r.Handle("GET", "/wait", httpapi.RawOpen(func(http.ResponseWriter, *http.Request, *httpapi.Caller) error {
		return &httpapi.Later{
			Park: func(d *httpapi.Detached) { w.parked <- d },
			Wait: func(rw http.ResponseWriter, r *http.Request) error {
				w.waits <- struct{}{}
				return httpapi.WriteJSON(rw, r, 200, "waited")
			},
		}
	}))
	r.Handle("GET", "/now", httpapi.RawOpen(func(rw http.ResponseWriter, r *http.Request, _ *httpapi.Caller) error {
		return httpapi.WriteJSON(rw, r, 200, "now")
	}))
	w.srv = httpapi.NewServer(r, slog.New(slog.DiscardHandler))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = w.srv.Serve(l) })
	all.Go(func() {
		if err := w.srv.RunParking(ctx); err != nil {
			t.Error(err)
		}
	})
	w.stop = sync.OnceFunc(func() {
		drain, end := context.WithTimeout(context.Background(), 2*time.Minute)
		defer end()
		if err := w.srv.Stop(drain); err != nil {
			t.Error(err)
		}
		cancel()
		all.Wait()
	})
	t.Cleanup(w.stop)
	return w
}

// client is one connection.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (w *waitingRoom) connects() *client {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	return &client{w.t, conn, bufio.NewReader(conn)}
}

func (c *client) sends(requests ...string) {
	c.t.Helper()
	var text strings.Builder
	for _, r := range requests {
		path, more, _ := strings.Cut(r, " ")
		fmt.Fprintf(&text, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, more)
	}
	if _, err := io.WriteString(c, text.String()); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) gets(want string) *http.Response {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != want {
		c.t.Fatalf("the answer is %q %v, want %q", body, err, want)
	}
	return res
}

func answers(d *httpapi.Detached, v any) {
	d.Finish(func(w http.ResponseWriter, r *http.Request) error { return httpapi.WriteJSON(w, r, 200, v) })
}

func TestParkedRequestsAreAnswered(t *testing.T) {
	t.Parallel()
	w := newWaitingRoom(t)
	c := w.connects()
	for i := range 3 { // on the same connection, with others in between
		c.sends("/wait User-Agent: test\r\n")
		d := <-w.parked
		if d.Request().UserAgent() != "test" || d.Request().URL.Path != "/wait" {
			t.Errorf("the request that is kept is %+v", d.Request())
		}
		answers(d, i)
		res := c.gets(fmt.Sprint(i))
		for name, want := range map[string]string{
			"Content-Type": "application/json", "Content-Length": "1", "Access-Control-Allow-Origin": "*", "Connection": "",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if res.Header.Get("Date") == "" || res.Header.Get("X-Request-ID") == "" || res.StatusCode != 200 {
			t.Errorf("the answer has %d %v", res.StatusCode, res.Header)
		}
		c.sends("/now")
		c.gets(`"now"`)
	}
	if !w.log.has("path=/wait status=200") {
		t.Error("the request was not logged")
	}
}

func TestParkedRequestsFail(t *testing.T) {
	t.Parallel()
	w := newWaitingRoom(t)
	c := w.connects()
	for _, f := range []struct {
		status int
		code   string
		fn     func() error
	}{
		{401, "M_UNKNOWN_TOKEN", func() error { return matrix.E(matrix.CodeUnknownToken, "gone") }},
		{500, "M_UNKNOWN", func() error { panic("oh") }},
	} {
		c.sends("/wait")
		(<-w.parked).Finish(func(http.ResponseWriter, *http.Request) error { return f.fn() })
		res, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != f.status || !strings.Contains(string(body), f.code) {
			t.Errorf("the answer is %d %s, want %d %s", res.StatusCode, body, f.status, f.code)
		}
	}
}

func TestPipelinedRequestsAreKept(t *testing.T) {
	t.Parallel()
	w := newWaitingRoom(t)
	c := w.connects()
	c.sends("/wait", "/now", "/wait", "/now")
	answers(<-w.parked, 1)
	c.gets("1")
	c.gets(`"now"`)
	d := <-w.parked
	c.sends("/now") // comes while it is parked
	answers(d, 2)
	c.gets("2")
	c.gets(`"now"`)
	c.gets(`"now"`)
}

func TestClosedConnectionsEndParking(t *testing.T) {
	t.Parallel()
	w := newWaitingRoom(t)
	c := w.connects()
	c.sends("/wait")
	d := <-w.parked
	_ = c.Close()
	gone := make(chan bool, 1)
	d.OnEnd(func(it bool) { gone <- it })
	if !<-gone {
		t.Error("the client went away, and the server was said to stop")
	}
	d.Abandon()
	if !w.log.has("status=499") {
		t.Error("the request was not logged as one whose client went away")
	}
	again := w.connects() // may have the same descriptor
	again.sends("/wait")
	answers(<-w.parked, 1)
	again.gets("1")
}

func TestConnectionsThatEndWithTheAnswer(t *testing.T) {
	t.Parallel()
	w := newWaitingRoom(t)
	c := w.connects()
	c.sends("/wait Connection: close\r\n")
	answers(<-w.parked, 1)
	if res := c.gets("1"); !res.Close {
		t.Error("the answer does not say that the connection ends")
	}
	if _, err := c.r.ReadByte(); err != io.EOF {
		t.Errorf("the connection is open: %v", err)
	}
	old := w.connects()
	_, _ = io.WriteString(old, "GET /wait HTTP/1.0\r\n\r\n")
	old.gets(`"waited"`)
}

func TestAnswersLargerThanTheConnectionTakes(t *testing.T) {
	t.Parallel()
	w := newWaitingRoom(t)
	c := w.connects()
	c.sends("/wait")
	large := strings.Repeat("x", 32<<20)
	answers(<-w.parked, large) // returns although nobody reads
	c.gets(`"` + large + `"`)
	c.sends("/now")
	c.gets(`"now"`)
}

func TestTheStopWaitsForTheParked(t *testing.T) {
	t.Parallel()
	w := newWaitingRoom(t)
	c, idle := w.connects(), w.connects()
	idle.sends("/wait")
	answers(<-w.parked, 1)
	idle.gets("1")
	c.sends("/wait")
	d := <-w.parked
	told := make(chan bool, 1)
	d.OnEnd(func(gone bool) { told <- gone })
	stopped := make(chan struct{})
	go func() {
		w.stop()
		close(stopped)
	}()
	if <-told {
		t.Error("the server stops, and the client was said to have gone")
	}
	if _, err := idle.r.ReadByte(); err != io.EOF {
		t.Errorf("the idle connection is open: %v", err)
	}
	select {
	case <-stopped:
		t.Fatal("the stop did not wait for the answer")
	default:
	}
	answers(d, "bye")
	c.gets(`"bye"`)
	<-stopped
}
