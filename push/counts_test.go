package push_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"testing"
	"time"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/ephemeral"
	"astrocyte/matrix"
	"astrocyte/push"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

const (
	alice = matrix.UserID("@alice:example.org")
	bob   = matrix.UserID("@bob:example.org")
	carol = matrix.UserID("@carol:example.org")
)

// world is a room of alice, bob and carol.
type world struct {
	*push.Push
	t       *testing.T
	db      *store.DB
	rooms   *roomserver.Rooms
	passing *ephemeral.Ephemeral
	room    matrix.RoomID
	nid     roomserver.RoomNID
}

func start(t *testing.T, dsn string) *world {
	t.Helper()
	w := &world{t: t}
	wakes := bus.NewLocal()
	w.db = testkit.Open(t, store.Options{DSN: dsn, Bus: wakes})
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.rooms = roomserver.New(roomserver.Options{
		DB: w.db, Server: "example.org", KeyID: "ed25519:1", Key: key, Memory: 8 << 20, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	w.runs(w.rooms.Run)
	w.passing = ephemeral.New(ephemeral.Options{DB: w.db, Bus: wakes, Rooms: w.rooms})
	w.Push = w.fresh()
	if w.room, err = w.rooms.Create(t.Context(), roomserver.Creation{Creator: alice, Version: "12", Preset: roomserver.PublicChat}); err != nil {
		t.Fatal(err)
	}
	for _, user := range []matrix.UserID{bob, carol} {
		if _, err := w.rooms.SetMembership(t.Context(), roomserver.Change{Room: w.room, Sender: user, Target: user, Membership: matrix.Join}); err != nil {
			t.Fatal(err)
		}
	}
	w.view(func(tx *store.Tx) (err error) {
		w.nid, _, err = w.rooms.NID(tx, w.room)
		return err
	})
	return w
}

// fresh makes another one that has counted nothing yet.
func (w *world) fresh() *push.Push {
	return push.New(push.Options{DB: w.db, Rooms: w.rooms, ReadUpTo: w.passing.ReadUpTo})
}

func (w *world) runs(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	}
	w.t.Cleanup(stop)
	return stop
}

func (w *world) view(fn func(tx *store.Tx) error) {
	w.t.Helper()
	if err := w.db.View(w.t.Context(), fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) sends(user matrix.UserID, tp, content string) matrix.EventID {
	w.t.Helper()
	id, err := w.rooms.Send(w.t.Context(), roomserver.Draft{Room: w.room, Sender: user, Type: tp, Content: json.RawMessage(content)})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) says(user matrix.UserID, body string) matrix.EventID {
	return w.sends(user, "m.room.message", `{"msgtype":"m.text","body":`+strconv.Quote(body)+`}`)
}

func (w *world) replies(user matrix.UserID, root matrix.EventID, more string) matrix.EventID {
	return w.sends(user, "m.room.message", `{"msgtype":"m.text","body":"x"`+more+`,"m.relates_to":{"rel_type":"m.thread","event_id":"`+string(root)+`"}}`)
}

func (w *world) reads(user matrix.UserID, event matrix.EventID, thread ...string) {
	w.t.Helper()
	r := ephemeral.Reading{User: user, Room: w.room, Type: ephemeral.Read, Event: event}
	if len(thread) > 0 {
		r.Thread = &thread[0]
	}
	w.must(w.passing.Mark(w.t.Context(), r))
}

func (w *world) countsOf(p *push.Push, user matrix.UserID) (u push.Unread) {
	w.t.Helper()
	w.view(func(tx *store.Tx) error {
		heads, err := w.rooms.Heads(tx, []roomserver.RoomNID{w.nid})
		if err != nil {
			return err
		}
		all, err := p.Counts(tx, user, []roomserver.Head{heads[w.nid]}, nil)
		u = all[w.nid]
		return err
	})
	return u
}

type threads = map[matrix.EventID]push.Count

// unread checks the counts of a user: those that grow with each question, those counted at once, and those
// counted again from the beginning.
func (w *world) unread(user matrix.UserID, main push.Count, in threads) {
	w.t.Helper()
	for name, p := range map[string]*push.Push{"carried on": w.Push, "counted anew": w.fresh()} {
		if u := w.countsOf(p, user); u.Main != main || !maps.Equal(u.Threads, in) {
			w.t.Errorf("%s: %s has not read %+v, want %+v %+v", name, user, u, main, in)
		}
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		w.unread(bob, push.Count{}, nil) // what was before he came counts not
		first := w.says(alice, "one")
		w.unread(bob, push.Count{Notify: 1}, nil)
		second := w.says(carol, "two")
		w.sends(alice, "m.room.message", `{"msgtype":"m.text","body":"bob","m.mentions":{"user_ids":["@bob:example.org"]}}`)
		w.sends(alice, "m.room.message", `{"msgtype":"m.notice","body":"beep"}`)
		w.sends(alice, "m.reaction", `{"m.relates_to":{"rel_type":"m.annotation","event_id":"`+string(first)+`","key":"+"}}`)
		w.unread(bob, push.Count{Notify: 3, Highlight: 1}, nil)
		w.reads(bob, first)
		w.unread(bob, push.Count{Notify: 2, Highlight: 1}, nil)
		w.reads(bob, second)
		w.unread(bob, push.Count{Notify: 1, Highlight: 1}, nil)
		w.says(alice, "three")
		w.unread(bob, push.Count{Notify: 2, Highlight: 1}, nil)
		w.says(bob, "I am here")
		w.unread(bob, push.Count{}, nil)
		w.unread(carol, push.Count{Notify: 3}, nil) // since what she said
	})
}

func TestCountsOfThreads(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		root := w.says(alice, "root")
		reply := w.replies(alice, root, "")
		w.replies(alice, root, `,"m.mentions":{"user_ids":["@bob:example.org"]}`)
		w.says(alice, "beside")
		w.unread(bob, push.Count{Notify: 2}, threads{root: {Notify: 2, Highlight: 1}})
		if all := w.countsOf(w.Push, bob).Total(); all != (push.Count{Notify: 4, Highlight: 1}) {
			t.Errorf("in all %+v", all)
		}
		w.reads(bob, root, "main")
		w.unread(bob, push.Count{Notify: 1}, threads{root: {Notify: 2, Highlight: 1}})
		w.reads(bob, reply, string(root))
		w.unread(bob, push.Count{Notify: 1}, threads{root: {Notify: 1, Highlight: 1}})
		last := w.replies(carol, root, "")
		w.unread(bob, push.Count{Notify: 1}, threads{root: {Notify: 2, Highlight: 1}})
		w.replies(bob, root, "")
		w.unread(bob, push.Count{Notify: 1}, nil)
		w.replies(carol, root, "")
		w.unread(bob, push.Count{Notify: 1}, threads{root: {Notify: 1}})
		w.reads(bob, last)
		w.unread(bob, push.Count{}, threads{root: {Notify: 1}})
	})
}

