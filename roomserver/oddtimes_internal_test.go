package roomserver

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/testkit"
)

// TestEventByTimeOfALargeRoom finds events of a room that is too large to be searched whole, also those whose times are not
// of their places.
func TestEventByTimeOfALargeRoom(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		s, ctx := openSite(t, "a.example", dsn), t.Context()
		creator := matrix.UserID("@creator:a.example")
		room, err := s.Create(ctx, Creation{Creator: creator, Version: "12", Preset: PublicChat})
		if err != nil {
			t.Fatal(err)
		}
		say := func(text string, at int64) matrix.EventID {
			t.Helper()
			id, err := s.Send(ctx, Draft{Room: room, Sender: creator, Type: "m.room.message", Content: fmt.Appendf(nil, `{"body":%q}`, text), Timestamp: at})
			if err != nil {
				t.Error(err)
			}
			return id
		}
		date := func(year int) int64 { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() }
		began := map[int]int64{}
		first := map[int]matrix.EventID{}
		var future, past, later matrix.EventID
		const rounds = 24
		for round := range rounds {
			s.clock.Add(time.Hour.Milliseconds())
			began[round] = s.clock.Load()
			first[round] = say("first", 0)
			var all sync.WaitGroup
			for i := range 100 {
				all.Go(func() { say(fmt.Sprint("line ", i), 0) })
			}
			all.Wait()
			switch round {
			case 2:
				future, past = say("of the future", date(2100)), say("of long ago", date(2001))
			case 3:
				later = say("of a later round", began[3]+10*time.Hour.Milliseconds()+1)
			case rounds / 2: // where the middle is
				say("not far", began[round]-3*time.Hour.Milliseconds())
			}
		}
		v := Viewer{User: creator}
		for name, c := range map[string]struct {
			ts       int64
			backward bool
			want     matrix.EventID
		}{
			"the future":               {date(2050), false, future},
			"long ago":                 {date(2010), true, past},
			"the beginning of a round": {began[7], false, first[7]},
			"after all rounds":         {date(2030), false, future},
			"before all":               {date(2000), false, past},
			"an odd one between":       {began[3] + 10*time.Hour.Milliseconds() + 1, true, later},
			"the middle":               {began[rounds/2], false, first[rounds/2]},
			"the last round":           {began[rounds-1], false, first[rounds-1]},
		} {
			e, err := s.EventByTime(ctx, v, room, c.ts, c.backward)
			if err != nil || e.ID() != c.want {
				t.Errorf("%s: %v of %v, %v, want %s", name, e, c.ts, err, c.want)
			}
		}
		if _, err := s.EventByTime(ctx, v, room, date(1999), true); err == nil {
			t.Error("there is something before all")
		}
	})
}

func TestOddTimesOfHistory(t *testing.T) {
	const m = 60_000
	for _, c := range []struct {
		name  string
		times []int64
		least int64
		want  string
	}{
		{"that rises", []int64{1 * m, 2 * m, 3 * m}, 4 * m, "[false false false]"},
		{"that trembles", []int64{10 * m, 10*m - 5, 10*m + 5}, 10 * m, "[false false false]"},
		{"with one too young", []int64{10 * m, 90 * m, 20 * m}, 40 * m, "[false true false]"},
		{"with one too old", []int64{30 * m, 31 * m, 32 * m, 1 * m, 33 * m}, 40 * m, "[false false false true false]"},
		{"younger than what is behind it", []int64{50 * m, 51 * m}, 40 * m, "[true true]"},
		{"after a silence", []int64{1 * m, 2 * m, 900 * m}, 990 * m, "[false false false]"},
	} {
		if got := fmt.Sprint(oddAmong(c.times, c.least)); got != c.want {
			t.Errorf("history %s: %s, want %s", c.name, got, c.want)
		}
	}
}
