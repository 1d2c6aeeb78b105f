package rules_test

import (
	"fmt"
	"maps"
	"syscall"
	"testing"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/spec"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// theirs reads an event of ours into gomatrixserverlib.
func theirs(b testing.TB, e *rules.Event) gomatrixserverlib.PDU {
	b.Helper()
	v, err := gomatrixserverlib.GetRoomVersion(gomatrixserverlib.RoomVersion(e.Version().ID))
	if err != nil {
		b.Skip(err)
	}
	pdu, err := v.NewEventFromTrustedJSON(e.Bytes(), false)
	if err != nil {
		b.Fatal(err)
	}
	return pdu
}

func sameUser(_ spec.RoomID, sender spec.SenderID) (*spec.UserID, error) {
	return spec.NewUserID(string(sender), true)
}

// BenchmarkAuthorizeMessage is a message in a room whose power levels name 500 users.
func BenchmarkAuthorizeMessage(b *testing.B) {
	g, state := grow(b, "11", levelsOf(500, ""))
	g.member(state, user(7), user(7), matrix.Join)
	message, _ := g.make(state, user(7), "m.room.message", nil, `{"body":"x","msgtype":"m.text"}`)

	find := g.at(state)
	var auth []gomatrixserverlib.PDU
	for _, k := range rules.AuthTypes(g.version, message.Type(), message.Sender(), nil, message.Content()) {
		auth = append(auth, theirs(b, find(k.Type, k.Key)))
	}
	provider, err := gomatrixserverlib.NewAuthEvents(auth)
	if err != nil {
		b.Fatal(err)
	}
	pdu := theirs(b, message)
	ours := &side{fn: func() error { return rules.Authorize(message, find) }}
	library := &side{fn: func() error { return gomatrixserverlib.Allowed(pdu, provider, sameUser) }}
	inTurns(b, ours, library)
	report(b, ours, library, nil)
}

// BenchmarkAuthorizeAlone is our part of the above by itself, for its allocations.
func BenchmarkAuthorizeAlone(b *testing.B) {
	g, state := grow(b, "12", levelsOf(500, ""))
	g.member(state, user(7), user(7), matrix.Join)
	message, _ := g.make(state, user(7), "m.room.message", nil, `{"body":"x","msgtype":"m.text"}`)
	find := g.at(state)
	b.ReportAllocs()
	for b.Loop() {
		if err := rules.Authorize(message, find); err != nil {
			b.Fatal(err)
		}
	}
}

// split makes a room of so many members, whose branches differ in so many places: profiles of members,
// bans, topics, and the power levels.
func splitRoom(b testing.TB, version matrix.RoomVersion, members, conflicts int) (*grown, []branch) {
	g, trunk := grow(b, version, levelsOf(20, ""))
	for i := range members {
		g.member(trunk, user(i), user(i), matrix.Join)
	}
	left, right := maps.Clone(trunk), maps.Clone(trunk)
	g.state(left, user(1), "m.room.power_levels", "", levelsOf(20, `,"kick":40`))
	g.state(right, alice, "m.room.power_levels", "", levelsOf(20, `,"ban":60`))
	for i := range conflicts - 1 {
		u := user(members - 1 - i)
		for n, side := range []branch{left, right} {
			if i%20 == 0 && n == 0 {
				g.member(side, user(2), u, matrix.Ban)
				continue
			}
			g.state(side, u, "m.room.member", string(u), fmt.Sprintf(`{"displayname":"%d-%d","membership":"join"}`, n, i))
		}
	}
	return g, []branch{left, right}
}

func BenchmarkResolve(b *testing.B) {
	for _, version := range []matrix.RoomVersion{"11", "12"} {
		for _, members := range []int{1100, 50_000} {
			b.Run(fmt.Sprintf("v%s/members=%d/conflicts=1000", version, members), func(b *testing.B) {
				benchResolve(b, version, members)
			})
		}
	}
}

// cpu is the processor time of this process.
func cpu(b *testing.B) time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func benchResolve(b *testing.B, version matrix.RoomVersion, members int) {
	g, branches := splitRoom(b, version, members, 1000)
	var sets [][]rules.Entry
	for _, br := range branches {
		sets = append(sets, g.entries(br))
	}
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		if _, err := rules.Resolve(g.version, sets, g.source(), 5_000_000); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op") // other work on the machine does not count
	b.ReportMetric(float64(g.dag.Bytes())/float64(g.dag.Len()), "dag-B/event")
}

// BenchmarkResolveBoth resolves the smaller room with gomatrixserverlib too. Room version 12 is beyond it:
// it prints and panics.
func BenchmarkResolveBoth(b *testing.B) {
	g, branches := splitRoom(b, "11", 1100, 1000)
	pdus := map[int64]gomatrixserverlib.PDU{}
	var auth []gomatrixserverlib.PDU
	for nid, e := range g.events {
		pdus[nid] = theirs(b, e)
		auth = append(auth, pdus[nid])
	}
	var sets [][]rules.Entry
	var their [][]gomatrixserverlib.PDU
	for _, br := range branches {
		sets = append(sets, g.entries(br))
		var list []gomatrixserverlib.PDU
		for _, nid := range br {
			list = append(list, pdus[nid])
		}
		their = append(their, list)
	}
	ours := &side{fn: func() error {
		_, err := rules.Resolve(g.version, sets, g.source(), 5_000_000)
		return err
	}}
	library := &side{fn: func() error {
		_, err := gomatrixserverlib.ResolveConflictsNew("11", their, auth, sameUser, func(string) bool { return false })
		return err
	}}
	inTurns(b, ours, library)
	report(b, ours, library, nil)
}
