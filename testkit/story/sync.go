package story

import (
	"net/url"
	"slices"
	"strconv"
	"time"
)

// patience is how long a user waits for something before the test fails. It is no measure of the server:
// what is waited for comes at once, but on a busy machine.
const patience = 2 * time.Minute

// room is what a user's syncs told about a room.
type room struct {
	timeline []JSON // since the last gap
	seen     map[string]bool
}

// Syncs asks for what is new since the last sync, without waiting, and goes on from there.
func (u *User) Syncs(query ...string) JSON {
	u.t.Helper()
	return u.sync(0, query...)
}

// SyncsFrom asks for what is new since a token, and leaves the user's own place alone.
func (u *User) SyncsFrom(since string, query ...string) JSON {
	u.t.Helper()
	return u.Reads("/sync?" + syncQuery(since, 0, query)).JSON
}

// SyncsAnew forgets all that was told, and syncs as a new client does.
func (u *User) SyncsAnew(query ...string) JSON {
	u.t.Helper()
	u.Since, u.rooms = "", map[string]*room{}
	return u.Syncs(query...)
}

func (u *User) sync(wait time.Duration, query ...string) JSON {
	u.t.Helper()
	a := u.Reads("/sync?" + syncQuery(u.Since, wait, query)).JSON
	if u.Since = a.At("next_batch").Text(); u.Since == "" {
		u.t.Fatalf("%s: a sync has no next_batch: %s", u.Name, a)
	}
	u.takes(a)
	return a
}

// syncQuery makes a query string; query has names and values in turn.
func syncQuery(since string, wait time.Duration, query []string) string {
	q := url.Values{"timeout": {strconv.FormatInt(wait.Milliseconds(), 10)}}
	if since != "" {
		q.Set("since", since)
	}
	for pair := range slices.Chunk(query, 2) {
		q.Set(pair[0], pair[1])
	}
	return q.Encode()
}

// takes adds an answer to what the user knows, and checks what holds for every sync: no event comes twice,
// and the numbers of a room's events rise.
func (u *User) takes(answer JSON) {
	u.t.Helper()
	for _, id := range answer.At("rooms", "leave").Keys() {
		u.takesTimeline(id, answer.At("rooms", "leave", id, "timeline"))
		delete(u.rooms, id) // after a return, history may be told again
	}
	for _, id := range answer.At("rooms", "join").Keys() {
		u.takesTimeline(id, answer.At("rooms", "join", id, "timeline"))
	}
}

func (u *User) takesTimeline(id string, timeline JSON) {
	u.t.Helper()
	r := u.rooms[id]
	if r == nil || timeline.At("limited").Bool() {
		r = &room{seen: map[string]bool{}}
		u.rooms[id] = r
	}
	for _, e := range timeline.At("events").List() {
		event := e.At("event_id").Text()
		if r.seen[event] {
			u.t.Fatalf("%s was told of %s in %s twice", u.Name, event, id)
		}
		if n := len(r.timeline); n > 0 && seqOf(e) != 0 && seqOf(e) <= seqOf(r.timeline[n-1]) {
			u.t.Fatalf("%s was told of %s with seq %d after one with %d", u.Name, event, seqOf(e), seqOf(r.timeline[n-1]))
		}
		r.seen[event] = true
		r.timeline = append(r.timeline, e)
	}
}

func seqOf(event JSON) int64 { return event.At("unsigned", "im.astrocyte.seq").Int() }

// Timeline is what the user's syncs told of a room since the last gap.
func (u *User) Timeline(id string) []JSON {
	if r := u.rooms[id]; r != nil {
		return r.timeline
	}
	return nil
}

// Waits syncs until an answer fits, and gives that answer.
func (u *User) Waits(what string, fits func(answer JSON) bool, query ...string) JSON {
	u.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if a := u.sync(2*time.Second, query...); fits(a) {
			return a
		}
	}
	u.t.Fatalf("%s waited in vain for %s", u.Name, what)
	return JSON{}
}

// SeesEvent syncs until a room's timeline has an event that fits, and gives the event. One that an earlier
// sync told is found as well.
func (u *User) SeesEvent(id, what string, fits func(event JSON) bool) JSON {
	u.t.Helper()
	for end := time.Now().Add(patience); ; {
		if i := slices.IndexFunc(u.Timeline(id), fits); i >= 0 {
			return u.Timeline(id)[i]
		}
		if time.Now().After(end) {
			u.t.Fatalf("%s waited in vain for %s in %s", u.Name, what, id)
		}
		u.sync(2 * time.Second)
	}
}

// Sees syncs until a message with the text is in a room's timeline, and gives its event.
func (u *User) Sees(id, text string) JSON {
	u.t.Helper()
	return u.SeesEvent(id, strconv.Quote(text), func(e JSON) bool { return e.At("content", "body").Text() == text })
}

// DoesNotSee checks that a message with the text is not in what the user is told of a room, by a sync of
// now. The server tells of an event as soon as it has acknowledged it, so nothing has to be waited for.
func (u *User) DoesNotSee(id, text string) {
	u.t.Helper()
	u.Syncs()
	if slices.ContainsFunc(u.Timeline(id), func(e JSON) bool { return e.At("content", "body").Text() == text }) {
		u.t.Fatalf("%s sees %q in %s, and should not", u.Name, text, id)
	}
}

// SeesMembership syncs until the timeline has a member event of somebody, and gives it.
func (u *User) SeesMembership(id string, who *User, membership string) JSON {
	u.t.Helper()
	return u.SeesEvent(id, who.Name+"'s "+membership, func(e JSON) bool {
		return e.At("type").Text() == "m.room.member" && e.At("state_key").Text() == who.ID &&
			e.At("content", "membership").Text() == membership
	})
}

// SeesInvite syncs until there is an invite to a room, and gives its stripped state.
func (u *User) SeesInvite(id string) []JSON {
	u.t.Helper()
	path := []any{"rooms", "invite", id}
	a := u.Waits("an invite to "+id, func(a JSON) bool { return a.At(path...).There() })
	return a.At(append(path, "invite_state", "events")...).List()
}
