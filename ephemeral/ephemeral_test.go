package ephemeral_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/ephemeral"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

const (
	alice = matrix.UserID("@alice:example.org")
	bob   = matrix.UserID("@bob:example.org")
	eve   = matrix.UserID("@eve:example.org")
)

// clock is a clock that stands unless it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a room of alice and bob.
type world struct {
	*ephemeral.Ephemeral
	t     *testing.T
	db    *store.DB
	bus   bus.Bus
	rooms *roomserver.Rooms
	clock *clock
	room  matrix.RoomID
	nid   roomserver.RoomNID
}

func start(t *testing.T, dsn string) *world {
	t.Helper()
	w := &world{t: t, bus: bus.NewLocal(), clock: &clock{now: time.Now()}}
	w.db = testkit.Open(t, store.Options{DSN: dsn, Bus: w.bus})
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.rooms = roomserver.New(roomserver.Options{
		DB: w.db, Server: "example.org", KeyID: "ed25519:1", Key: key, Memory: 8 << 20, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	w.runs(w.rooms.Run)
	w.Ephemeral = ephemeral.New(ephemeral.Options{DB: w.db, Bus: w.bus, Rooms: w.rooms, Now: w.clock.Now})
	if w.room, err = w.rooms.Create(t.Context(), roomserver.Creation{Creator: alice, Version: "12", Preset: roomserver.PublicChat}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.rooms.SetMembership(t.Context(), roomserver.Change{Room: w.room, Sender: bob, Target: bob, Membership: matrix.Join}); err != nil {
		t.Fatal(err)
	}
	w.view(func(tx *store.Tx) (err error) {
		w.nid, _, err = w.rooms.NID(tx, w.room)
		return err
	})
	return w
}

func (w *world) runs(run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

func (w *world) view(fn func(tx *store.Tx) error) {
	w.t.Helper()
	if err := w.db.View(w.t.Context(), fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) says(body, relates string) matrix.EventID {
	w.t.Helper()
	content := `{"msgtype":"m.text","body":` + strconv.Quote(body) + `}`
	if relates != "" {
		content = content[:len(content)-1] + `,"m.relates_to":` + relates + `}`
	}
	id, err := w.rooms.Send(w.t.Context(), roomserver.Draft{Room: w.room, Sender: alice, Type: "m.room.message", Content: json.RawMessage(content)})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) reads(user matrix.UserID, kind string, event matrix.EventID, thread ...string) error {
	r := ephemeral.Reading{User: user, Room: w.room, Type: kind, Event: event}
	if len(thread) > 0 {
		r.Thread = &thread[0]
	}
	return w.Mark(w.t.Context(), r)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) refused(code matrix.Code, err error) {
	w.t.Helper()
	var fault *matrix.Error
	if !errors.As(err, &fault) || fault.Code != code {
		w.t.Errorf("got %v, want %s", err, code)
	}
}

// receipts reads what is new to a user, and the position.
func (w *world) receipts(since int64, user matrix.UserID) (found []ephemeral.Receipt, upto int64) {
	w.t.Helper()
	w.view(func(tx *store.Tx) (err error) {
		if upto, err = tx.Pos(); err == nil {
			found, err = w.ReceiptsSince(tx, []roomserver.RoomNID{w.nid}, since, upto, user)
		}
		return err
	})
	return found, upto
}

func TestReceiptsMoveForward(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		first, second := w.says("one", ""), w.says("two", "")
		_, since := w.receipts(0, alice)
		w.must(w.reads(bob, ephemeral.Read, second))
		found, upto := w.receipts(since, alice)
		if len(found) != 1 || found[0].Event != second || found[0].User != bob || found[0].Pos != upto {
			t.Fatalf("the new receipts are %+v", found)
		}
		w.must(w.reads(bob, ephemeral.Read, first))
		if found, now := w.receipts(upto, alice); len(found) != 0 || now != upto {
			t.Errorf("a receipt went back: %+v", found)
		}
		if found, _ := w.receipts(0, alice); len(found) != 1 || found[0].Event != second {
			t.Errorf("all receipts are %+v", found)
		}
		w.must(w.reads(bob, ephemeral.ReadPrivate, second))
		if found, _ := w.receipts(upto, alice); len(found) != 0 {
			t.Errorf("alice sees what bob does not show: %+v", found)
		}
		if found, _ := w.receipts(upto, bob); len(found) != 1 || !found[0].Private {
			t.Errorf("bob sees of his own %+v", found)
		}
		if found, _ := w.receipts(0, alice); len(found) != 1 {
			t.Errorf("alice sees at first %+v", found)
		}
	})
}

func TestReceiptsOfThreads(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		root := w.says("root", "")
		reply := w.says("reply", `{"rel_type":"m.thread","event_id":"`+string(root)+`"}`)
		edit := w.says("edit", `{"rel_type":"m.replace","event_id":"`+string(reply)+`"}`)
		w.must(w.reads(bob, ephemeral.Read, root, "main"))
		w.must(w.reads(bob, ephemeral.Read, reply, string(root)))
		w.must(w.reads(bob, ephemeral.Read, edit, string(root)))
		w.must(w.reads(bob, ephemeral.Read, edit))
		w.refused(matrix.CodeInvalidParam, w.reads(bob, ephemeral.Read, reply, "main"))
		w.refused(matrix.CodeInvalidParam, w.reads(bob, ephemeral.Read, reply, string(edit)))
		w.refused(matrix.CodeInvalidParam, w.reads(bob, ephemeral.Read, reply, ""))
		w.refused(matrix.CodeInvalidParam, w.reads(bob, ephemeral.FullyRead, reply, "main"))
		found, _ := w.receipts(0, alice)
		if len(found) != 3 {
			t.Fatalf("the receipts are %+v", found)
		}
		contents, err := ephemeral.Contents(found)
		if err != nil {
			t.Fatal(err)
		}
		if len(contents) != 1 {
			t.Fatalf("the contents are %s", contents)
		}
		var content map[matrix.EventID]map[string]map[matrix.UserID]map[string]any
		if err := json.Unmarshal(contents[0], &content); err != nil {
			t.Fatal(err)
		}
		if got := content[root]["m.read"][bob]["thread_id"]; got != "main" {
			t.Errorf("the thread is %v in %s", got, contents[0])
		}
		if got, told := content[edit]["m.read"][bob]["thread_id"]; told || content[edit] == nil {
			t.Errorf("the receipt of the room is one of the thread %v in %s", got, contents[0])
		}
		about := `{"rel_type":"m.annotation","event_id":"` + string(w.says("on the root", `{"rel_type":"m.reference","event_id":"`+string(root)+`"}`)) + `"}`
		w.must(w.reads(bob, ephemeral.Read, w.says("on that", about), string(root))) // reads the thread, though it is not in it
	})
}

func TestReceiptsAreRefused(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		event := w.says("one", "")
		w.refused(matrix.CodeForbidden, w.reads(eve, ephemeral.Read, event))
		w.refused(matrix.CodeInvalidParam, w.reads(bob, "org.example.read", event))
		w.refused(matrix.CodeNotFound, w.reads(bob, ephemeral.Read, "$nothing"))
		w.refused(matrix.CodeNotFound, w.reads(bob, ephemeral.FullyRead, "$nothing"))
	})
}

