package roomserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// Upgrade replaces a room by a new one of another version: the same state, aliases and place in the
// directory, and a tombstone in the old room. All of it happens in one commit, or nothing.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/upgrade, CS "Room upgrades".
func (r *Rooms) Upgrade(ctx context.Context, user matrix.UserID, old matrix.RoomID, to matrix.RoomVersion, creators []matrix.UserID, p Profile) (matrix.RoomID, error) {
	v, err := version(string(to))
	if err != nil {
		return "", err
	}
	nid, err := r.find(ctx, old)
	if err != nil {
		return "", err
	}
	fresh, err := r.newNID(ctx)
	if err != nil {
		return "", err
	}
	var id matrix.RoomID
	name, at := randomText(), r.creationTime()
	err = r.post(ctx, []RoomNID{nid}, func(b *batch) error {
		h, err := b.room(nid)
		if err != nil {
			return err
		}
		if err := b.mayUpgrade(h, user); err != nil {
			return err
		}
		c := Creation{Creator: user, Profile: p, Version: to, Preset: PrivateChat, Content: map[string]json.RawMessage{}, name: name, at: at}
		if err := b.takeOver(h, v, &c, creators); err != nil {
			return err
		}
		id, err = b.succeed(h, fresh, v, &c, creators)
		return err
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// succeed makes the new room and leaves a tombstone in the old one, first of all where the new room can name it: from
// version 12 on its own id, which stands in the tombstone, would be another one then.
func (b *batch) succeed(old *head, nid RoomNID, v *rules.Version, c *Creation, creators []matrix.UserID) (matrix.RoomID, error) {
	var grave matrix.EventID
	if !v.RoomIDIsHash {
		tombstone, err := b.bury(old, nid, c.roomID(b.r.server), c)
		if err != nil {
			return "", err
		}
		grave = tombstone.ID()
	}
	if err := c.inherit(v, old.id, grave, creators); err != nil {
		return "", err
	}
	drafts, err := c.drafts(v)
	if err != nil {
		return "", err
	}
	made, err := b.create(nid, v, *c, drafts)
	if err != nil {
		return "", err
	}
	if v.RoomIDIsHash {
		_, err = b.bury(old, nid, made.id, c)
	}
	return made.id, err
}

// mayUpgrade refuses who may not leave a tombstone, before anything is made.
func (b *batch) mayUpgrade(h *head, user matrix.UserID) error {
	member, err := b.stateEvent(h, rules.StateKey{Type: "m.room.member", Key: string(user)})
	if err != nil {
		return err
	}
	if member == nil || member.Membership() != matrix.Join {
		return matrix.Forbidden("you are not in the room %s", h.id)
	}
	levels, err := b.levels(h)
	if err != nil {
		return err
	}
	if !levels.User(user).AtLeast(levels.Event("m.room.tombstone", true)) {
		return matrix.Forbidden("you may not upgrade the room: it needs the power to send m.room.tombstone")
	}
	return nil
}

// carried are the state events that an upgraded room begins with, as the old one had them.
func carried() []string {
	return []string{
		"m.room.server_acl", "m.room.encryption", "m.room.name", "m.room.avatar", "m.room.topic",
		"m.room.guest_access", "m.room.history_visibility", "m.room.join_rules", "m.room.power_levels",
		"m.room.policy",
	}
}

// takeOver gathers what the new room takes over from the old one.
func (b *batch) takeOver(h *head, v *rules.Version, c *Creation, creators []matrix.UserID) error {
	for _, tp := range carried() {
		e, err := b.stateEvent(h, rules.StateKey{Type: tp})
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		if tp == "m.room.power_levels" {
			if c.Levels, err = carriedLevels(v, e, slices.Concat(creators, []matrix.UserID{c.Creator})); err != nil {
				return err
			}
			if err := c.raise(v); err != nil {
				return err
			}
			continue
		}
		c.State = append(c.State, StateWish{Type: tp, Content: e.Content()})
	}
	create, err := b.stateEvent(h, rules.StateKey{Type: "m.room.create"})
	if err != nil || create == nil {
		return err
	}
	var content map[string]json.RawMessage
	if err := json.Unmarshal(create.Content(), &content); err != nil {
		return fmt.Errorf("read the create event: %w", err)
	}
	for _, key := range []string{"type", "m.federate"} {
		if raw, ok := content[key]; ok {
			c.Content[key] = raw
		}
	}
	if err := b.takeBans(h, c); err != nil {
		return err
	}
	if err := b.takeCanonicalAlias(h, c); err != nil {
		return err
	}
	if c.last != nil {
		c.State = append(c.State, *c.last)
	}
	return nil
}

// carriedLevels are the old power levels as the new version may have them: from version 12 the creators
// stand above them, and are not in them. What old versions let be something else is integers.
func carriedLevels(v *rules.Version, e *Event, creators []matrix.UserID) (map[string]json.RawMessage, error) {
	levels := e.IntegerLevels()
	var users map[matrix.UserID]json.RawMessage
	if raw, ok := levels["users"]; ok && v.PrivilegedCreators {
		if err := json.Unmarshal(raw, &users); err != nil {
			return nil, fmt.Errorf("read the users' power levels: %w", err)
		}
		for _, user := range creators {
			delete(users, user)
		}
		raw, err := json.Marshal(users)
		if err != nil {
			return nil, fmt.Errorf("write the users' power levels: %w", err)
		}
		levels["users"] = raw
	}
	return levels, nil
}

// raise gives who upgrades a room the power to set all of its state. At the end the levels are as they
// were. From version 12 on the creator has all power anyway.
func (c *Creation) raise(v *rules.Version) error {
	if v.PrivilegedCreators {
		return nil
	}
	end, err := json.Marshal(c.Levels)
	if err != nil {
		return fmt.Errorf("write the power levels: %w", err)
	}
	var content struct {
		Users   map[matrix.UserID]int64 `json:"users"`
		Events  map[string]int64        `json:"events"`
		Default int64                   `json:"users_default"`
		State   int64                   `json:"state_default"`
		Ban     int64                   `json:"ban"`
	}
	if err := json.Unmarshal(end, &content); err != nil {
		return fmt.Errorf("read the power levels: %w", err)
	}
	own, named := content.Users[c.Creator]
	if !named {
		own = content.Default
	}
	need := max(100, content.State, content.Ban)
	for _, level := range content.Events {
		need = max(need, level)
	}
	if own >= need {
		return nil
	}
	users := map[matrix.UserID]int64{c.Creator: need}
	for user, level := range content.Users {
		if user != c.Creator {
			users[user] = level
		}
	}
	raw, err := json.Marshal(users)
	if err != nil {
		return fmt.Errorf("write the users' power levels: %w", err)
	}
	c.Levels["users"] = raw
	c.last = &StateWish{Type: "m.room.power_levels", Content: end}
	return nil
}

// takeBans takes the bans over.
func (b *batch) takeBans(h *head, c *Creation) error {
	entries := h.state.Entries()
	tuples := make([]int64, len(entries))
	for i, e := range entries {
		tuples[i] = e.Tuple
	}
	keys, err := b.r.states.Keys(b.tx, tuples)
	if err != nil {
		return err
	}
	for _, e := range entries {
		key := keys[e.Tuple]
		if key.Type != "m.room.member" {
			continue
		}
		member, err := b.event(e.Event)
		if err != nil {
			return err
		}
		if member.Membership() == matrix.Ban {
			c.State = append(c.State, StateWish{Type: key.Type, StateKey: key.Key, Content: member.Content()})
		}
	}
	return nil
}

// takeCanonicalAlias parts the aliases by which the old room is called: those of this server go over to the new room, as
// what they point to does; the old one keeps those of others.
func (b *batch) takeCanonicalAlias(h *head, c *Creation) error {
	e, err := b.stateEvent(h, rules.StateKey{Type: "m.room.canonical_alias"})
	if err != nil || e == nil {
		return err
	}
	var stands, moves, keeps canonicalAlias
	if json.Unmarshal(e.Content(), &stands) != nil {
		return nil
	}
	ours, err := aliasesOf(b.tx, h.nid, aliasesMost)
	if err != nil {
		return fmt.Errorf("read the aliases of the old room: %w", err)
	}
	part := func(name string) *canonicalAlias {
		if slices.Contains(ours, matrix.RoomAlias(name)) {
			return &moves
		}
		return &keeps
	}
	if stands.Alias != nil && *stands.Alias != "" {
		part(*stands.Alias).Alias = stands.Alias
	}
	for _, name := range stands.AltAliases {
		to := part(name)
		to.AltAliases = append(to.AltAliases, name)
	}
	if len(moves.names()) == 0 {
		return nil
	}
	content, err := json.Marshal(moves)
	if err != nil {
		return fmt.Errorf("write the aliases of the new room: %w", err)
	}
	c.State = append(c.State, StateWish{Type: "m.room.canonical_alias", Content: content})
	c.kept, err = json.Marshal(keeps)
	return err
}

// inherit names the old room in the new one, and its tombstone if that is there.
func (c *Creation) inherit(v *rules.Version, old matrix.RoomID, tombstone matrix.EventID, creators []matrix.UserID) error {
	named := map[string]any{"room_id": old}
	if tombstone != "" {
		named["event_id"] = tombstone
	}
	predecessor, err := json.Marshal(named)
	if err != nil {
		return fmt.Errorf("write the predecessor: %w", err)
	}
	c.Content["predecessor"] = predecessor
	if len(creators) == 0 {
		return nil
	}
	if !v.PrivilegedCreators {
		return matrix.InvalidParam("room version %s has no additional creators", v.ID)
	}
	raw, err := json.Marshal(slices.Compact(slices.Sorted(slices.Values(creators))))
	c.Content["additional_creators"] = raw
	return err
}

// bury leaves a tombstone in the old room, and moves its names to the new one. Who may not send any
// more is nobody below the power to do so, where the user may set that.
func (b *batch) bury(old *head, successor RoomNID, id matrix.RoomID, c *Creation) (*Event, error) {
	empty := ""
	content, err := json.Marshal(map[string]any{"body": "This room has been replaced", "replacement_room": id})
	if err != nil {
		return nil, fmt.Errorf("write the tombstone: %w", err)
	}
	tombstone, err := b.append(old, &Draft{
		Room: old.id, Sender: c.Creator, Type: "m.room.tombstone", StateKey: &empty, Content: content, Timestamp: c.at,
	})
	if err != nil {
		return nil, fmt.Errorf("send the tombstone: %w", err)
	}
	var refused *matrix.Error
	if c.kept != nil {
		_, err := b.append(old, &Draft{
			Room: old.id, Sender: c.Creator, Type: "m.room.canonical_alias", StateKey: &empty, Content: c.kept, Timestamp: c.at,
		})
		if err != nil && !errors.As(err, &refused) {
			return nil, fmt.Errorf("take the aliases from the old room: %w", err)
		}
	}
	if err := b.restrict(old, c.Creator); err != nil && !errors.As(err, &refused) {
		return nil, err
	}
	b.later = append(b.later, func() error { return moveNames(b.tx, old.nid, successor, id) })
	return tombstone, nil
}

// restrict raises the power that messages and invites need in a room that is over.
func (b *batch) restrict(h *head, user matrix.UserID) error {
	pl, err := b.stateEvent(h, rules.StateKey{Type: "m.room.power_levels"})
	if err != nil || pl == nil {
		return err
	}
	content := pl.IntegerLevels()
	level := func(name string) int64 {
		var n int64 // what is not there counts as 0
		if json.Unmarshal(content[name], &n) != nil {
			return 0
		}
		return n
	}
	least := max(50, level("users_default")+1)
	for _, name := range []string{"events_default", "invite"} {
		content[name] = fmt.Appendf(nil, "%d", max(least, level(name)))
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("write the power levels: %w", err)
	}
	empty := ""
	_, err = b.append(h, &Draft{Room: h.id, Sender: user, Type: "m.room.power_levels", StateKey: &empty, Content: raw})
	return err
}
