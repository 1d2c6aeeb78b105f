package roomserver

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// Change is a wish to change somebody's membership in a room.
type Change struct {
	Room       matrix.RoomID
	Sender     matrix.UserID
	Target     matrix.UserID // the sender itself for join, knock and leave
	Membership matrix.Membership
	Reason     string
	Profile    Profile // of the target, where it is known
	Direct     bool    // an invite to a direct chat
	Extra      map[string]json.RawMessage
	Guest      bool // the sender is a guest, who may join where guests may
	Shadowed   bool // the sender is not to be heard, and not to be told so
	Ending     bool // the sender's account ends: they may leave what others may not

	unban bool // of somebody who is banned, which is not lifted by the way
}

// Profile is what a member event tells of its user.
type Profile struct {
	DisplayName string
	AvatarURL   string
}

// SetMembership changes a membership, and gives the id of the event that did. Where nothing has to be
// changed, it is the event that stands.
func (r *Rooms) SetMembership(ctx context.Context, c Change) (matrix.EventID, error) {
	nid, err := r.find(ctx, c.Room)
	if err != nil {
		return "", err
	}
	if c.Membership == matrix.Invite {
		if err := r.mayInvite(ctx, c.Sender, c.Target); err != nil {
			return "", err
		}
	}
	if c.hides() {
		return "", r.pretended(ctx, nid, func(b *batch, h *head) error {
			_, err := b.setMembership(h, c)
			return err
		})
	}
	var id matrix.EventID
	err = r.post(ctx, []RoomNID{nid}, func(b *batch) error {
		h, err := b.room(nid)
		if err != nil {
			return err
		}
		e, err := b.setMembership(h, c)
		if err == nil {
			id = e.ID()
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

func (b *batch) setMembership(h *head, c Change) (*Event, error) {
	d, err := b.memberDraft(h, c)
	if err != nil {
		return nil, err
	}
	return b.append(h, d)
}

// memberDraft makes the draft of a change. Where a restricted room is joined it names who vouches for it.
func (b *batch) memberDraft(h *head, c Change) (*Draft, error) {
	target := string(c.Target)
	now, err := b.stateEvent(h, rules.StateKey{Type: "m.room.member", Key: target})
	if err != nil {
		return nil, err
	}
	was := matrix.Leave
	if now != nil {
		was = now.Membership()
	}
	if err := c.possible(was); err != nil {
		return nil, err
	}
	if c.Guest && c.Membership == matrix.Join {
		if err := b.guestsMayJoin(h); err != nil {
			return nil, err
		}
	}
	content := c.content()
	if c.Membership == matrix.Join {
		via, err := b.enteredBy(h, c.Target)
		if err != nil {
			return nil, err
		}
		if via != "" {
			content[authorisedVia] = via
		}
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("write a member event: %w", err)
	}
	return &Draft{Room: h.id, Sender: c.Sender, Type: "m.room.member", StateKey: &target, Content: raw, Ending: c.Ending}, nil
}

// possible refuses what the rules of events do not forbid, but which makes no sense.
func (c Change) possible(was matrix.Membership) error {
	switch {
	case c.Membership == matrix.Leave && c.Sender != c.Target && was == matrix.Leave:
		return matrix.Forbidden("%s is not in the room", c.Target)
	case c.Membership == matrix.Leave && c.Sender != c.Target && was == matrix.Ban && !c.unban:
		return matrix.Forbidden("%s is banned from the room", c.Target)
	case c.Membership == matrix.Leave && c.Sender == c.Target && was == matrix.Leave:
		return matrix.Forbidden("you are not in the room")
	}
	return nil
}

// content is the content of the member event.
func (c Change) content() map[string]any {
	content := make(map[string]any, len(c.Extra)+4)
	for k, v := range c.Extra {
		content[k] = v
	}
	content["membership"] = c.Membership
	if c.Reason != "" {
		content["reason"] = c.Reason
	}
	if c.Direct {
		content["is_direct"] = true
	}
	if c.Membership == matrix.Join || c.Membership == matrix.Invite || c.Membership == matrix.Knock {
		if c.Profile.DisplayName != "" {
			content["displayname"] = c.Profile.DisplayName
		}
		if c.Profile.AvatarURL != "" {
			content["avatar_url"] = c.Profile.AvatarURL
		}
	}
	return content
}

// Written is the content of the member event, as its members.
func (c Change) Written() (map[string]json.RawMessage, error) {
	out := make(map[string]json.RawMessage)
	for k, v := range c.content() {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("write a member event: %w", err)
		}
		out[k] = raw
	}
	return out, nil
}

// Unban lifts a ban.
func (r *Rooms) Unban(ctx context.Context, c Change) error {
	nid, err := r.find(ctx, c.Room)
	if err != nil {
		return err
	}
	unban := func(b *batch, h *head) error {
		now, err := b.stateEvent(h, rules.StateKey{Type: "m.room.member", Key: string(c.Target)})
		if err != nil {
			return err
		}
		if now == nil || now.Membership() != matrix.Ban {
			return matrix.E(matrix.CodeBadState, "%s is not banned", c.Target).WithStatus(403)
		}
		c.Membership, c.unban = matrix.Leave, true
		_, err = b.setMembership(h, c)
		return err
	}
	if c.hides() {
		return r.pretended(ctx, nid, unban)
	}
	return r.post(ctx, []RoomNID{nid}, func(b *batch) error {
		h, err := b.room(nid)
		if err != nil {
			return err
		}
		return unban(b, h)
	})
}

// authorisedVia is the member of a join that names who lets the user into a restricted room.
const authorisedVia = "join_authorised_via_users_server"

// enteredBy names who lets a user into a restricted room who is not in it and not invited; empty for all others.
func (b *batch) enteredBy(h *head, user matrix.UserID) (matrix.UserID, error) {
	now, err := b.stateEvent(h, rules.StateKey{Type: "m.room.member", Key: string(user)})
	if err != nil || now != nil && (now.Membership() == matrix.Join || now.Membership() == matrix.Invite) {
		return "", err
	}
	return b.authoriser(h, user)
}

// authoriser chooses the user in whose name someone joins a restricted room, empty where the room is
// not restricted: a member of ours who may invite. The user must be in one of the rooms that the join
// rules allow.
//
// Spec: CS "Restricted rooms", RV 8.
func (b *batch) authoriser(h *head, user matrix.UserID) (matrix.UserID, error) {
	event, err := b.stateEvent(h, rules.StateKey{Type: "m.room.join_rules"})
	if err != nil || event == nil {
		return "", err
	}
	jr := event.JoinRules()
	if !jr.Restricted(h.version) {
		return "", nil
	}
	if err := b.r.mayEnter(b.tx, jr, user); err != nil {
		return "", err
	}
	levels, err := b.levels(h)
	if err != nil {
		return "", err
	}
	return b.inviter(h, levels)
}

// mayEnter refuses a user who is in none of the rooms that the rules of a restricted one name. Of rooms
// that this server is not in it cannot tell.
func (r *Rooms) mayEnter(tx *store.Tx, jr *rules.JoinRules, user matrix.UserID) error {
	rooms := jr.AllowedRooms()
	told := len(rooms) == 0
	for _, room := range rooms {
		nid, ok, err := r.NID(tx, room)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		here, err := serverIn(tx, nid, r.server)
		if err != nil {
			return err
		}
		if !here {
			continue
		}
		told = true
		if in, err := memberIn(tx, nid, user); in || err != nil {
			return err
		}
	}
	if !told {
		return matrix.E(matrix.CodeUnableToAuthoriseJoin, "this server is in none of the rooms whose members may join this one")
	}
	return matrix.Forbidden("you are in none of the rooms whose members may join this one")
}

// inviter finds a joined user of ours who may invite: of those with a level of their own the highest,
// or else anybody, where the default suffices.
func (b *batch) inviter(h *head, levels *rules.PowerLevels) (matrix.UserID, error) {
	named := slices.SortedFunc(maps.Keys(levels.Users()), func(x, y matrix.UserID) int {
		return levels.User(y).Compare(levels.User(x))
	})
	for _, u := range named {
		if !b.r.ours(u) || !levels.MayInvite(u) {
			continue
		}
		if e, err := b.stateEvent(h, rules.StateKey{Type: "m.room.member", Key: string(u)}); err != nil {
			return "", err
		} else if e != nil && e.Membership() == matrix.Join {
			return u, nil
		}
	}
	u, ok, err := localInviter(b.tx, h.nid, b.r.server, levels.MayInvite)
	if err == nil && !ok {
		err = matrix.E(matrix.CodeUnableToGrantJoin, "nobody on this server may invite to the room")
	}
	return u, err
}
