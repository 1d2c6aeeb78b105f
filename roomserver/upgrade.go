package roomserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// Upgrade replaces a room by a new one of another version: the same state, aliases and place in the
// directory, and a tombstone in the old room.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/upgrade, CS "Room upgrades".
func (r *Rooms) Upgrade(ctx context.Context, user matrix.UserID, old matrix.RoomID, to matrix.RoomVersion, creators []matrix.UserID, p Profile) (matrix.RoomID, error) {
	v, err := version(string(to))
	if err != nil {
		return "", err
	}
	var c Creation
	var a Access
	err = r.db.View(ctx, func(tx *store.Tx) error {
		if a, err = r.Access(tx, user, old); err != nil {
			return err
		}
		if may, err := r.may(tx, user, old, "m.room.tombstone"); err != nil {
			return err
		} else if !may {
			return matrix.Forbidden("you may not upgrade the room: it needs the power to send m.room.tombstone")
		}
		c, err = r.successor(tx, a, v, user)
		return err
	})
	if err != nil {
		return "", err
	}
	c.Creator, c.Profile, c.Version = user, p, to
	if err := c.inherit(v, old, creators); err != nil {
		return "", err
	}
	id, err := r.Create(ctx, c)
	if err != nil {
		return "", fmt.Errorf("make the new room: %w", err)
	}
	return id, r.bury(ctx, user, old, a.Room, id)
}

// carried are the state events that an upgraded room begins with, as the old one had them.
func carried() []string {
	return []string{
		"m.room.server_acl", "m.room.encryption", "m.room.name", "m.room.avatar", "m.room.topic",
		"m.room.guest_access", "m.room.history_visibility", "m.room.join_rules", "m.room.power_levels",
		"m.room.policy",
	}
}

// successor gathers what the new room takes over.
func (r *Rooms) successor(tx *store.Tx, a Access, v *rules.Version, user matrix.UserID) (Creation, error) {
	c := Creation{Preset: PrivateChat, Content: map[string]json.RawMessage{}}
	st, err := r.states.Load(tx, a.Snap)
	if err != nil {
		return c, err
	}
	for _, tp := range carried() {
		e, err := r.StateEvent(tx, st, tp, "")
		if err != nil {
			return c, err
		}
		if e == nil {
			continue
		}
		if tp == "m.room.power_levels" {
			c.Levels, err = carriedLevels(v, e, user)
			if err != nil {
				return c, err
			}
			continue
		}
		c.State = append(c.State, StateWish{Type: tp, Content: e.Content()})
	}
	create, err := r.StateEvent(tx, st, "m.room.create", "")
	if err != nil || create == nil {
		return c, err
	}
	var content map[string]json.RawMessage
	if err := json.Unmarshal(create.Content(), &content); err != nil {
		return c, fmt.Errorf("read the create event: %w", err)
	}
	for _, key := range []string{"type", "m.federate"} {
		if raw, ok := content[key]; ok {
			c.Content[key] = raw
		}
	}
	return c, r.carriedBans(tx, st.Entries(), &c)
}

// carriedLevels are the old power levels as the new version may have them: from version 12 the creator
// stands above them, and is not in them.
func carriedLevels(v *rules.Version, e *Event, user matrix.UserID) (map[string]json.RawMessage, error) {
	var levels map[string]json.RawMessage
	if err := json.Unmarshal(e.Content(), &levels); err != nil {
		return nil, fmt.Errorf("read the power levels: %w", err)
	}
	var users map[matrix.UserID]json.RawMessage
	if raw, ok := levels["users"]; ok && v.PrivilegedCreators {
		if err := json.Unmarshal(raw, &users); err != nil {
			return nil, fmt.Errorf("read the users' power levels: %w", err)
		}
		delete(users, user)
		raw, err := json.Marshal(users)
		if err != nil {
			return nil, fmt.Errorf("write the users' power levels: %w", err)
		}
		levels["users"] = raw
	}
	return levels, nil
}

// carriedBans takes the bans over.
func (r *Rooms) carriedBans(tx *store.Tx, entries []entry, c *Creation) error {
	tuples := make([]int64, len(entries))
	for i, e := range entries {
		tuples[i] = e.Tuple
	}
	keys, err := r.states.Keys(tx, tuples)
	if err != nil {
		return err
	}
	for _, e := range entries {
		key := keys[e.Tuple]
		if key.Type != "m.room.member" {
			continue
		}
		member, err := r.event(tx, e.Event)
		if err != nil {
			return err
		}
		if member.Membership() == matrix.Ban {
			c.State = append(c.State, StateWish{Type: key.Type, StateKey: key.Key, Content: member.Content()})
		}
	}
	return nil
}

type entry = rules.Entry

// inherit names the old room in the new one.
func (c *Creation) inherit(v *rules.Version, old matrix.RoomID, creators []matrix.UserID) error {
	predecessor, err := json.Marshal(map[string]any{"room_id": old})
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
func (r *Rooms) bury(ctx context.Context, user matrix.UserID, old matrix.RoomID, oldNID RoomNID, successor matrix.RoomID) error {
	empty := ""
	content, err := json.Marshal(map[string]any{"body": "This room has been replaced", "replacement_room": successor})
	if err != nil {
		return fmt.Errorf("write the tombstone: %w", err)
	}
	_, err = r.Send(ctx, Draft{Room: old, Sender: user, Type: "m.room.tombstone", StateKey: &empty, Content: content})
	if err != nil {
		return fmt.Errorf("send the tombstone: %w", err)
	}
	var refused *matrix.Error
	if err := r.restrict(ctx, user, old); err != nil && !errors.As(err, &refused) {
		return err
	}
	return r.db.Update(ctx, func(tx *store.Tx) error {
		nid, err := r.known(tx, successor)
		if err != nil {
			return err
		}
		return moveNames(tx, oldNID, nid, successor)
	})
}

// restrict raises the power that messages and invites need in a room that is over.
func (r *Rooms) restrict(ctx context.Context, user matrix.UserID, room matrix.RoomID) error {
	var content map[string]any
	err := r.db.View(ctx, func(tx *store.Tx) error {
		a, err := r.Access(tx, user, room)
		if err != nil {
			return err
		}
		st, err := r.states.Load(tx, a.Snap)
		if err != nil {
			return err
		}
		pl, err := r.StateEvent(tx, st, "m.room.power_levels", "")
		if err != nil || pl == nil {
			return err
		}
		if err := json.Unmarshal(pl.Content(), &content); err != nil {
			return fmt.Errorf("read the power levels: %w", err)
		}
		return nil
	})
	if err != nil || content == nil {
		return err
	}
	level := func(name string, otherwise float64) float64 {
		if n, ok := content[name].(float64); ok {
			return n
		}
		return otherwise
	}
	most := int64(max(50, level("users_default", 0)+1))
	content["events_default"] = max(most, int64(level("events_default", 0)))
	content["invite"] = max(most, int64(level("invite", 0)))
	raw, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("write the power levels: %w", err)
	}
	empty := ""
	_, err = r.Send(ctx, Draft{Room: room, Sender: user, Type: "m.room.power_levels", StateKey: &empty, Content: raw})
	return err
}
