package e2ee

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Sharing is what decides whose devices a user has to know: the rooms that they are and were in, between
// two positions of the stream.
type Sharing struct {
	Stayed  []roomserver.RoomNID // joined all the time
	Moved   []roomserver.RoomNID // those of Stayed where memberships may have changed
	Entered []roomserver.RoomNID // joined now, and not then
	Left    []roomserver.RoomNID // joined then, and not now
}

// Lists are the users whose devices a client has to look at again, and those whom it need not follow any more.
//
// Spec: CS "Tracking the device list for a user".
type Lists struct {
	Changed, Left []matrix.UserID
}

const (
	// maxPairs bounds what is looked up to find who shares a room: users times rooms.
	maxPairs = 200_000
	// maxCrowd bounds the members that are looked at of the rooms of one answer.
	maxCrowd = 100_000
)

// crossSigning stands in a list of changed devices for the cross-signing keys of the user.
const crossSigning matrix.DeviceID = ""

// listChanged notes which devices of a user of this server changed, or their cross-signing keys, wakes those
// who share a room with them, and queues it for other servers that do.
func (e *Encryption) listChanged(tx *store.Tx, user matrix.UserID, what ...matrix.DeviceID) error {
	rooms, err := roomsOf(tx, user)
	if err != nil {
		return err
	}
	servers, err := serversIn(tx, rooms, e.server)
	if err != nil {
		return fmt.Errorf("find the servers that follow %s: %w", user, err)
	}
	n := int64(max(1, len(what)))
	pos, err := tx.NextPos(n) // one for each, as each has a stream id
	if err != nil {
		return err
	}
	if err := writeListChange(tx, user, pos); err != nil {
		return fmt.Errorf("note that the devices of %s changed: %w", user, err)
	}
	tx.Announce(bus.Change{Kind: bus.User, Key: string(user), Pos: pos})
	for _, nid := range rooms {
		tx.Announce(bus.Change{Kind: bus.Room, Key: nid.String(), Pos: pos})
	}
	if len(servers) == 0 || len(what) == 0 {
		return nil
	}
	if err := queueLists(tx, servers, user, what, pos-n+1); err != nil {
		return fmt.Errorf("queue the devices of %s for other servers: %w", user, err)
	}
	return e.waits(tx, servers)
}

// Lists reads whose devices changed for a user since a position, and with whom they share no room any more.
//
// To tell a change that was none costs the client a question; so where exactness would cost more than that,
// more is told. Never is a user told to have left with whom a room is shared.
func (e *Encryption) Lists(tx *store.Tx, user matrix.UserID, since int64, s Sharing) (l Lists, err error) {
	w := lookup{tx: tx, user: user, since: since, s: s, rooms: slices.Concat(s.Stayed, s.Entered)}
	changed, err := w.changed()
	if err != nil {
		return l, err
	}
	left, err := w.left()
	if err != nil {
		return l, err
	}
	for _, u := range changed {
		delete(left, u)
	}
	l.Changed, l.Left = slices.Compact(slices.Sorted(slices.Values(changed))), slices.Sorted(maps.Keys(left))
	return l, nil
}

// lookup is the making of one answer.
type lookup struct {
	tx    *store.Tx
	user  matrix.UserID
	since int64
	s     Sharing
	rooms []roomserver.RoomNID // joined now
}

// changed finds the users with changed devices who share a room, those whose keys the user has signed, and
// those who share a room since.
func (w *lookup) changed() ([]matrix.UserID, error) {
	moved, err := readListChanges(w.tx, w.since)
	if err != nil {
		return nil, err
	}
	shared, err := w.sharing(moved)
	if err != nil {
		return nil, err
	}
	var out []matrix.UserID
	for _, u := range moved {
		if u == w.user || shared[u] {
			out = append(out, u)
		}
	}
	signed, err := readSignedSince(w.tx, w.user, w.since)
	if err != nil {
		return nil, err
	}
	fresh, err := w.newlyShared()
	return slices.Concat(out, signed, fresh), err
}

