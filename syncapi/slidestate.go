package syncapi

import (
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
)

// choice is the state events that are told of a room.
type choice struct {
	nids    []int64
	members map[int64]int64 // tuples of members that are told, and with what event
}

// tellState chooses and tells what the client wants to know of the state.
func (r *slide) tellState(v *view) error {
	c := &choice{members: make(map[int64]int64)}
	var err error
	if v.fresh {
		err = v.wholeState(c)
	} else {
		err = v.changedState(c)
	}
	if err != nil {
		return err
	}
	if v.s.wishes.lazy {
		if err := r.addLazy(v, c); err != nil {
			return err
		}
	}
	slices.Sort(c.nids)
	events, err := v.a.rooms.RenderState(v.tx, v.viewer, slices.Compact(c.nids))
	if err != nil {
		return fmt.Errorf("show state: %w", err)
	}
	v.n.state = events
	return nil
}

// wholeState chooses from the state of a room that is new to the client.
func (v *view) wholeState(c *choice) error {
	if err := v.choose(c, v.s.wishes, func(rules.StateKey) bool { return true }); err != nil {
		return err
	}
	name, err := v.a.rooms.StateEvent(v.tx, v.end, "m.room.name", "")
	if err != nil {
		return err
	}
	avatar, err := v.a.rooms.StateEvent(v.tx, v.end, "m.room.avatar", "")
	if err != nil {
		return err
	}
	v.n.name, v.n.avatar = asText(textIn(name, "name")), asText(textIn(avatar, "url"))
	return nil
}

func asText(s string) *string { return &s }

// choose adds the events that the wishes want and that fit. Single pieces are looked up; only where a wish has
// open parts is the state gone through, and its members only where it is about members.
func (v *view) choose(c *choice, w *wishes, fits func(rules.StateKey) bool) error {
	for _, key := range w.exact {
		if !w.matches(key) || !fits(key) {
			continue
		}
		tuple, ok, err := v.a.rooms.Tuple(v.tx, key.Type, key.Key)
		if err != nil {
			return err
		}
		if nid, set := v.end.Event(tuple); ok && set {
			c.add(tuple, nid, key.Type)
		}
	}
	var entries []state.Entry
	switch {
	case w.every:
		entries = v.end.Entries()
	case w.scan:
		entries = v.end.WithoutMembers()
	}
	keys, err := v.keysOf(entries)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if key := keys[e.Tuple]; w.matches(key) && fits(key) {
			c.add(e.Tuple, e.Event, key.Type)
		}
	}
	return nil
}

func (r *reading) keysOf(entries []state.Entry) (map[int64]rules.StateKey, error) {
	tuples := make([]int64, len(entries))
	for i, e := range entries {
		tuples[i] = e.Tuple
	}
	return r.a.rooms.StateKeys(r.tx, tuples)
}

func (c *choice) add(tuple, nid int64, tp string) {
	c.nids = append(c.nids, nid)
	if tp == memberEvent {
		c.members[tuple] = nid
	}
}

// changedState chooses what changed from the state that the client knows; and what it did not want to know before.
func (v *view) changedState(c *choice) error {
	changes := state.Diff(v.old, v.end)
	keys, err := v.changedKeys(changes)
	if err != nil {
		return err
	}
	for _, d := range changes {
		key := keys[d.Tuple]
		v.noteChange(key)
		lazily := key.Type == memberEvent && v.s.wishes.lazy && !v.gap
		if !lazily && !v.s.wishes.matches(key) {
			continue
		}
		if d.New == 0 {
			v.n.gone = append(v.n.gone, goneState{key.Type, key.Key})
			continue
		}
		c.add(d.Tuple, d.New, key.Type)
	}
	if err := v.tellNames(); err != nil {
		return err
	}
	if v.was.key == v.s.wishes.key {
		return nil
	}
	return v.choose(c, v.s.wishes, func(key rules.StateKey) bool { return !v.was.matches(key) })
}

// changedKeys finds what the changed tuples stand for. What members are changed is looked up only where it matters.
func (v *view) changedKeys(changes []state.Difference) (map[int64]rules.StateKey, error) {
	if v.gap && !v.s.wishes.every && len(changes) > 200 {
		keys, err := v.typesOf(changes)
		if err != nil {
			return nil, err
		}
		for _, key := range v.s.wishes.exact {
			if key.Type != memberEvent {
				continue
			}
			tuple, ok, err := v.a.rooms.Tuple(v.tx, key.Type, key.Key)
			if err != nil {
				return nil, err
			}
			if _, changed := keys[tuple]; ok && changed {
				keys[tuple] = key
			}
		}
		return keys, nil
	}
	tuples := make([]int64, len(changes))
	for i, d := range changes {
		tuples[i] = d.Tuple
	}
	return v.a.rooms.StateKeys(v.tx, tuples)
}

