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

// aliasesMost bounds how many aliases a room has on this server.
const aliasesMost = 1000

// RoomOfAlias finds the room of an alias of this server, and some servers that are in it.
//
// Spec: GET /_matrix/client/v3/directory/room/{roomAlias}
func (r *Rooms) RoomOfAlias(ctx context.Context, alias matrix.RoomAlias) (matrix.RoomID, []matrix.ServerName, error) {
	const serversMost = 50
	var id matrix.RoomID
	var servers []matrix.ServerName
	err := r.db.View(ctx, func(tx *store.Tx) error {
		row, ok, err := aliasRoom(tx, alias)
		if err != nil {
			return err
		}
		if !ok {
			return matrix.NotFound("there is no room with the alias %s", alias)
		}
		id = row.id
		servers, err = serversOf(tx, row.nid, serversMost)
		return err
	})
	return id, servers, err
}

// SetAlias gives a room an alias of this server. A member of the room may do so, and an application service
// whose alias it is.
//
// Spec: PUT /_matrix/client/v3/directory/room/{roomAlias}
func (r *Rooms) SetAlias(ctx context.Context, user matrix.UserID, service bool, alias matrix.RoomAlias, room matrix.RoomID) error {
	return r.db.Update(ctx, func(tx *store.Tx) error {
		nid, err := r.nameable(tx, user, service, room)
		if err != nil {
			return err
		}
		if _, taken, err := aliasRoom(tx, alias); err != nil {
			return err
		} else if taken {
			return matrix.E(matrix.CodeUnknown, "the alias %s is taken", alias).WithStatus(409)
		}
		if have, err := aliasesOf(tx, nid, aliasesMost); err != nil {
			return err
		} else if len(have) == aliasesMost {
			return matrix.E(matrix.CodeTooLarge, "the room has %d aliases, which is the most", aliasesMost).WithStatus(400)
		}
		return insertAlias(tx, alias, nid, room, user)
	})
}

// nameable finds a room to which somebody may give an alias.
func (r *Rooms) nameable(tx *store.Tx, user matrix.UserID, service bool, room matrix.RoomID) (RoomNID, error) {
	if service {
		return r.known(tx, room)
	}
	a, err := r.Access(tx, user, room)
	if err == nil && a.Now != matrix.Join {
		err = matrix.Forbidden("only members of a room may give it an alias")
	}
	return a.Room, err
}

// DeleteAlias takes an alias away. Whoever made it may do so, those who may change the room's canonical
// alias, and administrators of the server.
//
// Spec: DELETE /_matrix/client/v3/directory/room/{roomAlias}
func (r *Rooms) DeleteAlias(ctx context.Context, user matrix.UserID, admin bool, alias matrix.RoomAlias) error {
	var row aliasRow
	err := r.db.Update(ctx, func(tx *store.Tx) error {
		var ok bool
		var err error
		row, ok, err = aliasRoom(tx, alias)
		if err != nil {
			return err
		}
		if !ok {
			return matrix.NotFound("there is no room with the alias %s", alias)
		}
		if row.creator != user && !admin {
			may, err := r.may(tx, user, row.id, "m.room.canonical_alias")
			if err != nil {
				return err
			}
			if !may {
				return matrix.Forbidden("only who made an alias, or may change the canonical alias of the room, may delete it")
			}
		}
		return deleteAlias(tx, alias)
	})
	if err != nil {
		return err
	}
	return r.unname(ctx, user, row, alias)
}

