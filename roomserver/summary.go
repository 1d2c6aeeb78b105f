package roomserver

import (
	"context"
	"encoding/json"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// RoomSummary is what those may know of a room who could enter it.
//
// Spec: CS RoomSummary.
type RoomSummary struct {
	RoomEntry
	Allowed    []matrix.RoomID    `json:"allowed_room_ids,omitempty"` // of a restricted room: whose members may join
	Encryption string             `json:"encryption,omitempty"`
	Version    matrix.RoomVersion `json:"room_version,omitempty"`
}

// Summary sums up a room for a user, or for nobody where the user is empty, and tells the user's
// membership. Who could not enter the room is not told whether it exists.
//
// Spec: GET /_matrix/client/v1/room_summary/{roomIdOrAlias}
func (r *Rooms) Summary(ctx context.Context, user matrix.UserID, id matrix.RoomID) (*RoomSummary, matrix.Membership, error) {
	var out *RoomSummary
	var now matrix.Membership
	err := r.db.View(ctx, func(tx *store.Tx) error {
		o, err := r.outside(tx, user, id)
		if err != nil {
			return err
		}
		if o == nil {
			return matrix.NotFound("there is no room %s that you may know of", id)
		}
		now = o.membership
		out, err = r.summary(tx, o)
		return err
	})
	return out, now, err
}

// outsider is a room as somebody sees it who need not be in it.
type outsider struct {
	head       Head
	state      *state.State
	membership matrix.Membership // of the viewer
}

// look looks at a room, whoever wants to know; nil: it is not here.
func (r *Rooms) look(tx *store.Tx, id matrix.RoomID) (*outsider, error) {
	nid, ok, err := r.NID(tx, id)
	if err != nil || !ok {
		return nil, err
	}
	heads, err := r.Heads(tx, []RoomNID{nid})
	if err != nil {
		return nil, fmt.Errorf("read the head of room %s: %w", id, err)
	}
	h, ok := heads[nid]
	if !ok {
		return nil, nil
	}
	o := &outsider{head: h, membership: matrix.Leave}
	o.state, err = r.states.Load(tx, h.Snap)
	return o, err
}

// outside looks at a room from outside; nil: it is not here, or the user may not know of it.
func (r *Rooms) outside(tx *store.Tx, user matrix.UserID, id matrix.RoomID) (*outsider, error) {
	o, err := r.look(tx, id)
	if err != nil || o == nil {
		return nil, err
	}
	if user != "" {
		ur, found, err := r.UserRoom(tx, user, o.head.Room)
		if err != nil {
			return nil, err
		}
		if found {
			o.membership = ur.Membership
		}
	}
	if ok, err := r.enterable(tx, user, o); err != nil || !ok {
		return nil, err
	}
	return o, nil
}

// enterable says whether a user is in a room, may enter it, knock at it or look into it.
//
// Spec: GET /_matrix/client/v1/rooms/{roomId}/hierarchy
func (r *Rooms) enterable(tx *store.Tx, user matrix.UserID, o *outsider) (bool, error) {
	if o.membership == matrix.Join || o.membership == matrix.Invite || user == Overseer {
		return true, nil
	}
	hv, err := r.StateEvent(tx, o.state, "m.room.history_visibility", "")
	if err != nil {
		return false, err
	}
	if hv != nil && hv.HistoryVisibility() == rules.WorldReadable {
		return true, nil
	}
	event, err := r.StateEvent(tx, o.state, "m.room.join_rules", "")
	if err != nil || event == nil || o.membership == matrix.Ban {
		return false, err
	}
	jr, v := event.JoinRules(), event.Version()
	if jr.Rule == "public" || jr.Knockable(v) {
		return true, nil
	}
	if user == "" || !jr.Restricted(v) {
		return false, nil
	}
	for _, room := range jr.AllowedRooms() {
		nid, ok, err := r.NID(tx, room)
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		ur, ok, err := r.UserRoom(tx, user, nid)
		if err != nil {
			return false, err
		}
		if ok && ur.Membership == matrix.Join {
			return true, nil
		}
	}
	return false, nil
}

// enterableFor says whether a server has users in a room, or whom the room invites, or may look into it, or might
// have users who may enter it.
//
// Spec: GET /_matrix/federation/v1/hierarchy/{roomId}
func (r *Rooms) enterableFor(tx *store.Tx, server matrix.ServerName, o *outsider) (bool, error) {
	for _, concerns := range []func(*store.Tx, RoomNID, matrix.ServerName) (bool, error){serverIn, serverInvited} {
		if yes, err := concerns(tx, o.head.Room, server); err != nil || yes {
			return yes, err
		}
	}
	if open, err := r.enterable(tx, "", o); err != nil || open {
		return open, err
	}
	event, err := r.StateEvent(tx, o.state, "m.room.join_rules", "")
	if err != nil || event == nil || !event.JoinRules().Restricted(event.Version()) {
		return false, err
	}
	for _, room := range event.JoinRules().AllowedRooms() {
		nid, ok, err := r.NID(tx, room)
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		if in, err := serverIn(tx, nid, server); err != nil || in {
			return in, err
		}
	}
	return false, nil
}

// Foreign is what a user has to do with a room of which another server told.
type Foreign struct {
	Membership matrix.Membership
	// May says whether the user may know of the room.
	May bool
}

// Foreign finds out whether a user may know of a room of which another server told.
//
// Spec: GET /_matrix/client/v1/rooms/{roomId}/hierarchy
func (r *Rooms) Foreign(ctx context.Context, user matrix.UserID, s *RoomSummary) (f Foreign, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		f = Foreign{Membership: matrix.Leave, May: s.WorldReadable}
		is := func(room matrix.RoomID) (matrix.Membership, error) {
			nid, ok, err := r.NID(tx, room)
			if err != nil || !ok || user == "" {
				return matrix.Leave, err
			}
			ur, found, err := r.UserRoom(tx, user, nid)
			if err != nil || !found {
				return matrix.Leave, err
			}
			return ur.Membership, nil
		}
		if f.Membership, err = is(s.RoomID); err != nil {
			return err
		}
		f.May = f.May || f.Membership == matrix.Join || f.Membership == matrix.Invite
		switch s.JoinRule {
		case "", "public", "knock", "knock_restricted": // public is what it is where nothing is said
			f.May = true
		case "restricted":
			for _, room := range s.Allowed {
				m, err := is(room)
				if err != nil {
					return err
				}
				f.May = f.May || m == matrix.Join
			}
		}
		return nil
	})
	return f, err
}

func (r *Rooms) summary(tx *store.Tx, o *outsider) (*RoomSummary, error) {
	e, err := r.entry(tx, publishedRoom{nid: o.head.Room, joined: o.head.Joined, snap: o.head.Snap})
	if err != nil {
		return nil, err
	}
	s := &RoomSummary{RoomEntry: e, Version: matrix.RoomVersion(o.head.Version)}
	s.RoomID = o.head.ID
	jr, err := r.StateEvent(tx, o.state, "m.room.join_rules", "")
	if err != nil {
		return nil, err
	}
	if jr != nil && jr.JoinRules().Restricted(jr.Version()) {
		s.Allowed = jr.JoinRules().AllowedRooms()
	}
	enc, err := r.StateEvent(tx, o.state, "m.room.encryption", "")
	if err != nil || enc == nil {
		return s, err
	}
	var content struct {
		Algorithm string `json:"algorithm"`
	}
	if json.Unmarshal(enc.shownContent(), &content) == nil {
		s.Encryption = content.Algorithm
	}
	return s, nil
}