// newlyShared finds the users who came into the user's rooms, and those in rooms that the user entered,
// but not who shared another room before.
func (w *lookup) newlyShared() ([]matrix.UserID, error) {
	came, err := readMembersSince(w.tx, w.s.Moved, w.since, matrix.Join)
	if err != nil {
		return nil, err
	}
	there, err := readJoined(w.tx, w.s.Entered, maxCrowd)
	if err != nil {
		return nil, err
	}
	set := make(map[matrix.UserID]bool)
	for _, u := range slices.Concat(came, there) {
		set[u] = u != w.user
	}
	delete(set, w.user)
	if len(set) == 0 {
		return nil, nil
	}
	users := slices.Collect(maps.Keys(set))
	if len(there) > 1 {
		users = append(users, w.user) // who entered a room with others shares it with themselves, too
	}
	if len(users)*len(w.s.Stayed) > maxPairs {
		return users, nil
	}
	known, err := readSharing(w.tx, w.s.Stayed, users, w.since)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(users, func(u matrix.UserID) bool { return u != w.user && known[u] }), nil
}

// left finds those who shared a room then and share none now.
func (w *lookup) left() (map[matrix.UserID]bool, error) {
	gone, err := readMembersSince(w.tx, w.s.Moved, w.since, matrix.Leave, matrix.Ban)
	if err != nil {
		return nil, err
	}
	behind, err := readJoined(w.tx, w.s.Left, maxCrowd)
	if err != nil {
		return nil, err
	}
	also, err := readMembersSince(w.tx, w.s.Left, w.since, matrix.Leave, matrix.Ban)
	if err != nil {
		return nil, err
	}
	out := make(map[matrix.UserID]bool)
	for _, u := range slices.Concat(gone, behind, also) {
		if u != w.user {
			out[u] = true
		}
	}
	if len(out)*len(w.rooms) > maxPairs {
		return nil, nil // they are followed on, until they share a room again or not
	}
	shared, err := w.sharing(slices.Collect(maps.Keys(out)))
	for u := range shared {
		delete(out, u)
	}
	return out, err
}

// sharing finds which of some users are in a room with the user.
func (w *lookup) sharing(users []matrix.UserID) (map[matrix.UserID]bool, error) {
	if len(users) == 0 || len(w.rooms) == 0 {
		return nil, nil
	}
	return readSharing(w.tx, w.rooms, users, int64(1)<<62)
}

// Changes are the lists between two positions for a user.
//
// Spec: GET /_matrix/client/v3/keys/changes
func (e *Encryption) Changes(ctx context.Context, user matrix.UserID, from int64) (l Lists, err error) {
	err = e.db.View(ctx, func(tx *store.Tx) error {
		s, err := e.sharingSince(tx, user, from)
		if err != nil {
			return err
		}
		l, err = e.Lists(tx, user, from, s)
		return err
	})
	return l, err
}

// sharingSince finds the rooms that a user is in, was in, and has entered since a position.
func (e *Encryption) sharingSince(tx *store.Tx, user matrix.UserID, since int64) (s Sharing, err error) {
	rooms, err := e.rooms.UserRooms(tx, user)
	if err != nil {
		return s, err
	}
	for _, u := range rooms {
		now := u.Membership == matrix.Join
		was := now
		if u.Pos > since {
			if was, err = e.wasJoined(tx, user, u.Room, since); err != nil {
				return s, fmt.Errorf("was %s in room %s: %w", user, u.ID, err)
			}
		}
		switch {
		case now && was:
			s.Stayed = append(s.Stayed, u.Room)
		case now:
			s.Entered = append(s.Entered, u.Room)
		case was:
			s.Left = append(s.Left, u.Room)
		}
	}
	s.Moved = s.Stayed
	return s, nil
}

func (e *Encryption) wasJoined(tx *store.Tx, user matrix.UserID, room roomserver.RoomNID, at int64) (bool, error) {
	it, found, err := e.rooms.At(tx, room, at)
	if err != nil || !found {
		return false, err
	}
	st, err := e.rooms.State(tx, it.Snap)
	if err != nil {
		return false, err
	}
	member, err := e.rooms.StateEvent(tx, st, "m.room.member", string(user))
	return member != nil && member.Membership() == matrix.Join, err
}