// noteChange notes a change of what a room is called by.
func (v *view) noteChange(key rules.StateKey) {
	switch {
	case key.Type == memberEvent:
		v.membersChanged = true
	case key.Type == "m.room.name" && key.Key == "":
		v.nameChanged = true
	case key.Type == "m.room.avatar" && key.Key == "":
		v.avatarChanged = true
	}
}

// renamed says whether what changed touches the members by which a room without a name is named.
func (v *view) renamed() bool { return v.membersChanged || v.nameChanged }

func (v *view) tellNames() error {
	for _, part := range []struct {
		changed    bool
		tp, member string
		into       **string
	}{{v.nameChanged, "m.room.name", "name", &v.n.name}, {v.avatarChanged, "m.room.avatar", "url", &v.n.avatar}} {
		if !part.changed {
			continue
		}
		e, err := v.a.rooms.StateEvent(v.tx, v.end, part.tp, "")
		if err != nil {
			return err
		}
		*part.into = asText(textIn(e, part.member))
	}
	return nil
}

// tellHeroes tells the members by which a room is named that has no name.
func (v *view) tellHeroes() error {
	name, err := v.a.rooms.StateEvent(v.tx, v.end, "m.room.name", "")
	if err != nil || textIn(name, "name") != "" {
		return err
	}
	users, err := v.heroes(v.s.room)
	if err != nil {
		return err
	}
	v.n.heroes = make([]slidHero, 0, len(users))
	for _, u := range users {
		e, err := v.a.rooms.StateEvent(v.tx, v.end, memberEvent, string(u))
		if err != nil {
			return err
		}
		v.n.heroes = append(v.n.heroes, slidHero{u, textIn(e, "displayname"), textIn(e, "avatar_url")})
	}
	return nil
}

// addLazy adds the members that the client needs to show the timeline and was not sent: who sent its events, and
// of whom its member events tell.
//
// Spec: MSC4186 "Lazy loaded memberships".
func (r *slide) addLazy(v *view, c *choice) error {
	if r.members == nil {
		r.members = r.a.sent.at(r.memory(), r.from.link(), r.initial)
	}
	anew := v.fresh || v.gap
	if v.n.timeline != nil {
		for _, user := range needed(v.n.timeline.events) {
			tuple, ok, err := v.a.rooms.Tuple(v.tx, memberEvent, string(user))
			if err != nil {
				return fmt.Errorf("find the member %s: %w", user, err)
			}
			nid, set := v.end.Event(tuple)
			if ok && set && (anew || !r.members.has(v.s.room, tuple, nid)) {
				c.add(tuple, nid, memberEvent)
			}
		}
	}
	told := r.told.of(v.s.room)
	told.fresh = anew
	for tuple, nid := range c.members {
		told.members[tuple] = nid
	}
	return nil
}

// needed are the users that a client needs to know to show events.
func needed(events []*roomserver.ClientEvent) []matrix.UserID {
	var users []matrix.UserID
	add := func(u matrix.UserID) {
		if !slices.Contains(users, u) {
			users = append(users, u)
		}
	}
	for _, e := range events {
		add(e.Sender())
		if key, ok := e.StateKey(); ok && e.Type() == memberEvent {
			add(matrix.UserID(key))
		}
	}
	return users
}

// eventsOfType reads the events of a type in a state, by state key. Not for members.
func (r *reading) eventsOfType(st *state.State, tp string) (map[string]*roomserver.Event, error) {
	entries := st.WithoutMembers()
	keys, err := r.keysOf(entries)
	if err != nil {
		return nil, err
	}
	var nids []int64
	byNID := make(map[int64]string)
	for _, e := range entries {
		if key := keys[e.Tuple]; key.Type == tp {
			nids = append(nids, e.Event)
			byNID[e.Event] = key.Key
		}
	}
	events, err := r.a.rooms.Events(r.tx, nids)
	if err != nil {
		return nil, fmt.Errorf("read state events: %w", err)
	}
	out := make(map[string]*roomserver.Event, len(events))
	for nid, e := range events {
		out[byNID[nid]] = e
	}
	return out, nil
}
