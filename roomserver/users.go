package roomserver

import (
	"context"
	"errors"
	"fmt"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/store"
)

// JoinedRooms are the rooms that a user is in.
//
// Spec: GET /_matrix/client/v3/joined_rooms
func (r *Rooms) JoinedRooms(ctx context.Context, user matrix.UserID) ([]matrix.RoomID, error) {
	out := []matrix.RoomID{}
	err := r.db.View(ctx, func(tx *store.Tx) error {
		rooms, err := r.UserRooms(tx, user)
		for _, ur := range rooms {
			if ur.Membership == matrix.Join {
				out = append(out, ur.ID)
			}
		}
		return err
	})
	return out, err
}

// Memberships tells what a user of ours is in each room that they have to do with.
func (r *Rooms) Memberships(ctx context.Context, user matrix.UserID) (all map[matrix.RoomID]matrix.Membership, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		rooms, err := r.UserRooms(tx, user)
		all = make(map[matrix.RoomID]matrix.Membership, len(rooms))
		for _, ur := range rooms {
			all[ur.ID] = ur.Membership
		}
		return err
	})
	return all, err
}

// Forget takes a room that the user has left out of their sight.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/forget
func (r *Rooms) Forget(ctx context.Context, user matrix.UserID, room matrix.RoomID) error {
	return r.db.Update(ctx, func(tx *store.Tx) error {
		nid, err := r.known(tx, room)
		if err != nil {
			return err
		}
		ur, ok, err := r.UserRoom(tx, user, nid)
		if err != nil {
			return fmt.Errorf("read the membership of %s: %w", user, err)
		}
		if !ok {
			return matrix.NotFound("you have never been in the room %s", room)
		}
		if ur.Membership != matrix.Leave && ur.Membership != matrix.Ban {
			return matrix.E(matrix.CodeUnknown, "you must leave the room before you forget it").WithStatus(400)
		}
		tx.Announce(bus.Change{Kind: bus.User, Key: string(user)})
		return forget(tx, user, nid)
	})
}

// MembersAt shows a user the member events of a room that they may read: now, or at the place or
// position that a token names.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/members
func (r *Rooms) MembersAt(ctx context.Context, v Viewer, id matrix.RoomID, at string, position func(string) (int64, error), keep func(matrix.Membership) bool) ([]*ClientEvent, error) {
	out := []*ClientEvent{}
	err := r.db.View(ctx, func(tx *store.Tx) error {
		a, err := r.Access(tx, v.User, id)
		if err != nil {
			return err
		}
		snap := a.Snap
		if at != "" {
			if snap, err = r.snapAt(tx, a, at, position); err != nil {
				return err
			}
		}
		nids, err := r.memberNIDs(tx, snap)
		if err != nil {
			return err
		}
		all, err := r.RenderState(tx, v, nids)
		for _, e := range all {
			if keep(e.Event.Membership()) {
				out = append(out, e)
			}
		}
		return err
	})
	return out, err
}

// snapAt is the state that a room had at a token, but not beyond what the user may read.
func (r *Rooms) snapAt(tx *store.Tx, a Access, token string, position func(string) (int64, error)) (int64, error) {
	place, err := r.ParsePlace(tx, a.Room, token, position)
	if err != nil {
		return 0, err
	}
	if pos, ok := asOf(token); ok {
		it, _, err := r.At(tx, a.Room, pos)
		if err != nil {
			return 0, err
		}
		place = Place(it.Seq)
	}
	items, err := itemsBefore(tx, a.Room, min(int64(place), a.Seq)+1, 1)
	if err != nil || len(items) == 0 {
		return 0, err
	}
	return items[0].Snap, nil
}

// memberNIDs are the member events in a state.
func (r *Rooms) memberNIDs(tx *store.Tx, snap int64) ([]int64, error) {
	return r.typeNIDs(tx, snap, "m.room.member")
}