func TestCountsFollowRulesAndRedactions(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		w.says(alice, "one")
		regretted := w.says(alice, "two")
		w.unread(bob, push.Count{Notify: 2}, nil)
		_, err := w.rooms.Send(t.Context(), roomserver.Draft{Room: w.room, Sender: alice, Type: "m.room.redaction", Redacts: regretted,
			Content: json.RawMessage(fmt.Sprintf(`{"redacts":%q}`, regretted))})
		w.must(err)
		w.unread(bob, push.Count{Notify: 1}, nil)
		w.must(w.Change(t.Context(), bob, func(c *push.Changes) error {
			return c.Put(push.Room, push.Rule{ID: string(w.room), Actions: []json.RawMessage{}}, "", "")
		}))
		w.unread(bob, push.Count{}, nil)
		w.must(w.Change(t.Context(), bob, func(c *push.Changes) error { return c.SetEnabled(push.Room, string(w.room), false) }))
		w.unread(bob, push.Count{Notify: 1}, nil)
		w.must(w.db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := account.PutAccountData(tx, bob, "", "m.ignored_user_list", json.RawMessage(`{"ignored_users":{"@carol:example.org":{}}}`))
			return err
		}))
		w.says(carol, "hello?")
		w.unread(bob, push.Count{Notify: 1}, nil)
	})
}

func TestRoomMentionNeedsPower(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		const everybody = `{"msgtype":"m.text","body":"all","m.mentions":{"room":true}}`
		w.sends(carol, "m.room.message", everybody)
		w.unread(bob, push.Count{Notify: 1}, nil)
		w.sends(alice, "m.room.message", everybody)
		w.unread(bob, push.Count{Notify: 2, Highlight: 1}, nil)
	})
}

