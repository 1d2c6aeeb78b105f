package e2ee

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// A server tells of its users' devices as long as these share a room with a user of ours. So their lists are
// kept as long, and what was kept before a time without a common room is old.

// jobList reads the list of a user of another server anew. Its key is the user.
const jobList = "device list"

// lists is the follower that learns who shares no room any more, and which servers have to follow whom.
func (e *Encryption) lists() roomserver.Follower {
	return roomserver.Follower{Name: follower, FromNow: true, Take: e.passed}
}

// passage is that somebody is in a room no more, or that a user of ours may be in it since.
type passage struct {
	room  roomserver.RoomNID
	user  matrix.UserID
	pos   int64
	joins bool
}

// passed finds out who left rooms, and forgets the lists that are not told any more; and of which of our
// users other servers hear from now on.
func (e *Encryption) passed(_ context.Context, events []roomserver.Passed) (func(tx *store.Tx) error, error) {
	all := e.passages(events)
	if len(all) == 0 {
		return nil, nil
	}
	return func(tx *store.Tx) error {
		for _, p := range all {
			do := e.departed
			if p.joins {
				do = e.entered
			}
			if err := do(tx, p); err != nil {
				return fmt.Errorf("the membership of %s changed: %w", p.user, err)
			}
		}
		return nil
	}, nil
}

func (e *Encryption) passages(passed []roomserver.Passed) (all []passage) {
	for _, p := range passed {
		if p.Event == nil || p.Event.Type() != "m.room.member" {
			continue
		}
		key, _ := p.Event.StateKey()
		user, m := matrix.UserID(key), p.Event.Membership()
		if m == matrix.Leave || m == matrix.Ban || m == matrix.Join && e.ours(user) {
			all = append(all, passage{p.Room, user, p.Pos, m == matrix.Join})
		}
	}
	return all
}

// entered tells the devices of a user of ours to the servers in a room that did not hear of them before.
//
// Spec: SS "Device Management".
func (e *Encryption) entered(tx *store.Tx, p passage) error {
	rooms, err := roomsOfAny(tx, p.user)
	if err != nil {
		return err
	}
	fresh := false
	var before []roomserver.RoomNID
	for _, r := range rooms {
		switch {
		case r.room == p.room:
			fresh = r.pos == p.pos // or else they were in it already, and changed their name
		case r.pos < p.pos:
			before = append(before, r.room)
		}
	}
	if !fresh {
		return nil
	}
	servers, err := serversIn(tx, []roomserver.RoomNID{p.room}, e.server)
	if err != nil || len(servers) == 0 {
		return err
	}
	know, err := serversIn(tx, before, e.server)
	if err != nil {
		return err
	}
	servers = slices.DeleteFunc(servers, func(s matrix.ServerName) bool { return slices.Contains(know, s) })
	devices, err := allDevices(tx, p.user)
	if err != nil || len(servers) == 0 {
		return err
	}
	devices = append(devices, crossSigning)
	last, err := tx.NextPos(int64(len(devices)))
	if err != nil {
		return err
	}
	if err := queueAnnounced(tx, servers, p.user, devices, last-int64(len(devices))+1); err != nil {
		return err
	}
	return e.waits(tx, servers)
}

// departed looks at the lists of those who may share no room any more: who left, or where our last user
// left, all who are still there.
func (e *Encryption) departed(tx *store.Tx, d passage) error {
	users := []matrix.UserID{d.user}
	if e.ours(d.user) {
		stay, err := hasOurs(tx, d.room, e.server, d.pos)
		if err != nil || stay {
			return err
		}
		if users, err = readJoined(tx, []roomserver.RoomNID{d.room}, maxCrowd); err != nil {
			return err
		}
		users = slices.DeleteFunc(users, e.ours)
		slices.Sort(users)
	}
	kept, err := readKeptOf(tx, users)
	if err != nil {
		return err
	}
	for _, user := range kept {
		if err := e.part(tx, user, d); err != nil {
			return err
		}
	}
	return nil
}

