package roomserver_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

const server = "example.org"

// open makes a room server on a database, as one node has it.
func open(t testing.TB, db *store.DB) *roomserver.Rooms {
	t.Helper()
	return openAt(t, db, time.Now)
}

// openAt makes one with a clock.
func openAt(t testing.TB, db *store.DB, now func() time.Time) *roomserver.Rooms {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := roomserver.New(roomserver.Options{
		DB: db, Server: server, KeyID: "ed25519:1", Key: key, Memory: 64 << 20, KeepRedacted: time.Hour, Now: now, Log: slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func create(t testing.TB, r *roomserver.Rooms, c roomserver.Creation) matrix.RoomID {
	t.Helper()
	if c.Creator == "" {
		c.Creator = "@alice:example.org"
	}
	if c.Version == "" {
		c.Version = "12"
	}
	if c.Preset == "" {
		c.Preset = roomserver.PublicChat
	}
	id, err := r.Create(t.Context(), c)
	if err != nil {
		t.Fatalf("create a room: %v", err)
	}
	return id
}

func join(t testing.TB, r *roomserver.Rooms, room matrix.RoomID, user matrix.UserID) {
	t.Helper()
	_, err := r.SetMembership(t.Context(), roomserver.Change{Room: room, Sender: user, Target: user, Membership: matrix.Join})
	if err != nil {
		t.Fatalf("%s joins: %v", user, err)
	}
}

func message(room matrix.RoomID, sender matrix.UserID, txn, body string) roomserver.Draft {
	content, _ := json.Marshal(map[string]string{"msgtype": "m.text", "body": body})
	d := roomserver.Draft{Room: room, Sender: sender, Type: "m.room.message", Content: content}
	if txn != "" {
		d.Txn = &roomserver.Txn{Device: "D", Scope: "send/" + string(room), ID: txn}
	}
	return d
}

// TestRoomsThatBeginAlikeAreTwo has one user make rooms in the same millisecond, as bridges do.
func TestRoomsThatBeginAlikeAreTwo(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		now := time.Now()
		r := openAt(t, testkit.DB(t, dsn), func() time.Time { return now })
		ids := make([]matrix.RoomID, 10)
		var all sync.WaitGroup
		for i := range ids {
			all.Go(func() { ids[i] = create(t, r, roomserver.Creation{}) })
		}
		all.Wait()
		slices.Sort(ids)
		if n := len(slices.Compact(ids)); n != 10 {
			t.Errorf("ten rooms are %d", n)
		}
	})
}

func TestEveryVersionMakesRooms(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		r := open(t, testkit.DB(t, dsn))
		for v := 1; v <= 12; v++ {
			room := create(t, r, roomserver.Creation{Version: matrix.RoomVersion(fmt.Sprint(v)), Name: "n", Topic: "t"})
			join(t, r, room, "@bob:example.org")
			id, err := r.Send(t.Context(), message(room, "@bob:example.org", "1", "hello"))
			if err != nil {
				t.Fatalf("version %d: %v", v, err)
			}
			e, err := r.Event(t.Context(), roomserver.Viewer{User: "@alice:example.org"}, room, id)
			if err != nil || e.Sender() != "@bob:example.org" {
				t.Fatalf("version %d: %v", v, err)
			}
		}
	})
}

// TestSenders has 200 users send at once, through two nodes where the engine allows it: seq is dense, a
// reader of the stream misses nothing, and there is one extremity in the end.
func TestSenders(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		db := testkit.DB(t, dsn)
		nodes := []*roomserver.Rooms{open(t, db)}
		if db.Engine() == "postgres" {
			nodes = append(nodes, open(t, testkit.DB(t, dsn)))
		}
		room := create(t, nodes[0], roomserver.Creation{})
		const senders, each = 200, 3
		for i := range senders {
			join(t, nodes[0], room, matrix.UserID(fmt.Sprintf("@u%d:%s", i, server)))
		}
		var nid roomserver.RoomNID
		var first int64
		if err := db.View(t.Context(), func(tx *store.Tx) error {
			var err error
			nid, _, err = nodes[0].NID(tx, room)
			if err != nil {
				return err
			}
			first, err = tx.Pos()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		tailed := make(chan int, 1)
		go func() { tailed <- tail(t, nodes[0], db, nid, first, stop) }()
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() {
				user := matrix.UserID(fmt.Sprintf("@u%d:%s", i, server))
				for k := range each {
					if _, err := nodes[(i+k)%len(nodes)].Send(t.Context(), message(room, user, fmt.Sprint(k), "x")); err != nil {
						t.Errorf("%s: %v", user, err)
					}
				}
			})
		}
		wg.Wait()
		close(stop)
		if got := <-tailed; got != senders*each {
			t.Errorf("the reader of the stream saw %d events, want %d", got, senders*each)
		}
		checkDense(t, nodes[0], db, nid)
	})
}

