package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// face is one way in which a user's client follows what happens, and what it knows by it.
type face struct {
	name  string
	t     testing.TB
	user  *story.User
	goes  func(f *face) // asks for what is new, or reads one frame of it
	cuts  func(f *face) // the connection breaks
	since string
	rooms map[string]*faceRoom
	// devices are the messages to all devices of the user, in their order.
	devices []string
	slide   *story.Sliding
	line    *story.Socket
	had     string // token of messages to the device
}

// faceRoom is a room as a face shows it.
type faceRoom struct {
	membership string
	events     []string // since the last gap
	state      map[string]string
	notify     int64
	highlight  int64
}

// room gives a room; anew where the client begins with it.
func (f *face) room(id string, anew bool) *faceRoom {
	r := f.rooms[id]
	if r == nil || anew {
		r = &faceRoom{state: map[string]string{}}
		f.rooms[id] = r
	}
	return r
}

func (r *faceRoom) takeState(events []story.JSON) {
	for _, e := range events {
		r.state[e.At("type").Text()+"\x00"+e.At("state_key").Text()] = e.At("event_id").Text()
	}
}

func (f *face) takeTimeline(r *faceRoom, events []story.JSON, limited bool) {
	f.t.Helper()
	if limited {
		r.events = nil
	}
	for _, e := range events {
		id := e.At("event_id").Text()
		if slices.Contains(r.events, id) {
			f.t.Fatalf("%s was told of %s twice", f.name, id)
		}
		r.events = append(r.events, id)
	}
}

// takeSync takes an answer of /sync, or a delta of a socket.
func (f *face) takeSync(a story.JSON) {
	f.t.Helper()
	for _, id := range a.At("rooms", "join").Keys() {
		j := a.At("rooms", "join", id)
		r := f.room(id, f.rooms[id] != nil && f.rooms[id].membership != "join")
		r.membership = "join"
		r.takeState(j.At("state_after", "events").List())
		f.takeTimeline(r, j.At("timeline", "events").List(), j.At("timeline", "limited").Bool())
		r.notify, r.highlight = j.At("unread_notifications", "notification_count").Int(), j.At("unread_notifications", "highlight_count").Int()
	}
	for _, id := range a.At("rooms", "invite").Keys() {
		f.room(id, true).membership = "invite"
	}
	for _, id := range a.At("rooms", "leave").Keys() {
		f.room(id, false).membership = "leave"
	}
	f.takeDevices(a.At("to_device", "events"))
}

func (f *face) takeDevices(events story.JSON) {
	for _, e := range events.List() {
		f.devices = append(f.devices, e.At("content", "n").Text())
	}
}

// takeSlide takes an answer of sliding sync.
func (f *face) takeSlide(a story.JSON) {
	f.t.Helper()
	for _, id := range a.At("rooms").Keys() {
		told := a.At("rooms", id)
		r := f.room(id, told.At("initial").Bool())
		if m := told.At("membership").Text(); m != "" {
			r.membership = m
		} else if told.Has("invite_state") {
			r.membership = "invite"
		} else {
			own, found := told.At("required_state").Find(func(e story.JSON) bool { return e.At("state_key").Text() == f.user.ID })
			if m := own.At("content", "membership").Text(); found {
				r.membership = m
			}
		}
		if r.membership == "ban" {
			r.membership = "leave"
		}
		r.takeState(told.At("required_state").List())
		f.takeTimeline(r, told.At("timeline").List(), told.At("limited").Bool() && !told.At("initial").Bool())
		if told.Has("notification_count") {
			r.notify, r.highlight = told.At("notification_count").Int(), told.At("highlight_count").Int()
		}
	}
	f.takeDevices(a.At("extensions", "to_device", "events"))
}

