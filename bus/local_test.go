package bus_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"astrocyte/bus"
)

func TestSubscriptionGetsItsKinds(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	rooms, all := b.Subscribe(bus.Room), b.Subscribe()
	b.Publish(t.Context(), bus.Change{Kind: bus.Room, Key: "1", Pos: 5}, bus.Change{Kind: bus.User, Key: "@a:b"})
	b.Publish(t.Context(), bus.Change{Kind: bus.Typing, Key: "!r", Data: []byte("[]")})
	b.Publish(t.Context(), bus.Change{Kind: bus.Lost})
	if got := fmt.Sprint(drain(rooms)); got != "[{room 1 5 []} {lost  0 []}]" {
		t.Error(got)
	}
	if got := drain(all); len(got) != 4 || string(got[2].Data) != "[]" {
		t.Error(got)
	}
	rooms.Close()
	b.Publish(t.Context(), bus.Change{Kind: bus.Room})
	if got := drain(rooms); len(got) != 0 {
		t.Errorf("after Close came %v", got)
	}
	if got := drain(all); len(got) != 1 {
		t.Errorf("the other got %v", got)
	}
}

func drain(s *bus.Subscription) (all []bus.Change) {
	for {
		select {
		case c := <-s.C:
			all = append(all, c)
		default:
			return all
		}
	}
}

// Whatever is dropped, a Lost comes after it. The reader here is slow at random places.
func TestOverflowIsToldAsLost(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	sub := b.Subscribe(bus.Room)
	const most = 20_000
	var wg sync.WaitGroup
	wg.Go(func() {
		for pos := range int64(most) {
			b.Publish(t.Context(), bus.Change{Kind: bus.Room, Pos: pos + 1})
		}
		b.Publish(t.Context(), bus.Change{Kind: bus.User}) // not wanted
	})
	known, losses := int64(0), 0
	wg.Wait()
	for _, c := range drain(sub) {
		switch {
		case c.Kind == bus.Lost:
			losses++
			known = most // looks by itself
		case c.Pos != known+1:
			t.Fatalf("after %d comes %d without a Lost", known, c.Pos)
		default:
			known = c.Pos
		}
	}
	if known != most || losses != 1 {
		t.Errorf("knows %d after %d losses", known, losses)
	}
	// With room again, changes come again, and the next overflow is told again.
	b.Publish(t.Context(), bus.Change{Kind: bus.Room, Pos: 1})
	if got := drain(sub); len(got) != 1 || got[0].Pos != 1 {
		t.Errorf("got %v", got)
	}
	for range 3000 {
		b.Publish(t.Context(), bus.Change{Kind: bus.Room})
	}
	if got := drain(sub); got[len(got)-1].Kind != bus.Lost {
		t.Error("the second overflow was not told")
	}
}

// A reader that takes changes while they come: what it misses is always followed by a Lost.
func TestOverflowWithAReader(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	sub := b.Subscribe(bus.Room)
	const most = 200_000
	var newest int64
	var mu sync.Mutex
	go func() {
		for pos := int64(1); pos <= most; pos++ {
			mu.Lock()
			newest = pos
			mu.Unlock()
			b.Publish(t.Context(), bus.Change{Kind: bus.Room, Pos: pos})
		}
	}()
	for known := int64(0); known < most; {
		c := <-sub.C
		if c.Kind == bus.Lost {
			mu.Lock()
			known = newest
			mu.Unlock()
			continue
		}
		if c.Pos > known+1 {
			t.Fatalf("after %d comes %d without a Lost", known, c.Pos)
		}
		known = max(known, c.Pos)
	}
	sub.Close()
}

func TestManyPublishers(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	sub := b.Subscribe(bus.User)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { b.Publish(t.Context(), bus.Change{Kind: bus.User, Key: fmt.Sprint(i)}) })
	}
	wg.Wait()
	var keys []string
	for _, c := range drain(sub) {
		keys = append(keys, c.Key)
	}
	slices.Sort(keys)
	if len(slices.Compact(keys)) != 100 {
		t.Errorf("%d arrived", len(keys))
	}
}
