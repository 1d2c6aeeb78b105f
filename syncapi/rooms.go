package syncapi

import (
	"cmp"
	"fmt"
	"slices"

	"astrocyte/account"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// findRooms finds the rooms that the user is joined to, and the memberships that are new to the client.
// The rooms are kept in memory, and brought up to date from the memberships that began since.
func (r *reading) findRooms() error {
	if err := r.a.waker.fill(r.tx, r.upto); err != nil {
		return fmt.Errorf("find what changed: %w", err)
	}
	kept, at := r.a.waker.joinedOf(r.viewer.User)
	if r.initial || r.fullState || at == 0 || at > r.upto {
		return r.findAllRooms()
	}
	from := min(at, r.since.Pos)
	if !r.a.waker.users.changed(r.viewer.User, from) {
		r.joined = kept
		return nil
	}
	rows, err := newMemberships(r.tx, r.viewer.User, from)
	if err != nil {
		return fmt.Errorf("read new memberships: %w", err)
	}
	fresh := false
	byNID := make(map[roomserver.RoomNID]roomserver.UserRoom)
	for _, u := range rows {
		if u.Pos > at {
			fresh = true
			byNID[u.Room] = u
		}
		if u.Pos > r.since.Pos {
			r.changed = append(r.changed, u)
		}
	}
	r.joined = kept
	if !fresh {
		r.a.waker.stillJoined(r.viewer.User, at, r.upto)
		return nil
	}
	r.joined = applyMemberships(kept, byNID)
	r.keepJoined()
	return nil
}

// findAllRooms reads all memberships of the user.
func (r *reading) findAllRooms() error {
	rooms, err := r.a.rooms.UserRooms(r.tx, r.viewer.User)
	if err != nil {
		return fmt.Errorf("read memberships: %w", err)
	}
	for _, u := range rooms {
		if u.Membership == matrix.Join {
			r.joined = append(r.joined, joinedRoom{u.Room, u.ID, u.Pos})
		}
		if r.initial || r.fullState || u.Pos > r.since.Pos {
			r.changed = append(r.changed, u)
		}
	}
	slices.SortFunc(r.joined, compareRooms)
	r.keepJoined()
	return nil
}

func compareRooms(a, b joinedRoom) int { return cmp.Compare(a.Room, b.Room) }

// keepJoined gives the rooms to the waker, which may replace ids by its own copies of them: so it gets a
// list of its own.
func (r *reading) keepJoined() {
	r.a.waker.setJoined(r.viewer.User, slices.Clone(r.joined), r.upto)
}

// applyMemberships makes the list of joined rooms that follows from an older one.
func applyMemberships(kept []joinedRoom, rows map[roomserver.RoomNID]roomserver.UserRoom) []joinedRoom {
	out := make([]joinedRoom, 0, len(kept)+len(rows))
	for _, k := range kept {
		if _, changed := rows[k.Room]; !changed {
			out = append(out, k)
		}
	}
	for _, u := range rows {
		if u.Membership == matrix.Join {
			out = append(out, joinedRoom{u.Room, u.ID, u.Pos})
		}
	}
	slices.SortFunc(out, compareRooms)
	return out
}

// readRooms reads what is new in each room that has any news.
func (r *reading) readRooms() error {
	changed := make(map[roomserver.RoomNID]roomserver.UserRoom, len(r.changed))
	for _, u := range r.changed {
		changed[u.Room] = u
		if err := r.readOther(u); err != nil {
			return err
		}
	}
	visits, err := r.visits(changed)
	if err != nil {
		return err
	}
	for _, v := range visits {
		if err := r.readJoined(v); err != nil {
			return fmt.Errorf("read room %s: %w", v.ID, err)
		}
	}
	return r.countUnread()
}

// visit is a joined room to look at.
type visit struct {
	joinedRoom
	moved     bool // it has new timeline events
	ephemeral []ephemeralEvent
}

// visits lists the joined rooms that may have news, in the order of their nids.
func (r *reading) visits(changed map[roomserver.RoomNID]roomserver.UserRoom) ([]*visit, error) {
	wanted := slices.DeleteFunc(slices.Clone(r.joined), func(j joinedRoom) bool {
		return !r.filter.Room.MatchesRoom(string(j.ID))
	})
	moved, err := r.movedRooms(wanted)
	if err != nil {
		return nil, err
	}
	passing, err := r.readEphemeral(wanted)
	if err != nil {
		return nil, err
	}
	data := make(map[matrix.RoomID]bool)
	for _, d := range r.all {
		data[d.Room] = true
	}
	var out []*visit
	for _, j := range wanted {
		v := &visit{joinedRoom: j, moved: moved[j.Room], ephemeral: passing[j.Room]}
		_, entered := changed[j.Room]
		if r.initial || r.fullState || entered || v.moved || v.ephemeral != nil || data[j.ID] {
			out = append(out, v)
		}
	}
	return out, nil
}

// movedRooms tells which of the joined rooms have new timeline events.
func (r *reading) movedRooms(rooms []joinedRoom) (map[roomserver.RoomNID]bool, error) {
	out := make(map[roomserver.RoomNID]bool)
	if r.initial {
		for _, j := range rooms {
			out[j.Room] = true
		}
		return out, nil
	}
	moved, known := since(r.a.waker.rooms, rooms, func(j joinedRoom) roomserver.RoomNID { return j.Room }, r.since.Pos)
	for _, j := range moved {
		out[j.Room] = true
	}
	if known {
		return out, nil
	}
	nids := make([]int64, len(rooms))
	for i, j := range rooms {
		nids[i] = int64(j.Room)
	}
	read, err := readMovedRooms(r.tx, nids, r.since.Pos)
	for _, nid := range read {
		out[nid] = true
	}
	return out, err
}

// readOther reads a membership that is not a joined one.
func (r *reading) readOther(u roomserver.UserRoom) error {
	if u.Forgotten && (r.initial || u.Pos <= r.since.Pos) || !r.filter.Room.MatchesRoom(string(u.ID)) {
		return nil
	}
	told := &strippedNews{room: u.ID, state: u.Stripped}
	if len(told.state) == 0 {
		told.state = []byte("[]")
	}
	switch u.Membership {
	case matrix.Invite:
		welcome, err := r.welcomes(u.Sender)
		if err != nil {
			return err
		}
		if welcome {
			r.out.invite = append(r.out.invite, told)
		}
	case matrix.Knock:
		r.out.knock = append(r.out.knock, told)
	case matrix.Leave, matrix.Ban:
		if !r.initial && u.Pos > r.since.Pos || r.filter.Room.IncludeLeave {
			return r.readLeft(u)
		}
	}
	return nil
}

// welcomes says whether the user wants to hear of invites by somebody, also of those that were here before
// they did not want them.
//
// Spec: CS "Invite permission".
func (r *reading) welcomes(inviter matrix.UserID) (bool, error) {
	if inviter == r.a.rooms.Notices() {
		return true, nil
	}
	if r.invites == nil {
		rules, err := account.ReadInviteRules(r.tx, r.viewer.User)
		if err != nil {
			return false, err
		}
		r.invites = &rules
	}
	return r.invites.Welcome(inviter) == account.InviteShown, nil
}