func TestFullyRead(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		first, second := w.says("one", ""), w.says("two", "")
		w.must(w.reads(bob, ephemeral.FullyRead, second))
		w.must(w.reads(bob, ephemeral.FullyRead, first))
		w.view(func(tx *store.Tx) error {
			content, _, err := account.ReadAccountData(tx, bob, w.room, "m.fully_read")
			if want := `{"event_id":"` + string(second) + `"}`; string(content) != want {
				t.Errorf("the marker is %s, want %s", content, want)
			}
			return err
		})
		if found, _ := w.receipts(0, bob); len(found) != 0 {
			t.Errorf("a marker is no receipt: %+v", found)
		}
	})
}

func TestTyping(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		all := func(matrix.RoomID) bool { return true }
		types := func(user matrix.UserID, yes bool) {
			t.Helper()
			w.must(w.SetTyping(t.Context(), user, w.room, yes, 10*time.Second))
		}
		news, mark := w.TypingSince(all, ephemeral.TypingMark{})
		if len(news) != 0 {
			t.Fatalf("nobody types yet: %v", news)
		}
		before := mark
		expect := func(want ...matrix.UserID) {
			t.Helper()
			news, now := w.TypingSince(all, mark)
			if got, told := news[w.room]; !told || !slices.Equal(got, want) {
				t.Errorf("those who type are %v, want %v", news, want)
			}
			if again, _ := w.TypingSince(all, now); len(again) != 0 {
				t.Errorf("told twice: %v", again)
			}
			mark = now
		}
		types(bob, true)
		expect(bob)
		types(alice, true)
		expect(alice, bob)
		types(bob, true) // goes on: nothing new
		if news, _ := w.TypingSince(all, mark); len(news) != 0 {
			t.Errorf("typing on is no news: %v", news)
		}
		types(alice, false)
		expect(bob)
		w.refused(matrix.CodeForbidden, w.SetTyping(t.Context(), eve, w.room, true, time.Second))

		sub := w.bus.Subscribe(bus.Typing)
		defer sub.Close()
		w.runs(w.Run)
		w.clock.move(11 * time.Second)
		<-sub.C // told that it is over
		expect()
		if got := w.TypingIn(w.room); len(got) != 0 {
			t.Errorf("%v still type", got)
		}
		if news, _ := w.TypingSince(all, before); len(news) != 1 || len(news[w.room]) != 0 {
			t.Errorf("to a mark of before all that the end is told as %v", news)
		}
	})
}

