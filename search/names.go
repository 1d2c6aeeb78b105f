package search

import (
	"context"

	"astrocyte/account"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// name is a name of a user: of one of this server as the profile has it, of others as the members of one
// room know it.
type name struct {
	user    matrix.UserID
	room    roomserver.RoomNID // 0: the profile
	doc     int64
	profile roomserver.Profile
}

// text is what a name is found by.
func (n *name) text() string { return n.profile.DisplayName + "\n" + string(n.user) }

// unmet finds those of the rooms whose members are not known yet.
func (s *Search) unmet(tx *store.Tx, passed []roomserver.Passed) ([]roomserver.RoomNID, error) {
	var nids []int64
	seen := make(map[roomserver.RoomNID]bool)
	for _, p := range passed {
		if !seen[p.Room] {
			seen[p.Room] = true
			nids = append(nids, int64(p.Room))
		}
	}
	met, err := metRooms(tx, nids)
	var fresh []roomserver.RoomNID
	for _, nid := range nids {
		if !met[nid] {
			fresh = append(fresh, roomserver.RoomNID(nid))
		}
	}
	return fresh, err
}

const (
	membersMost = 1_000_000
	membersPage = 500 // members that one transaction adds
)

// meet learns the names of those who are in a room already: its members of other servers may have come
// with the state that the room was joined with, and never pass.
func (s *Search) meet(ctx context.Context, room roomserver.RoomNID) error {
	var members []roomserver.Member
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		members, err = s.rooms.Members(tx, room, matrix.Join, membersMost)
		return err
	})
	if err != nil {
		return err
	}
	for {
		page := members[:min(len(members), membersPage)]
		members = members[len(page):]
		err := s.db.Update(ctx, func(tx *store.Tx) error {
			if _, err := lockRebuild(tx); err != nil {
				return err
			}
			for _, m := range page {
				if err := s.refreshMember(tx, member{room, m.User}); err != nil {
					return err
				}
			}
			if len(members) > 0 {
				return nil
			}
			return s.refreshRoom(tx, room)
		})
		if err != nil || len(members) == 0 {
			return err
		}
	}
}

// refreshRoom notes whether anybody may see who is in a room.
func (s *Search) refreshRoom(tx *store.Tx, room roomserver.RoomNID) error {
	public, err := s.rooms.Open(tx, room)
	if err != nil {
		return err
	}
	return writeRoom(tx, room, public)
}

// refreshMember notes the name of a user whose membership in a room changed.
func (s *Search) refreshMember(tx *store.Tx, m member) error {
	e, err := s.rooms.StateNow(tx, m.room, "m.room.member", string(m.user))
	if err != nil {
		return err
	}
	joined := e != nil && e.Membership() == matrix.Join
	switch {
	case s.ours(m.user) && joined:
		exists, err := s.accounts.Exists(tx, m.user)
		if err == nil && !exists { // the account ended, and its user is about to leave
			return s.forgetName(tx, m.user, 0)
		}
		if err != nil {
			return err
		}
		return s.refreshProfile(tx, m.user)
	case s.ours(m.user):
		return nil
	case !joined:
		return s.forgetName(tx, m.user, m.room)
	}
	c := e.MemberContent()
	return s.writeName(tx, name{user: m.user, room: m.room, profile: roomserver.Profile{DisplayName: c.DisplayName, AvatarURL: c.AvatarURL}})
}

// refreshProfile notes the name of a user of this server.
func (s *Search) refreshProfile(tx *store.Tx, user matrix.UserID) error {
	profiles, err := account.ReadProfiles(tx, []matrix.UserID{user})
	if err != nil {
		return err
	}
	return s.writeName(tx, name{user: user, profile: roomserver.Profile(profiles[user])})
}

// writeName adds a name, or changes it.
func (s *Search) writeName(tx *store.Tx, n name) error {
	old, found, err := readName(tx, n.user, n.room)
	if err != nil || found && old.profile == n.profile {
		return err
	}
	if n.doc = old.doc; found {
		if err := s.people.drop(tx, []int64{n.doc}); err != nil {
			return err
		}
	} else if n.doc, err = nextName(tx); err != nil {
		return err
	}
	if err := insertName(tx, n); err != nil {
		return err
	}
	return s.people.put(tx, []doc{{n.doc, termsOf(runsOf(n.text()))}})
}

func (s *Search) forgetName(tx *store.Tx, user matrix.UserID, room roomserver.RoomNID) error {
	old, found, err := readName(tx, user, room)
	if err != nil || !found {
		return err
	}
	if err := deleteName(tx, user, room); err != nil {
		return err
	}
	return s.people.drop(tx, []int64{old.doc})
}

// Registered adds a new user to the directory: a hook for package account.
func (s *Search) Registered(tx *store.Tx, u account.User) error {
	if u.Kind == account.Guest {
		return nil
	}
	return s.ProfileChanged(tx, u.ID, "displayname")
}

// ProfileChanged notes a user's new name: a hook for package account.
func (s *Search) ProfileChanged(tx *store.Tx, user matrix.UserID, field string) error {
	if field != "displayname" && field != "avatar_url" {
		return nil
	}
	if _, err := lockRebuild(tx); err != nil {
		return err
	}
	return s.refreshProfile(tx, user)
}

// Deactivated takes a user out of the directory: a hook for package account.
func (s *Search) Deactivated(tx *store.Tx, user matrix.UserID, _ bool) error {
	if _, err := lockRebuild(tx); err != nil {
		return err
	}
	return s.forgetName(tx, user, 0)
}
