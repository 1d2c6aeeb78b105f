package roomserver

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/testkit"
)

// TestServersConverge has three servers change the power levels, ban, kick, join and talk in one room, with
// links that come and go: events arrive late, twice, out of order, or with a state that another tells. Once
// all links hold the servers agree on the state, and on which events were rejected, in every room version.
func TestServersConverge(t *testing.T) {
	t.Parallel()
	seeds := 3
	if n, err := strconv.Atoi(os.Getenv("ASTROCYTE_CONVERGE_SEEDS")); err == nil {
		seeds = n
	}
	testkit.Each(t, func(t *testing.T, dsn string) {
		sites := []*site{openSite(t, "a.example", dsn)}
		for _, name := range []matrix.ServerName{"b.example", "c.example"} {
			sites = append(sites, openSite(t, name, testkit.SQLite(t)))
		}
		for _, v := range rules.Versions() {
			for seed := range seeds {
				w := &world{t: t, sites: sites, rnd: rand.New(rand.NewPCG(uint64(seed), 7)), delivered: map[delivery]bool{}}
				t.Run(fmt.Sprintf("version %s seed %d", v.ID, seed), func(t *testing.T) {
					w.t = t
					for _, s := range sites {
						s.t = t
					}
					w.live(v.ID)
				})
			}
		}
	})
}

// world is one room on several sites.
type world struct {
	t         *testing.T
	sites     []*site
	rnd       *rand.Rand
	room      matrix.RoomID
	users     [][]matrix.UserID
	sent      []sent
	delivered map[delivery]bool
}

// sent is an event that a site has made.
type sent struct {
	by int
	id matrix.EventID
}

type delivery struct {
	to int
	id matrix.EventID
}

func (w *world) live(v matrix.RoomVersion) {
	a := w.sites[0]
	creator := matrix.UserID("@u0:a.example")
	room, err := a.Create(w.t.Context(), Creation{Creator: creator, Version: v, Preset: PublicChat})
	if err != nil {
		w.t.Fatal(err)
	}
	w.room = room
	for i, s := range w.sites {
		w.users = append(w.users, nil)
		for k := range 3 {
			u := matrix.UserID(fmt.Sprintf("@u%d:%s", k, s.server))
			w.users[i] = append(w.users[i], u)
			switch {
			case u == creator:
			case i == 0 || k > 0:
				w.mustJoin(i, u)
			default:
				w.settle(2)
				a.admit(s, room, u)
				w.note(i, a.extremitiesOf(room)[0])
				w.delivered[delivery{0, a.extremitiesOf(room)[0]}] = true
			}
		}
		w.settle(2)
	}
	w.do(0, creator, "m.room.power_levels", "", `{"users":{`+ifOwn(v, `"@u0:a.example":100,`)+
		`"@u0:b.example":100,"@u1:a.example":50,"@u0:c.example":100,"@u1:b.example":50,"@u1:c.example":75}}`)
	w.settle(2)
	for range 12 {
		for i := range w.sites {
			for range w.rnd.IntN(4) {
				w.act(i)
			}
		}
		w.exchange(w.rnd.IntN(4))
	}
	for range 4 {
		w.settle(0)
		for i := range w.sites {
			for _, u := range w.users[i] {
				if w.do(i, u, "m.room.message", "-", `{"body":"all is well"}`) {
					break
				}
			}
			w.settle(0)
		}
	}
	w.compare()
}

func ifOwn(v matrix.RoomVersion, s string) string {
	if v == "12" {
		return ""
	}
	return s
}

func (w *world) mustJoin(i int, u matrix.UserID) {
	if !w.do(i, u, "m.room.member", string(u), `{"membership":"join"}`) {
		w.t.Fatalf("%s cannot join", u)
	}
}

func (w *world) note(by int, id matrix.EventID) { w.sent = append(w.sent, sent{by, id}) }