// part forgets the list of a user who shared no room for a time: for good where that is still so, or else
// to read it anew.
func (e *Encryption) part(tx *store.Tx, user matrix.UserID, d passage) error {
	rooms, err := roomsOfAny(tx, user)
	if err != nil {
		return err
	}
	shares := false
	for _, r := range rooms {
		if r.room != d.room && r.pos <= d.pos {
			if stayed, err := hasOurs(tx, r.room, e.server, d.pos); err != nil || stayed {
				return err
			}
		}
		now, err := hasOurs(tx, r.room, e.server, maxPos)
		if err != nil {
			return err
		}
		shares = shares || now
	}
	if !shares {
		return deleteRemoteList(tx, user)
	}
	if err := askList(tx, user); err != nil {
		return err
	}
	return e.remoteChanged(tx, user)
}

// maxPos is after all positions.
const maxPos = int64(1) << 62

// remoteChanged tells those who share a room with a user of another server to look at their devices again.
func (e *Encryption) remoteChanged(tx *store.Tx, user matrix.UserID) error {
	rooms, err := roomsOfAny(tx, user)
	if err != nil {
		return err
	}
	pos, err := tx.NextPos(1)
	if err != nil {
		return err
	}
	if err := writeListChange(tx, user, pos); err != nil {
		return fmt.Errorf("note that the devices of %s changed: %w", user, err)
	}
	for _, r := range rooms {
		tx.Announce(bus.Change{Kind: bus.Room, Key: r.room.String(), Pos: pos})
	}
	return nil
}

// errNotFederating is why a list cannot be read anew.
var errNotFederating = errors.New("there is no way to other servers")

// refresh reads the list of a user of another server anew, where it is old.
func (e *Encryption) refresh(ctx context.Context, user matrix.UserID) error {
	var asked int64
	wanted := false
	err := e.db.View(ctx, func(tx *store.Tx) error {
		l, found, err := readRemoteList(tx, user)
		if wanted = found && !l.fresh(); wanted {
			asked = l.asked
		}
		return err
	})
	if err != nil || !wanted {
		return err
	}
	if e.remote.Devices == nil {
		return errNotFederating
	}
	answer, err := e.remote.Devices(ctx, user)
	if err != nil {
		return fmt.Errorf("ask for the devices of %s: %w", user, err)
	}
	if answer.User != user || answer.StreamID < 0 {
		return fmt.Errorf("ask for the devices of %s: the answer is of another user, or has no stream_id", user)
	}
	listed := make(map[matrix.DeviceID]ListedDevice, len(answer.Devices))
	for _, d := range answer.Devices {
		listed[d.ID] = d
	}
	fresh := e.checkedList(user, listed, answer.Master, answer.SelfSigning)
	fresh.streamID, fresh.done = answer.StreamID, asked
	return e.db.Update(ctx, func(tx *store.Tx) error { return e.keepList(tx, user, fresh) })
}

// keepList keeps a list that was read, if there is still a common room. An asking that came meanwhile stays.
func (e *Encryption) keepList(tx *store.Tx, user matrix.UserID, fresh *remoteList) error {
	kept, err := lockRemoteList(tx, user)
	if err != nil || !kept {
		return err
	}
	before, _, err := readRemoteList(tx, user)
	if err != nil {
		return err
	}
	sharing, err := readFollowed(tx, []matrix.UserID{user}, e.server)
	if err != nil {
		return err
	}
	if !sharing[user] {
		return deleteRemoteList(tx, user)
	}
	if err := writeRemoteList(tx, user, fresh); err != nil || before.same(fresh) {
		return err
	}
	if err := deleteRemoteDevices(tx, user); err != nil {
		return err
	}
	if err := writeRemoteDevices(tx, user, fresh.devices); err != nil {
		return err
	}
	return e.remoteChanged(tx, user)
}