func TestCountsAreKept(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		for i := range 60 {
			w.says(alice, strconv.Itoa(i))
		}
		one := w.fresh()
		stop := w.runs(one.Run)
		w.countsOf(one, bob)
		stop() // writes
		found := false
		w.view(func(tx *store.Tx) error {
			return store.Each(tx, func(store.Row) error { found = true; return nil }, `SELECT 1 FROM unread WHERE user_id = $1`, string(bob))
		})
		if !found {
			t.Error("nothing was written")
		}
		w.says(alice, "and one")
		w.unread(bob, push.Count{Notify: 61}, nil)
	})
}

func TestRulesAreStored(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		var since int64
		told := func(want bool) json.RawMessage {
			t.Helper()
			var content json.RawMessage
			w.view(func(tx *store.Tx) error {
				upto, err := tx.Pos()
				if err != nil {
					return err
				}
				got, changed, err := w.AccountData(tx, bob, since, upto)
				if changed != want {
					t.Errorf("changed: %v, want %v", changed, want)
				}
				content, since = got, upto
				return err
			})
			return content
		}
		told(true)
		told(false)
		w.must(w.Change(t.Context(), bob, func(c *push.Changes) error {
			return c.Put(push.Sender, push.Rule{ID: string(alice), Actions: []json.RawMessage{[]byte(`"notify"`)}}, "", "")
		}))
		var content struct{ Global push.Ruleset }
		if err := json.Unmarshal(told(true), &content); err != nil {
			t.Fatal(err)
		}
		if r := content.Global.Find(push.Sender, string(alice)); r == nil || !r.Enabled || r.Default {
			t.Errorf("the rule is %+v", r)
		}
		told(false)
		w.must(w.Change(t.Context(), bob, func(c *push.Changes) error {
			return c.Put(push.Room, push.Rule{ID: "!old:example.org", Actions: []json.RawMessage{}}, "", "")
		}))
		w.must(w.CopyRoom(t.Context(), bob, "!old:example.org", "!new:example.org"))
		if _, err := w.Rule(t.Context(), bob, push.Room, "!new:example.org"); err != nil {
			t.Error(err)
		}
		if _, err := w.Rule(t.Context(), carol, push.Sender, string(alice)); err == nil {
			t.Error("carol has a rule of bob")
		}
	})
}

func TestPushers(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		pusher := func(user matrix.UserID, device matrix.DeviceID, key string) push.Pusher {
			return push.Pusher{User: user, Device: device, AppID: "org.example", Pushkey: key, Kind: "http",
				Data: json.RawMessage(`{"url":"https://push.example.org/_matrix/push/v1/notify"}`)}
		}
		count := func(user matrix.UserID, want int) {
			t.Helper()
			if list, err := w.PushersOf(t.Context(), user); err != nil || len(list) != want {
				t.Errorf("%s has %d pushers, want %d, %v", user, len(list), want, err)
			}
		}
		w.must(w.SetPusher(t.Context(), pusher(alice, "PHONE", "a"), false))
		w.must(w.SetPusher(t.Context(), pusher(alice, "PHONE", "a"), false))
		w.must(w.SetPusher(t.Context(), pusher(alice, "TABLET", "b"), false))
		count(alice, 2)
		w.must(w.SetPusher(t.Context(), pusher(bob, "PHONE", "b"), true))
		count(alice, 2)
		w.must(w.SetPusher(t.Context(), pusher(carol, "PHONE", "b"), false))
		count(alice, 1)
		count(bob, 0)
		count(carol, 1)
		w.must(w.db.Update(t.Context(), func(tx *store.Tx) error { return w.DevicesGone(tx, alice, []matrix.DeviceID{"PHONE"}) }))
		count(alice, 0)
		w.must(w.DeletePusher(t.Context(), carol, "org.example", "b"))
		w.must(w.DeletePusher(t.Context(), carol, "org.example", "b"))
		count(carol, 0)
		bad := pusher(alice, "PHONE", "a")
		bad.Data = json.RawMessage(`{"url":"https://push.example.org/elsewhere"}`)
		if err := w.SetPusher(t.Context(), bad, false); err == nil {
			t.Error("a pusher may send anywhere")
		}
		w.must(w.SetPusher(t.Context(), pusher(bob, "PHONE", "a"), false))
		w.must(w.db.Update(t.Context(), func(tx *store.Tx) error { return w.Deactivated(tx, bob, true) }))
		count(bob, 0)
	})
}