// typeNIDs are the events of a type in a state.
func (r *Rooms) typeNIDs(tx *store.Tx, snap int64, tp string) ([]int64, error) {
	st, err := r.states.Load(tx, snap)
	if err != nil {
		return nil, err
	}
	entries := st.Entries()
	tuples := make([]int64, len(entries))
	for i, e := range entries {
		tuples[i] = e.Tuple
	}
	keys, err := r.states.Keys(tx, tuples)
	if err != nil {
		return nil, err
	}
	var nids []int64
	for _, e := range entries {
		if keys[e.Tuple].Type == tp {
			nids = append(nids, e.Event)
		}
	}
	return nids, nil
}

// JoinedMembers are the users in a room and their profiles there. Only members are told.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/joined_members
func (r *Rooms) JoinedMembers(ctx context.Context, user matrix.UserID, id matrix.RoomID) (map[matrix.UserID]Profile, error) {
	out := make(map[matrix.UserID]Profile)
	err := r.db.View(ctx, func(tx *store.Tx) error {
		a, err := r.Access(tx, user, id)
		if err != nil {
			return err
		}
		if a.Now != matrix.Join {
			return matrix.Forbidden("you are not in the room %s", id)
		}
		members, err := r.Members(tx, a.Room, matrix.Join, maxMembers)
		if err != nil {
			return err
		}
		nids := make([]int64, len(members))
		for i, m := range members {
			nids[i] = m.Event
		}
		events, err := r.Events(tx, nids)
		for _, m := range members {
			if e, ok := events[m.Event]; ok {
				out[m.User] = profileIn(e)
			}
		}
		return err
	})
	return out, err
}

// maxMembers bounds the members that one answer lists.
const maxMembers = 1_000_000

// profileIn is the profile that a member event tells.
func profileIn(e *Event) Profile {
	m := e.MemberContent()
	return Profile{DisplayName: m.DisplayName, AvatarURL: m.AvatarURL}
}

// Rejoin tells all rooms that a user is in of their profile. What fails in one room does not keep it
// from the others, and is told in the end.
//
// Spec: CS "Events on Change of Profile Information".
func (r *Rooms) Rejoin(ctx context.Context, user matrix.UserID, p Profile) error {
	return r.inEach(ctx, user, func(id matrix.RoomID, now matrix.Membership) error {
		if now != matrix.Join {
			return nil
		}
		return r.rejoin(ctx, user, id, p)
	})
}

// LeaveAll takes a user out of all rooms, and refuses all invites.
//
// Spec: POST /_matrix/client/v3/account/deactivate
func (r *Rooms) LeaveAll(ctx context.Context, user matrix.UserID) error {
	return r.inEach(ctx, user, func(id matrix.RoomID, now matrix.Membership) error {
		if now == matrix.Leave || now == matrix.Ban {
			return nil
		}
		_, err := r.SetMembership(ctx, Change{Room: id, Sender: user, Target: user, Membership: matrix.Leave, Ending: true})
		return err
	})
}

// inEach does something in each room that a user has to do with.
func (r *Rooms) inEach(ctx context.Context, user matrix.UserID, do func(matrix.RoomID, matrix.Membership) error) error {
	var rooms []UserRoom
	err := r.db.View(ctx, func(tx *store.Tx) (err error) {
		rooms, err = r.UserRooms(tx, user)
		return err
	})
	if err != nil {
		return fmt.Errorf("list the rooms of %s: %w", user, err)
	}
	var failed []error
	for _, ur := range rooms {
		if err := do(ur.ID, ur.Membership); err != nil {
			failed = append(failed, fmt.Errorf("room %s: %w", ur.ID, err))
		}
	}
	return errors.Join(failed...)
}

func (r *Rooms) rejoin(ctx context.Context, user matrix.UserID, id matrix.RoomID, p Profile) error {
	nid, err := r.find(ctx, id)
	if err != nil {
		return err
	}
	return r.post(ctx, []RoomNID{nid}, func(b *batch) error {
		h, err := b.room(nid)
		if err != nil {
			return err
		}
		_, err = b.setMembership(h, Change{Room: id, Sender: user, Target: user, Membership: matrix.Join, Profile: p})
		return err
	})
}
