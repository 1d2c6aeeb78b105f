package clients

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// patience is how long somebody waits for something before the test fails.
const patience = 30 * time.Second

// person is somebody with a client that syncs all the time.
type person struct {
	*mautrix.Client
	t   *testing.T
	ctx context.Context

	syncing *mautrix.DefaultSyncer
	crypto  *encryption // nil: speaks in clear

	mu     sync.Mutex
	events []*event.Event
	news   chan struct{}
}

// syncer is the library's, but asks again soon after a failure.
type syncer struct{ *mautrix.DefaultSyncer }

func (syncer) OnFailedSync(_ *mautrix.RespSync, err error) (time.Duration, error) {
	if errors.Is(err, mautrix.MUnknownToken) {
		return 0, err
	}
	return 50 * time.Millisecond, nil
}

func password(name string) string { return "the password of " + name }

// newPerson makes a client that is not logged in yet.
func newPerson(t *testing.T, s *server) *person {
	t.Helper()
	client, err := mautrix.NewClient(s.url(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	p := &person{Client: client, t: t, ctx: t.Context(), syncing: mautrix.NewDefaultSyncer(), news: make(chan struct{}, 1)}
	p.Syncer = syncer{p.syncing}
	return p
}

func register(t *testing.T, s *server, name string) *person {
	t.Helper()
	p := newPerson(t, s)
	answer, err := p.RegisterDummy(p.ctx, &mautrix.ReqRegister{Username: name, Password: password(name)})
	if err != nil {
		t.Fatalf("%s registers: %v", name, err)
	}
	p.SetCredentials(answer.UserID, answer.AccessToken)
	p.DeviceID = answer.DeviceID
	return p
}

// login gives somebody one more device.
func login(t *testing.T, s *server, name string) *person {
	t.Helper()
	p := newPerson(t, s)
	_, err := p.Login(p.ctx, &mautrix.ReqLogin{
		Type: mautrix.AuthTypePassword, Identifier: mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: name},
		Password: password(name), StoreCredentials: true,
	})
	if err != nil {
		t.Fatalf("%s logs in: %v", name, err)
	}
	return p
}

// listens syncs until the test ends or the session does; what Sync returned is in the channel then.
func (p *person) listens() <-chan error {
	p.syncing.ParseErrorHandler = func(e *event.Event, err error) bool {
		if !errors.Is(err, event.ErrUnsupportedContentType) && !errors.Is(err, event.ErrContentAlreadyParsed) {
			p.t.Errorf("%s cannot read %s %s: %v", p.UserID, e.Type.Type, e.ID, err)
		}
		return true
	}
	p.syncing.OnEvent(func(_ context.Context, e *event.Event) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.events = append(p.events, e)
		select {
		case p.news <- struct{}{}:
		default:
		}
	})
	done := make(chan error, 1)
	go func() {
		err := p.SyncWithContext(p.ctx)
		if p.t.Context().Err() == nil {
			p.t.Logf("%s %s syncs no more: %v", p.UserID, p.DeviceID, err)
		}
		done <- err
	}()
	return done
}

// sees waits for an event that fits and gives it.
func (p *person) sees(what string, fits func(e *event.Event) bool) *event.Event {
	p.t.Helper()
	late := time.After(patience)
	for {
		p.mu.Lock()
		i := slices.IndexFunc(p.events, fits)
		if i >= 0 {
			defer p.mu.Unlock()
			return p.events[i]
		}
		p.mu.Unlock()
		select {
		case <-p.news:
		case <-late:
			if p.crypto != nil {
				p.readsAll()
			}
			p.t.Fatalf("%s %s waited in vain for %s", p.UserID, p.DeviceID, what)
		}
	}
}

// seesText waits for a message in a room's timeline.
func (p *person) seesText(room id.RoomID, text string) *event.Event {
	p.t.Helper()
	return p.sees("the message "+text, func(e *event.Event) bool {
		return e.RoomID == room && e.Type == event.EventMessage && e.Content.AsMessage().Body == text
	})
}

// texts gives how often each message came.
func (p *person) texts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := map[string]int{}
	for _, e := range p.events {
		if e.Type == event.EventMessage {
			n[e.Content.AsMessage().Body]++
		}
	}
	return n
}

func (p *person) says(room id.RoomID, text string) id.EventID {
	p.t.Helper()
	answer, err := p.SendText(p.ctx, room, text)
	if err != nil {
		p.t.Fatalf("%s says %q: %v", p.UserID, text, err)
	}
	return answer.EventID
}

// history reads a room backward to its beginning and gives it oldest first.
func (p *person) history(room id.RoomID) []*event.Event {
	p.t.Helper()
	var all []*event.Event
	for from := ""; ; {
		page, err := p.Messages(p.ctx, room, from, "", mautrix.DirectionBackward, nil, 30)
		if err != nil {
			p.t.Fatalf("%s reads the history: %v", p.UserID, err)
		}
		all = append(all, page.Chunk...)
		if from = page.End; from == "" {
			slices.Reverse(all)
			return all
		}
	}
}
