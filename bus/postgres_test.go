package bus_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"astrocyte/bus"
	"astrocyte/testkit"
)

// node runs the bus of a node until the test ends, and gives a subscription that has heard the first
// Lost, with which every connection begins.
func node(t *testing.T, dsn string, kinds ...bus.Kind) (*bus.Postgres, *bus.Subscription) {
	t.Helper()
	b := bus.NewPostgres(dsn, bus.NewLocal(), nil)
	sub := b.Subscribe(kinds...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if c := <-sub.C; c.Kind != bus.Lost {
		t.Fatalf("the first change is %v", c)
	}
	return b, sub
}

func TestNodesHearEachOther(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	a, atA := node(t, dsn)
	_, atB := node(t, dsn)
	_, elsewhere := node(t, testkit.Postgres(t))

	a.Publish(t.Context(), bus.Change{Kind: bus.Room, Key: "7", Pos: 12},
		bus.Change{Kind: bus.Typing, Key: "!r:x", Data: []byte(`["@é:x","it's"]`)})
	for _, sub := range []*bus.Subscription{atA, atB} {
		if c := <-sub.C; c.Kind != bus.Room || c.Key != "7" || c.Pos != 12 {
			t.Errorf("got %v", c)
		}
		if c := <-sub.C; c.Kind != bus.Typing || c.Key != "!r:x" || string(c.Data) != `["@é:x","it's"]` {
			t.Errorf("got %v", c)
		}
	}
	// When b has heard the next, a has heard its own notifications, and must not have delivered them.
	a.Publish(t.Context(), bus.Change{Kind: bus.User, Key: "end"})
	for c := range atB.C {
		if c.Key == "end" {
			break
		}
	}
	if c := <-atA.C; c.Key != "end" {
		t.Errorf("a got %v", c)
	}
	if got := drain(atA); len(got) != 0 {
		t.Errorf("a also got %v", got)
	}
	if got := drain(elsewhere); len(got) != 0 {
		t.Errorf("a node of another database got %v", got)
	}
}

// Many changes, some large, arrive; what is too large for a notification is told as Lost.
func TestManyChangesAreBatched(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	a, _ := node(t, dsn)
	_, atB := node(t, dsn)
	want := make(map[string]int64)
	for i := range int64(500) {
		key := fmt.Sprintf("%s%d", strings.Repeat("k", int(i)), i%300)
		want[key] = i
		a.Publish(t.Context(), bus.Change{Kind: bus.Room, Key: key, Pos: i})
	}
	a.Publish(t.Context(), bus.Change{Kind: bus.Typing, Key: "large", Data: make([]byte, 10_000)})
	a.Publish(t.Context(), bus.Change{Kind: bus.User, Key: "end"})
	got, lost := make(map[string]int64), 0
	for c := range atB.C {
		if c.Key == "end" {
			break
		}
		if c.Kind == bus.Lost {
			lost++
			continue
		}
		got[c.Key] = max(got[c.Key], c.Pos)
	}
	if lost != 1 {
		t.Errorf("%d losses", lost)
	}
	for key, pos := range want {
		if got[key] != pos {
			t.Errorf("%.10s… came with %d, want %d", key, got[key], pos)
		}
	}
}

// After a lost connection sleepers look by themselves, and changes come again.
func TestReconnects(t *testing.T) {
	t.Parallel()
	dsn := testkit.Postgres(t)
	a, _ := node(t, dsn)
	_, atB := node(t, dsn)
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`); err != nil {
		t.Fatal(err)
	}
	if c := <-atB.C; c.Kind != bus.Lost {
		t.Errorf("got %v", c)
	}
	a.Publish(t.Context(), bus.Change{Kind: bus.Room, Key: "1"})
	for c := range atB.C {
		if c.Key == "1" || c.Kind == bus.Lost { // a's sender may find its connection broken
			break
		}
	}
	a.Publish(t.Context(), bus.Change{Kind: bus.Room, Key: "2"})
	for c := range atB.C {
		if c.Key == "2" {
			break
		}
	}
}

// A node publishes without the other nodes: they need not be reachable.
func TestPublishWithoutServer(t *testing.T) {
	t.Parallel()
	b := bus.NewPostgres("postgres://x@127.0.0.1:1/x?sslmode=disable", bus.NewLocal(), nil)
	sub := b.Subscribe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	for i := range int64(20_000) {
		b.Publish(ctx, bus.Change{Kind: bus.Room, Pos: i})
		if i == 0 {
			if c := <-sub.C; c.Kind != bus.Room {
				t.Errorf("got %v", c)
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