// tail reads the room's news position by position, and counts them.
func tail(t *testing.T, r *roomserver.Rooms, db *store.DB, room roomserver.RoomNID, since int64, stop chan struct{}) int {
	seen := 0
	for last := false; ; {
		err := db.View(context.Background(), func(tx *store.Tx) error {
			now, err := tx.Pos()
			if err != nil {
				return err
			}
			items, _, err := r.Since(tx, room, since, 1000)
			for _, it := range items {
				if it.Pos <= since || it.Pos > now {
					t.Errorf("position %d is not between %d and %d", it.Pos, since, now)
				}
			}
			seen, since = seen+len(items), now
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if last {
			return seen
		}
		select {
		case <-stop:
			last = true
		default:
		}
	}
}

func checkDense(t *testing.T, r *roomserver.Rooms, db *store.DB, room roomserver.RoomNID) {
	t.Helper()
	err := db.View(t.Context(), func(tx *store.Tx) error {
		items, err := r.Newest(tx, room, 100_000)
		if err != nil {
			return err
		}
		for i, it := range items {
			if it.Seq != int64(i+1) {
				t.Fatalf("place %d has seq %d", i+1, it.Seq)
			}
			if i > 0 && it.Pos <= items[i-1].Pos {
				t.Fatalf("seq %d has position %d after %d", it.Seq, it.Pos, items[i-1].Pos)
			}
		}
		ext, err := store.Select(tx, func(row store.Row) (n int64, err error) {
			var b []byte
			err = row.Scan(&b)
			return int64(len(b)), err
		}, `SELECT extremities FROM rooms WHERE room_nid = $1 AND shard = $2`, int64(room), room.Shard())
		if err != nil {
			return err
		}
		if len(ext) != 1 || ext[0] > 9 {
			t.Errorf("extremities: %v bytes, want those of one event", ext)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestARepeatedTransactionIDGivesTheSameEvent(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		db := testkit.DB(t, dsn)
		r := open(t, db)
		room := create(t, r, roomserver.Creation{})
		ids := make(chan matrix.EventID, 20)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				id, err := r.Send(t.Context(), message(room, "@alice:example.org", "same", "x"))
				if err != nil {
					t.Error(err)
				}
				ids <- id
			})
		}
		wg.Wait()
		again, err := open(t, db).Send(t.Context(), message(room, "@alice:example.org", "same", "x"))
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if id := <-ids; id != again {
				t.Errorf("%s and %s for one transaction", id, again)
			}
		}
	})
}

// TestARefusedDraftFailsAlone sends good and bad drafts at once.
func TestARefusedDraftFailsAlone(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		r := open(t, testkit.DB(t, dsn))
		room := create(t, r, roomserver.Creation{})
		var wg sync.WaitGroup
		for i := range 60 {
			sender := matrix.UserID("@alice:example.org")
			if i%3 == 0 {
				sender = "@eve:example.org"
			}
			wg.Go(func() {
				_, err := r.Send(t.Context(), message(room, sender, fmt.Sprint(i), "x"))
				if refused := err != nil; refused != (i%3 == 0) {
					t.Errorf("draft %d of %s: %v", i, sender, err)
				}
			})
		}
		wg.Wait()
		page, err := r.Messages(t.Context(), roomserver.Viewer{User: "@alice:example.org"}, roomserver.Page{Room: room, Backward: true, Limit: 40})
		if err != nil || len(page.Events) != 40 {
			t.Fatalf("the page is wrong: %v", err)
		}
		if page.Events[0].Seq != page.Events[39].Seq+39 {
			t.Error("a refused draft left a hole in the timeline")
		}
	})
}

// TestTheRoomAtAPosition holds At against the timeline, for every position, also where history without
// positions stands between.
func TestTheRoomAtAPosition(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		db := testkit.DB(t, dsn)
		r := open(t, db)
		room, other := create(t, r, roomserver.Creation{}), create(t, r, roomserver.Creation{})
		for i := range 40 {
			for _, id := range []matrix.RoomID{room, other}[:1+i%2] {
				if _, err := r.Send(t.Context(), message(id, "@alice:example.org", "", "x")); err != nil {
					t.Fatal(err)
				}
			}
		}
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE timeline SET pos = 0 WHERE seq >= 11 AND seq <= 17`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(t.Context(), func(tx *store.Tx) error {
			nid, _, err := r.NID(tx, room)
			if err != nil {
				return err
			}
			items, err := r.Newest(tx, nid, 100)
			if err != nil {
				return err
			}
			now, err := tx.Pos()
			for pos := range now + 2 {
				var want roomserver.Item
				for _, it := range items {
					if it.Pos > 0 && it.Pos <= pos {
						want = it
					}
				}
				got, ok, err := r.At(tx, nid, pos)
				if err != nil || ok != (want.Seq != 0) || ok && got != want {
					t.Fatalf("at %d: %+v, %v, %v; want %+v", pos, got, ok, err, want)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestWhoLeftReadsOnWhenBanned has a member leave and be banned afterwards: what they could read before
// the ban they can read after it.
func TestWhoLeftReadsOnWhenBanned(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		r := open(t, testkit.DB(t, dsn))
		room := create(t, r, roomserver.Creation{})
		const bob = "@bob:example.org"
		join(t, r, room, bob)
		said, err := r.Send(t.Context(), message(room, "@alice:example.org", "1", "for bob"))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []roomserver.Change{
			{Sender: bob, Membership: matrix.Leave}, {Sender: "@alice:example.org", Membership: matrix.Ban},
		} {
			c.Room, c.Target = room, bob
			if _, err := r.SetMembership(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		later, err := r.Send(t.Context(), message(room, "@alice:example.org", "2", "not for bob"))
		if err != nil {
			t.Fatal(err)
		}
		v := roomserver.Viewer{User: bob}
		if _, err := r.Event(t.Context(), v, room, said); err != nil {
			t.Errorf("what was said while bob was there: %v", err)
		}
		if _, err := r.Event(t.Context(), v, room, later); err == nil {
			t.Error("bob reads what was said after he was banned")
		}
	})
}