// The faces, each of a device of its own.
func faces(t testing.TB, bob *story.User, rng *rand.Rand) []*face {
	filter := `{"room":{"timeline":{"limit":4}}}`
	device := func(name string) *face {
		return &face{name: name, t: t, user: bob.LogsIn(), rooms: map[string]*faceRoom{}}
	}
	poll := device("/v3/sync")
	poll.goes = func(f *face) {
		a := f.user.SyncsFrom(f.since, "filter", filter, "use_state_after", "true")
		f.takeSync(a)
		f.since = a.At("next_batch").Text()
	}
	unstable := device("the deployed form")
	unstable.slide = unstable.user.Slides("c", map[string]any{
		"lists": map[string]any{"all": map[string]any{"ranges": [][2]int{{0, 999}}, "timeline_limit": 4, "required_state": [][2]string{{"*", "*"}}}},
	})
	unstable.slide.Body["extensions"] = map[string]any{"to_device": map[string]any{"enabled": true}}
	stable := device("the accepted form")
	stable.slide = stable.user.SlidesStably("c", map[string]any{
		"lists":      map[string]any{"all": map[string]any{"timeline_limit": 4, "required_state": map[string]any{"include": []any{map[string]any{}}}}},
		"extensions": map[string]any{"to_device": map[string]any{"enabled": true}},
	})
	shows := maps.Clone(stable.slide.Body)
	for _, f := range []*face{unstable, stable} {
		f.goes = func(f *face) {
			a := f.slide.Goes()
			if rng.IntN(5) == 0 { // the answer was lost, and is asked for again
				f.slide.Pos = f.since
				a = f.slide.Goes()
			}
			f.takeSlide(a)
			f.since, f.had = a.At("pos").Text(), a.At("extensions", "to_device", "next_batch").Text()
			f.slide.Body["extensions"] = map[string]any{"to_device": map[string]any{"enabled": true, "since": f.had}}
		}
	}
	line, shown := device("the socket"), device("the socket with a view")
	auth := func(f *face, more map[string]any) {
		f.line = f.user.Connects()
		first := map[string]any{"type": "auth", "access_token": f.user.Token, "use_state_after": true}
		if f.since != "" {
			first["since"] = f.since
		}
		for k, v := range more {
			first[k] = v
		}
		f.line.Writes(first)
	}
	line.cuts = func(f *face) { auth(f, map[string]any{"filter": json.RawMessage(filter)}) }
	shown.cuts = func(f *face) { auth(f, map[string]any{"view": shows}) }
	for _, f := range []*face{line, shown} {
		f.cuts(f)
		f.goes = func(f *face) {
			frame := f.line.Reads()
			switch frame.At("type").Text() {
			case "sync":
				f.takeSync(frame.At("delta"))
			case "slide":
				f.takeSlide(frame.At("delta"))
			case "ping":
				f.line.Writes(map[string]any{"type": "pong"})
				return
			default:
				return
			}
			f.since = frame.At("token").Text()
			if rng.IntN(3) > 0 {
				f.line.Writes(map[string]any{"type": "ack", "token": f.since})
			}
		}
	}
	return []*face{poll, unstable, stable, line, shown}
}

// agrees holds two faces against each other.
func (f *face) agrees(with *face, counts bool) {
	f.t.Helper()
	for _, id := range slices.Sorted(keysOf(f.rooms, with.rooms)) {
		a, b := f.rooms[id], with.rooms[id]
		if membershipOf(a) != membershipOf(b) {
			f.t.Fatalf("%s is %q in %s, and %q in %s", id, membershipOf(a), f.name, membershipOf(b), with.name)
		}
		if membershipOf(a) != "join" {
			continue
		}
		n := min(len(a.events), len(b.events))
		if x, y := a.events[len(a.events)-n:], b.events[len(b.events)-n:]; !slices.Equal(x, y) {
			f.t.Fatalf("the last events of %s are %v in %s, and %v in %s", id, x, f.name, y, with.name)
		}
		for _, key := range slices.Sorted(keysOf(a.state, b.state)) {
			if a.state[key] != b.state[key] {
				f.t.Fatalf("the state %q of %s is %s in %s, and %s in %s", key, id, a.state[key], f.name, b.state[key], with.name)
			}
		}
		if counts && (a.notify != b.notify || a.highlight != b.highlight) {
			f.t.Fatalf("of %s %d (%d) are unread in %s, and %d (%d) in %s", id, a.notify, a.highlight, f.name, b.notify, b.highlight, with.name)
		}
	}
	if !slices.Equal(f.devices, with.devices) {
		f.t.Fatalf("the messages to the device are %v in %s, and %v in %s", f.devices, f.name, with.devices, with.name)
	}
}

