package syncapi

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/testkit"
)

// roomList is a request as the room lists of current clients send it.
func roomList(b testing.TB, user matrix.UserID, last int) *slidingAsk {
	b.Helper()
	body := fmt.Sprintf(`{"conn_id":"room-list","lists":{"all_rooms":{"ranges":[[0,%d]],"timeline_limit":1,"required_state":[
		["m.room.name",""],["m.room.encryption",""],["m.room.member","$LAZY"],["m.room.member","$ME"],["m.room.topic",""],["m.room.avatar",""],
		["m.room.canonical_alias",""],["m.room.power_levels",""],["org.matrix.msc3401.call.member","*"],["m.room.join_rules",""],["m.room.tombstone",""],
		["m.room.create",""],["m.room.history_visibility",""],["io.element.functional_members",""],["m.space.parent","*"],["m.space.child","*"]],
		"filters":{"not_room_types":["m.space"]}}},
		"extensions":{"account_data":{"enabled":true},"receipts":{"enabled":true,"rooms":["*"]},"typing":{"enabled":true}}}`, last)
	ask, err := parseUnstable(nil, []byte(body), user)
	if err != nil {
		b.Fatal(err)
	}
	return ask
}

// BenchmarkFirstWindow reads the first window of 20 rooms, of users of few and of many rooms, of few and of many
// members: cold is right after a start, warm with a server that has run for a while.
func BenchmarkFirstWindow(b *testing.B) {
	for _, c := range []struct{ rooms, members int }{{500, 2}, {5000, 2}, {500, 200}} {
		w := newWorld(b, testkit.SQLite(b))
		for i := range c.rooms {
			room := w.create("alice")
			w.membership(room, "bob", "bob", matrix.Join)
			if i >= c.rooms-20 {
				for m := range c.members {
					name := fmt.Sprint("m", m)
					w.membership(room, name, name, matrix.Join)
				}
			}
			w.says(room, "alice", "hello")
		}
		ask := roomList(b, user("bob"), 19)
		for _, cold := range []bool{true, false} {
			b.Run(fmt.Sprintf("rooms=%d/members=%d/cold=%t", c.rooms, c.members, cold), func(b *testing.B) {
				size := 0
				var used time.Duration
				for b.Loop() {
					api := w.api
					if cold {
						b.StopTimer()
						api = w.anew()
						b.StartTimer()
					}
					began := processorTime(b)
					n, err := firstSlide(b.Context(), api, ask)
					if err != nil || len(n.rooms) != 20 {
						b.Fatal(n, err)
					}
					size = len(n.AppendJSON(nil))
					used += processorTime(b) - began
				}
				b.ReportMetric(float64(used.Microseconds())/1000/float64(b.N), "cpu-ms/op") // what a busy machine does not change
				b.ReportMetric(float64(size), "answer-bytes")
			})
		}
	}
}

// processorTime is how much of the processors the test has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// firstSlide answers a first request of bob's.
func firstSlide(ctx context.Context, api *API, ask *slidingAsk) (*slid, error) {
	p, err := api.prepareSlide(ctx, &httpapi.Caller{User: user("bob"), Device: "D"}, ask)
	if err != nil {
		return nil, err
	}
	api.begin(p)
	defer p.waiter.stop()
	n, err := api.attempt(ctx, p, nil)
	if err != nil {
		return nil, err
	}
	return n.(*slid), nil
}
