package syncapi

import (
	"context"
	"fmt"
	"testing"
	"time"

	"astrocyte/ephemeral"
	"astrocyte/matrix"
	"astrocyte/testkit"
)

// states gives the states of presence that an answer tells.
func states(n *news) map[matrix.UserID]ephemeral.State {
	out := make(map[matrix.UserID]ephemeral.State)
	for _, p := range n.presence {
		out[p.user] = p.State
	}
	return out
}

func TestPresenceIsToldInSmallRooms(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		w.api.waker.circles.most = 4
		small, large := w.create("alice"), w.create("alice")
		w.membership(small, "bob", "bob", matrix.Join)
		for i := range 4 {
			w.membership(large, fmt.Sprint("crowd", i), fmt.Sprint("crowd", i), matrix.Join)
		}
		seen := func(name string, state ephemeral.State) {
			if err := w.api.ephemeral.SetPresence(context.Background(), user(name), "D", state, ""); err != nil {
				t.Error(err)
			}
		}
		seen("bob", ephemeral.Unavailable)
		seen("crowd1", ephemeral.Online)
		p := &poller{api: w.api, name: "alice", limit: 10, shy: true} // or she would be told of herself, some time
		asks := func(timeout time.Duration) map[matrix.UserID]ephemeral.State {
			t.Helper()
			n, err := p.polls(t.Context(), timeout)
			if err != nil {
				t.Fatal(err)
			}
			p.since = n.next.String()
			return states(n)
		}
		want := func(got map[matrix.UserID]ephemeral.State, user matrix.UserID, state ephemeral.State) {
			t.Helper()
			if got[user] != state || len(got) > 1 {
				t.Errorf("told is %v, want %s of %s", got, state, user)
			}
		}
		want(asks(0), user("bob"), ephemeral.Unavailable)
		if again := asks(0); len(again) > 0 {
			t.Errorf("nothing changed, but told is %v", again)
		}
		go func() {
			w.awaitSleeper(user("alice"))
			seen("crowd2", ephemeral.Online) // concerns nobody
			seen("bob", ephemeral.Online)
		}()
		want(asks(20*time.Second), user("bob"), ephemeral.Online)

		w.membership(small, "crowd1", "crowd1", matrix.Join) // somebody who is there comes in
		want(asks(0), user("crowd1"), ephemeral.Online)
		third := w.create("dora")
		seen("dora", ephemeral.Online)
		w.membership(third, "alice", "alice", matrix.Join) // where somebody is
		if got := asks(0); got[user("dora")] != ephemeral.Online {
			t.Errorf("told is %v", got)
		}
	})
}
