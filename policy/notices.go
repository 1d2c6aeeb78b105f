package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"astrocyte/account"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// noticeTag is the tag by which clients know the room of the server's notices.
//
// Spec: CS "Server Notices".
const noticeTag = "m.server_notice"

// Notice is something that the server tells one of its users.
type Notice struct {
	To      matrix.UserID
	Type    string // empty: m.room.message
	Key     *string
	Content json.RawMessage
	Txn     *roomserver.Txn // nil: never repeated
}

// SendNotice tells a user something, in a room that they have with the server alone. The room is made with
// the first notice; who has left it is invited again.
//
// Spec: CS "Server Notices".
func (p *Policy) SendNotice(ctx context.Context, n Notice) (matrix.EventID, error) {
	from := p.from
	if from == "" {
		return "", matrix.E(matrix.CodeUnknown, "this server sends no notices")
	}
	if err := p.mayBeTold(ctx, n.To); err != nil {
		return "", err
	}
	if err := p.noticesUser(ctx, from); err != nil {
		return "", err
	}
	room, err := p.roomForNotices(ctx, from, n.To)
	if err != nil {
		return "", err
	}
	if n.Type == "" {
		n.Type = "m.room.message"
	}
	return p.rooms.Send(ctx, roomserver.Draft{Room: room, Sender: from, Type: n.Type, StateKey: n.Key, Content: n.Content, Txn: n.Txn})
}

// mayBeTold refuses notices to those who cannot read them.
func (p *Policy) mayBeTold(ctx context.Context, user matrix.UserID) error {
	if user.Server() != p.rooms.Server() {
		return matrix.InvalidParam("%s is not a user of this server", user)
	}
	u, found, err := p.accounts.User(ctx, user)
	switch {
	case err != nil:
		return err
	case !found || u.Deactivated != 0 || user == p.from:
		return matrix.NotFound("there is no user %s", user)
	}
	return nil
}

// noticesUser makes the account that sends notices, where it is not there yet, and gives it the name and the
// picture of the settings.
func (p *Policy) noticesUser(ctx context.Context, from matrix.UserID) error {
	_, found, err := p.accounts.User(ctx, from)
	if err != nil {
		return err
	}
	if !found {
		err := p.accounts.CreateUser(ctx, account.NewUser{ID: from, DisplayName: p.notices.DisplayName})
		var there *matrix.Error // another notice was quicker
		if err != nil && (!errors.As(err, &there) || there.Code != matrix.CodeUserInUse) {
			return fmt.Errorf("make the user of notices: %w", err)
		}
	}
	profiles, err := p.accounts.Profiles(ctx, []matrix.UserID{from})
	if err != nil {
		return err
	}
	have := profiles[from]
	for field, text := range map[string][2]string{
		"displayname": {have.DisplayName, p.notices.DisplayName}, "avatar_url": {have.AvatarURL, p.notices.AvatarURL},
	} {
		if text[0] == text[1] {
			continue
		}
		value, err := json.Marshal(text[1])
		if err != nil {
			return err
		}
		if err := p.accounts.SetProfileField(ctx, from, field, value); err != nil {
			return fmt.Errorf("name the user of notices: %w", err)
		}
	}
	return nil
}

// errOtherRoom is that another notice has made the room meanwhile.
var errOtherRoom = errors.New("there is a room of notices already")

// roomForNotices finds or makes the room of a user's notices, and sees to it that they are in it or invited.
func (p *Policy) roomForNotices(ctx context.Context, from, to matrix.UserID) (room matrix.RoomID, err error) {
	profiles, err := p.accounts.Profiles(ctx, []matrix.UserID{from, to})
	if err != nil {
		return "", err
	}
	for range 2 { // once more where another notice makes the room at the same time
		var now matrix.Membership
		if room, now, err = p.findNoticeRoom(ctx, from, to); err != nil {
			return "", err
		}
		switch {
		case now == matrix.Join || now == matrix.Invite:
			return room, nil
		case now != "":
			_, err = p.rooms.SetMembership(ctx, roomserver.Change{
				Room: room, Sender: from, Target: to, Membership: matrix.Invite, Profile: roomserver.Profile(profiles[to]),
			})
			return room, err
		}
		room, err = p.makeNoticeRoom(ctx, from, to, room, profiles)
		if !errors.Is(err, errOtherRoom) {
			return room, err
		}
	}
	return "", err
}

// findNoticeRoom finds the room of a user's notices, and what they are in it. No membership: the room is gone,
// or there is none.
func (p *Policy) findNoticeRoom(ctx context.Context, from, to matrix.UserID) (room matrix.RoomID, now matrix.Membership, err error) {
	err = p.db.View(ctx, func(tx *store.Tx) (err error) {
		now = ""
		if room, err = noticeRoom(tx, to); room == "" || err != nil {
			return err
		}
		nid, known, err := p.rooms.NID(tx, room)
		if err != nil || !known {
			return err
		}
		ours, found, err := p.rooms.UserRoom(tx, from, nid)
		if err != nil || !found || ours.Membership != matrix.Join {
			return err
		}
		now = matrix.Leave
		if theirs, found, err := p.rooms.UserRoom(tx, to, nid); err != nil || !found {
			return err
		} else if now = theirs.Membership; now == matrix.Ban {
			now = "" // by a change of state that an administrator made by hand
		}
		return nil
	})
	return room, now, err
}

// makeNoticeRoom makes the room of a user's notices, in the place of old where there was one, with its tag: all
// of it or nothing.
func (p *Policy) makeNoticeRoom(ctx context.Context, from, to matrix.UserID, old matrix.RoomID, profiles map[matrix.UserID]account.Profile) (matrix.RoomID, error) {
	return p.rooms.Create(ctx, roomserver.Creation{
		Creator: from, Profile: roomserver.Profile(profiles[from]), Version: p.version, Preset: roomserver.PrivateChat, Name: p.notices.RoomName,
		// Nobody but the server speaks here.
		Levels: map[string]json.RawMessage{"users_default": json.RawMessage("-10")},
		Invite: []roomserver.Invitee{{User: to, Profile: roomserver.Profile(profiles[to])}},
		Also: func(tx *store.Tx, id matrix.RoomID) error {
			fresh, err := insertNoticeRoom(tx, to, id, old)
			if err == nil && !fresh {
				return errOtherRoom
			}
			if err != nil {
				return fmt.Errorf("note the room of notices: %w", err)
			}
			return account.PutTag(tx, to, id, noticeTag, json.RawMessage("{}"))
		},
	})
}