func TestTypingOfAnotherNode(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		other := ephemeral.New(ephemeral.Options{DB: w.db, Bus: w.bus, Rooms: w.rooms, Now: w.clock.Now})
		w.must(other.SetTyping(t.Context(), bob, w.room, true, time.Minute))
		if got := w.TypingIn(w.room); !slices.Equal(got, []matrix.UserID{bob}) {
			t.Errorf("%v type", got)
		}
		all := func(matrix.RoomID) bool { return true }
		w.clock.move(5 * time.Second)
		_, mark := w.TypingSince(all, ephemeral.TypingMark{})
		if news, _ := other.TypingSince(all, mark); len(news) != 0 {
			t.Errorf("to a mark of another node %v is new", news)
		}
		w.must(w.SetTyping(t.Context(), bob, w.room, false, 0))
		if news, now := other.TypingSince(all, mark); len(news) != 1 || len(news[w.room]) != 0 || now.Epoch == mark.Epoch {
			t.Errorf("to a mark of another node %v is new", news)
		}
	})
}

func TestPresence(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		w.must(w.SetPresence(t.Context(), bob, "D", ephemeral.Online, "busy"))
		is := func(user matrix.UserID, state ephemeral.State, active bool) {
			t.Helper()
			if p, err := w.PresenceOf(t.Context(), alice, user); err != nil || p.State != state || p.Active != active {
				t.Errorf("%s is %+v, %v, want %s", user, p, err, state)
			}
		}
		is(bob, ephemeral.Online, true)
		for range 18 { // he is there for six minutes, and does nothing
			w.clock.move(20 * time.Second)
			w.Seen(t.Context(), bob, "D", ephemeral.Online)
		}
		is(bob, ephemeral.Unavailable, false)
		w.Acted(t.Context(), bob)
		is(bob, ephemeral.Online, true)
		w.clock.move(50 * time.Second) // a short cut
		is(bob, ephemeral.Online, true)
		w.clock.move(20 * time.Second)
		is(bob, ephemeral.Offline, false)
		w.Seen(t.Context(), bob, "D", ephemeral.Unavailable)
		is(bob, ephemeral.Unavailable, false)
		w.Seen(t.Context(), bob, "D", ephemeral.Online)
		w.Seen(t.Context(), bob, "E", ephemeral.Unavailable) // another device
		is(bob, ephemeral.Online, true)
		w.Seen(t.Context(), bob, "D", ephemeral.Unavailable) // the same
		is(bob, ephemeral.Unavailable, false)
		if p, err := w.PresenceOf(t.Context(), bob, bob); err != nil || p.Status != "busy" {
			t.Errorf("bob is %+v, %v", p, err)
		}
		_, err := w.PresenceOf(t.Context(), eve, bob)
		w.refused(matrix.CodeForbidden, err)
		w.refused(matrix.CodeInvalidParam, w.SetPresence(t.Context(), bob, "D", "asleep", ""))
	})
}