// unname takes a deleted alias out of the room's canonical alias event, where the user may do that.
func (r *Rooms) unname(ctx context.Context, user matrix.UserID, row aliasRow, alias matrix.RoomAlias) error {
	err := r.post(ctx, []RoomNID{row.nid}, func(b *batch) error {
		h, err := b.room(row.nid)
		if err != nil {
			return err
		}
		stands, err := b.stateEvent(h, rules.StateKey{Type: "m.room.canonical_alias"})
		if err != nil || stands == nil {
			return err
		}
		content, changed := withoutAlias(stands.Content(), string(alias))
		if !changed {
			return nil
		}
		empty := ""
		_, err = b.append(h, &Draft{Room: row.id, Sender: user, Type: "m.room.canonical_alias", StateKey: &empty, Content: content})
		return err
	})
	var refused *matrix.Error
	if errors.As(err, &refused) {
		return nil // the alias is gone all the same; who may name the room will see to it
	}
	return err
}

// withoutAlias takes an alias out of the content of a canonical alias event.
func withoutAlias(content []byte, alias string) (json.RawMessage, bool) {
	var members map[string]any
	if json.Unmarshal(content, &members) != nil {
		return nil, false
	}
	changed := false
	if members["alias"] == alias {
		delete(members, "alias")
		changed = true
	}
	if alts, ok := members["alt_aliases"].([]any); ok {
		kept := slices.DeleteFunc(slices.Clone(alts), func(a any) bool { return a == alias })
		changed = changed || len(kept) < len(alts)
		members["alt_aliases"] = kept
	}
	out, err := json.Marshal(members)
	return out, changed && err == nil
}

// Aliases are the names that a room has on this server, for those who may read it.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/aliases
func (r *Rooms) Aliases(ctx context.Context, user matrix.UserID, room matrix.RoomID) ([]matrix.RoomAlias, error) {
	out := []matrix.RoomAlias{}
	err := r.db.View(ctx, func(tx *store.Tx) error {
		a, err := r.Access(tx, user, room)
		if err != nil {
			return err
		}
		aliases, err := aliasesOf(tx, a.Room, aliasesMost)
		out = append(out, aliases...)
		return err
	})
	return out, err
}

// may says whether a joined member has the power to send a state event of a type.
func (r *Rooms) may(tx *store.Tx, user matrix.UserID, room matrix.RoomID, tp string) (bool, error) {
	a, err := r.Access(tx, user, room)
	if err != nil || a.Now != matrix.Join {
		return false, err
	}
	levels, err := r.levelsAt(tx, a.Snap)
	if err != nil {
		return false, err
	}
	return levels.User(user).AtLeast(levels.Event(tp, true)), nil
}

// levelsAt are the power levels in a state.
func (r *Rooms) levelsAt(tx *store.Tx, snap int64) (*rules.PowerLevels, error) {
	st, err := r.states.Load(tx, snap)
	if err != nil {
		return nil, err
	}
	pl, err := r.StateEvent(tx, st, "m.room.power_levels", "")
	if err != nil {
		return nil, err
	}
	create, err := r.StateEvent(tx, st, "m.room.create", "")
	if err != nil {
		return nil, err
	}
	return rules.Levels(bare(create), bare(pl)), nil
}

// checkCanonicalAlias refuses a canonical alias event that names an alias which is not the room's.
// Aliases that stood there before are not checked again.
//
// Spec: CS m.room.canonical_alias, PUT /rooms/{roomId}/state (M_BAD_ALIAS).
func (b *batch) checkCanonicalAlias(h *head, d *Draft, names, before []string) error {
	for _, name := range names {
		known := false
		for _, old := range before {
			known = known || old == name
		}
		if known {
			continue
		}
		alias, err := matrix.ParseRoomAlias(name)
		if err != nil {
			return matrix.InvalidParam("%q is not a room alias", name)
		}
		if slices.Contains(d.confirmed, alias) {
			continue
		}
		if alias.Server() != b.r.server {
			return matrix.E(matrix.CodeBadAlias, "the alias %s cannot be looked up", alias)
		}
		row, ok, err := aliasRoom(b.tx, alias)
		if err != nil {
			return fmt.Errorf("look up an alias: %w", err)
		}
		if !ok || row.nid != h.nid {
			return matrix.E(matrix.CodeBadAlias, "the alias %s does not point to this room", alias)
		}
	}
	return nil
}