// membershipOf is "" for rooms that the user is not, or never was, in.
func membershipOf(r *faceRoom) string {
	if r == nil || r.membership == "leave" {
		return ""
	}
	return r.membership
}

func keysOf[V any](maps ...map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		seen := map[string]bool{}
		for _, m := range maps {
			for k := range m {
				if !seen[k] {
					if seen[k] = true; !yield(k) {
						return
					}
				}
			}
		}
	}
}

// TestFacesAgree lets a random history of events, memberships, receipts and messages to devices happen, which a user
// follows over /v3/sync, both forms of sliding sync and both kinds of sockets, with cuts and lost answers: in the end,
// and at moments between, all show the same rooms, timelines, states, counts and messages.
func TestFacesAgree(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			testkit.Each(t, func(t *testing.T, dsn string) { followAll(t, story.Start(t, dsn), rand.New(rand.NewPCG(seed, 5))) })
		})
	}
}

func followAll(t *testing.T, hs *story.Server, rng *rand.Rand) {
	alice, bob, carol := hs.User("alice"), hs.User("bob"), hs.User("carol")
	lobby := alice.CreatesRoom()
	rooms := []string{lobby, alice.CreatesRoom(), alice.CreatesRoom()}
	bob.Joins(lobby)
	all := faces(t, bob, rng)
	last := map[string]string{}
	act := func(i int) {
		room := rooms[rng.IntN(len(rooms))]
		switch n := rng.IntN(100); {
		case n < 40:
			body := fmt.Sprint("message ", i)
			content := map[string]any{"msgtype": "m.text", "body": body}
			if rng.IntN(4) == 0 {
				content["m.mentions"] = map[string]any{"user_ids": []string{bob.ID}}
			}
			last[room] = alice.SendsEvent(room, "m.room.message", alice.Txn(), content)
		case n < 48:
			alice.SetsState(room, "m.room.topic", "", map[string]any{"topic": fmt.Sprint(i)})
		case n < 56 && room != lobby:
			bob.Does("POST", story.Path("join", room), `{}`)
		case n < 61 && room != lobby:
			bob.Does("POST", story.Path("rooms", room, "leave"), `{}`)
		case n < 66:
			alice.Does("POST", story.Path("rooms", room, "invite"), map[string]any{"user_id": bob.ID})
		case n < 69 && room != lobby:
			alice.Does("POST", story.Path("rooms", room, "kick"), map[string]any{"user_id": bob.ID})
		case n < 78:
			carol.Does("POST", story.Path([]string{"join", "rooms"}[rng.IntN(2)], room), `{}`)
		case n < 90 && last[room] != "":
			bob.Does("POST", story.Path("rooms", room, "receipt", []string{"m.read", "m.read.private"}[rng.IntN(2)], last[room]), `{}`)
		default:
			message := map[string]any{"messages": map[string]any{bob.ID: map[string]any{"*": map[string]any{"n": fmt.Sprint(i)}}}}
			alice.Must("PUT", story.Path("sendToDevice", "org.example", alice.Txn()), message)
		}
	}
	for i := range 120 {
		act(i)
		f := all[rng.IntN(len(all))]
		switch {
		case f.line == nil && rng.IntN(3) == 0:
			f.goes(f)
		case f.line != nil && rng.IntN(8) == 0:
			f.cuts(f)
		}
		if i%40 != 39 {
			continue
		}
		end := alice.Says(lobby, fmt.Sprint("all up to ", i))
		for _, f := range all {
			for f.goes(f); !slices.Contains(f.room(lobby, false).events, end); f.goes(f) {
			}
		}
		for _, f := range all[1:] {
			all[0].agrees(f, f.name != "the accepted form")
		}
	}
}