// TestPresenceOfNodes has a user move from one node to another, and the node that they left go silent.
func TestPresenceOfNodes(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		other := ephemeral.New(ephemeral.Options{DB: w.db, Bus: w.bus, Rooms: w.rooms, Now: w.clock.Now})
		are := func(state ephemeral.State, status string) {
			t.Helper()
			for name, node := range map[string]*ephemeral.Ephemeral{"first": w.Ephemeral, "other": other} {
				if p, _ := node.PresenceNow(bob); p.State != state || p.Status != status {
					t.Errorf("on the %s node bob is %+v, want %s, %q", name, p, state, status)
				}
			}
		}
		w.must(w.SetPresence(t.Context(), bob, "D", ephemeral.Online, "busy"))
		are(ephemeral.Online, "busy")
		other.Seen(t.Context(), bob, "E", ephemeral.Unavailable) // a second device, which is less there
		are(ephemeral.Online, "busy")
		nowhere := func(matrix.RoomID) bool { return false }
		w.clock.move(time.Millisecond)
		_, mark := other.TypingSince(nowhere, ephemeral.TypingMark{})
		all := func(matrix.UserID) bool { return true }
		if got := other.PresenceSince(ephemeral.TypingMark{}, mark, all); got[bob].Status != "busy" {
			t.Errorf("at first the other node tells %v", got)
		}
		w.must(w.SetPresence(t.Context(), bob, "D", ephemeral.Offline, "gone"))
		are(ephemeral.Offline, "gone")
		w.clock.move(time.Millisecond)
		_, next := other.TypingSince(nowhere, mark)
		if got := other.PresenceSince(mark, next, all); got[bob].Status != "gone" {
			t.Errorf("the other node tells %v", got)
		}
		if got := other.PresenceSince(next, next, all); len(got) > 0 {
			t.Errorf("told twice: %v", got)
		}
		other.Seen(t.Context(), bob, "E", ephemeral.Online)
		w.clock.move(time.Millisecond)
		_, last := other.TypingSince(nowhere, next)
		if got := other.PresenceSince(next, last, all); len(got) > 0 {
			t.Errorf("who has just come is told already: %v", got)
		}
		other.Tick(t.Context())
		are(ephemeral.Online, "gone")
		if got := other.PresenceSince(last, ephemeral.TypingMark{}, all); got[bob].State != ephemeral.Online {
			t.Errorf("after the tick %v is told", got)
		}
		w.must(w.SetPresence(t.Context(), bob, "D", ephemeral.Offline, ""))
		w.clock.move(time.Millisecond)
		_, mark = other.TypingSince(nowhere, last)
		other.Seen(t.Context(), bob, "E", ephemeral.Online)
		other.Seen(t.Context(), bob, "E", ephemeral.Offline)
		other.Tick(t.Context())
		if got := other.PresenceSince(mark, ephemeral.TypingMark{}, all); got[bob].State == ephemeral.Online {
			t.Errorf("who went at once is told: %v", got)
		}
	})
}