// do sends an event; false if it is refused. A key of - means that it is no state event.
func (w *world) do(i int, u matrix.UserID, tp, key, content string) bool {
	d := Draft{Room: w.room, Sender: u, Type: tp, Content: []byte(content)}
	if key != "-" {
		d.StateKey = &key
	}
	id, err := w.sites[i].Send(w.t.Context(), d)
	var refused *matrix.Error
	if errors.As(err, &refused) {
		return false
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if !slices.ContainsFunc(w.sent, func(s sent) bool { return s.id == id }) {
		w.note(i, id)
		w.delivered[delivery{i, id}] = true
	}
	return true
}

// act has some user of a site do something.
func (w *world) act(i int) {
	all := slices.Concat(w.users...)
	u, other := w.users[i][w.rnd.IntN(3)], all[w.rnd.IntN(len(all))]
	w.sites[i].clock.Add(w.rnd.Int64N(50) - 20)
	n := w.rnd.IntN(1000)
	switch w.rnd.IntN(10) {
	case 0, 1:
		w.do(i, u, "m.room.message", "-", fmt.Sprintf(`{"body":"%d"}`, n))
	case 2:
		w.do(i, u, "m.room.topic", "", fmt.Sprintf(`{"topic":"%d"}`, n))
	case 3, 4:
		w.do(i, u, "m.room.power_levels", "", w.levels())
	case 5:
		w.do(i, u, "m.room.member", string(other), `{"membership":"ban"}`)
	case 6:
		w.do(i, u, "m.room.member", string(other), `{"membership":"leave"}`)
	case 7:
		w.do(i, u, "m.room.join_rules", "", []string{`{"join_rule":"public"}`, `{"join_rule":"invite"}`}[n%2])
	default:
		w.do(i, u, "m.room.member", string(u), fmt.Sprintf(`{"membership":"join","displayname":"%d"}`, n))
	}
}

// levels are power levels near those that the room began with.
func (w *world) levels() string {
	level := func() int { return []int{0, 50, 75, 100}[w.rnd.IntN(4)] }
	v, _, _ := w.sites[0].Version(w.t.Context(), w.room)
	return fmt.Sprintf(`{"users":{%s"@u0:b.example":%d,"@u1:a.example":%d,"@u0:c.example":%d,"@u1:b.example":%d,"@u1:c.example":%d},"ban":%d}`,
		ifOwn(v.ID, `"@u0:a.example":100,`), 100, level(), 100, level(), level(), 50+25*w.rnd.IntN(2))
}

// exchange delivers some of what is on its way, over some of the links.
func (w *world) exchange(down int) {
	var open []delivery
	for to := range w.sites {
		for _, s := range w.sent {
			if d := (delivery{to, s.id}); !w.delivered[d] && w.rnd.IntN(4) >= down {
				open = append(open, d)
			}
		}
	}
	w.rnd.Shuffle(len(open), func(i, k int) { open[i], open[k] = open[k], open[i] })
	for _, d := range open {
		w.deliver(d)
		if w.rnd.IntN(10) == 0 {
			w.deliver(d)
		}
	}
}

// settle delivers all that is on its way.
func (w *world) settle(int) {
	for _, s := range w.sent {
		for to := range w.sites {
			if d := (delivery{to, s.id}); !w.delivered[d] {
				w.deliver(d)
			}
		}
	}
}

func (w *world) deliver(d delivery) {
	by := w.sent[slices.IndexFunc(w.sent, func(s sent) bool { return s.id == d.id })].by
	_, err := w.sites[d.to].deliver(w.sites[by], w.room, d.id, w.rnd)
	if errors.Is(err, ErrNotHere) {
		return // it left, or has not come yet
	}
	if err != nil {
		w.t.Fatalf("deliver to %s: %v", w.sites[d.to].server, err)
	}
	w.delivered[d] = true
}

func (w *world) compare() {
	var want map[rules.StateKey]matrix.EventID
	var of *site
	for _, s := range w.sites {
		s.checkMembers(w.room)
		if in, err := s.Resident(w.t.Context(), w.room); err != nil || !in {
			continue
		}
		got := s.stateOf(w.room)
		if want == nil {
			want, of = got, s
		}
		if !maps.Equal(got, want) {
			w.t.Errorf("%s and %s have forked", of.server, s.server)
			for k := range want {
				if got[k] != want[k] {
					w.t.Logf("  %v: %s, %s", k, want[k], got[k])
				}
			}
		}
	}
	kinds := make(map[Status]int)
	for _, e := range w.sent {
		var statuses []int64
		for _, s := range w.sites {
			if got := s.get(e.id); got != nil && got.settled() {
				kinds[Status(got.Status)]++
				statuses = append(statuses, int64(count(got.Status == statusRejected)))
			}
		}
		if slices.Contains(statuses, 0) && slices.Contains(statuses, 1) {
			w.t.Errorf("some servers reject %s, others do not", e.id)
		}
	}
	w.t.Logf("%d events; accepted, soft-failed, rejected on the servers: %d, %d, %d",
		len(w.sent), kinds[Accepted], kinds[SoftFailed], kinds[Rejected])
}
