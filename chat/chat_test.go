package chat_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"astrocyte/chat"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// person is somebody with the small client.
type person struct {
	*chat.Client
	t    *testing.T
	told chan chat.Told

	mu    sync.Mutex
	texts []string
	token string
}

// talks connects a client that goes on from a token, until the test ends or stop is called.
func talks(t *testing.T, hs *story.Server, u *story.User, since string) (p *person, stop func()) {
	t.Helper()
	p = &person{t: t, told: make(chan chat.Told, 1000)}
	p.Client = chat.New(chat.Options{
		Server: hs.URL, Token: u.Token, Since: since, Delivered: true,
		Take: func(told chat.Told) {
			p.mu.Lock()
			if text := told.Event.Text(); text != "" {
				p.texts = append(p.texts, text)
			}
			p.token = told.Token
			p.mu.Unlock()
			p.told <- told
		},
		Pause: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return p, stop
}

// awaits waits until something is told.
func (p *person) awaits(what string, fits func(chat.Told) bool) chat.Told {
	p.t.Helper()
	for limit := time.After(30 * time.Second); ; {
		select {
		case told := <-p.told:
			if fits(told) {
				return told
			}
		case <-limit:
			p.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (p *person) awaitsText(text string) chat.Told {
	p.t.Helper()
	return p.awaits(text, func(told chat.Told) bool { return told.Event.Text() == text })
}

func TestTheyTalk(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		a, _ := talks(t, hs, alice, "")
		b, stop := talks(t, hs, bob, "")
		a.awaits("the connection", func(told chat.Told) bool { return told.Kind == "ready" && told.User == alice.ID })
		b.awaits("the first delta", func(told chat.Told) bool { return told.Room == room })
		event, err := a.Send(t.Context(), room, "1", "hello")
		if err != nil {
			t.Fatal(err)
		}
		if told := b.awaitsText("hello"); told.Event.ID != event || told.Event.Sender != alice.ID {
			t.Errorf("bob is told %+v", told)
		}
		a.awaits("the delivery", func(told chat.Told) bool {
			return told.Kind == "delivered" && slices.Contains(told.Events, event) && told.User == bob.ID
		})
		if again, err := a.Send(t.Context(), room, "1", "hello"); err != nil || again != event {
			t.Errorf("a repeated message is %s %v, and was %s", again, err, event)
		}
		if err := b.Read(t.Context(), room, event); err != nil {
			t.Error(err)
		}
		if err := b.Types(t.Context(), room, true); err != nil {
			t.Error(err)
		}
		if _, err := b.Send(t.Context(), "!none:localhost", "2", "nobody is there"); err == nil || !strings.Contains(err.Error(), "M_") {
			t.Errorf("a message to no room is answered by %v", err)
		}
		// Bob is away, and misses more than one delta tells.
		stop()
		for i := range 30 {
			alice.Says(room, fmt.Sprint("missed ", i))
		}
		b.mu.Lock()
		since := b.token
		b.mu.Unlock()
		back, _ := talks(t, hs, bob, since)
		back.awaitsText("missed 29")
		// The server restarts; a message that is sent meanwhile arrives.
		hs.Restart()
		if _, err := a.Send(t.Context(), room, "3", "after the restart"); err != nil {
			t.Fatal(err)
		}
		back.awaitsText("after the restart")
		for i := range 30 {
			alice.Says(room, fmt.Sprint("later ", i))
		}
		for i := range 30 {
			back.awaitsText(fmt.Sprint("later ", i))
		}
	})
}

func TestAPageIsServed(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	chat.Page().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "im.astrocyte.sync/ws") || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("the page is %d %v", w.Code, w.Header())
	}
	w = httptest.NewRecorder()
	chat.Page().ServeHTTP(w, httptest.NewRequest("GET", "/other", nil))
	if w.Code != 404 {
		t.Errorf("another page is %d", w.Code)
	}
}
