package push

import (
	"encoding/json"
	"fmt"

	"astrocyte/account"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// Invited queues what the pushers of a user are told of an invite to a room that this server is not in, in the
// transaction that keeps it. state is what came with the invite: a JSON list of stripped events.
//
// Spec: CS "Push Rules", .m.rule.invite_for_me.
func (p *Push) Invited(tx *store.Tx, at roomserver.Passed, invite *rules.Event, state []byte) error {
	key, _ := invite.StateKey()
	user := matrix.UserID(key)
	pushers, err := pusherKeys(tx, user)
	if err != nil || len(pushers) == 0 {
		return err
	}
	wanted, err := account.ReadInviteRules(tx, user)
	if err != nil || wanted.Welcome(invite.Sender()) != account.InviteShown {
		return err
	}
	s := &sifting{p: p, tx: tx, users: make(map[matrix.UserID]*counting)}
	c, err := s.userOf(user)
	if err != nil {
		return err
	}
	o := c.rules.Evaluate(About(invite), &Facts{})
	if !o.Notify {
		return nil
	}
	told, err := json.Marshal(presented(invite, state))
	if err != nil {
		return fmt.Errorf("write a notification of an invite: %w", err)
	}
	for _, k := range pushers {
		s.queue = append(s.queue, queued{pusher: k, at: at, actions: o.Actions, told: told})
	}
	return s.write(tx)
}

// presented is the notification of an invite, with the names that its stripped state has.
func presented(invite *rules.Event, state []byte) *notification {
	n := &notification{
		EventID: invite.ID(), RoomID: invite.RoomID(), Type: invite.Type(), Sender: invite.Sender(), Content: invite.Content(), IsTarget: true,
	}
	var events []roomserver.Stripped
	if json.Unmarshal(state, &events) != nil {
		return n
	}
	for _, e := range events {
		var content struct {
			Name  string `json:"name"`
			Alias string `json:"alias"`
			Shown string `json:"displayname"`
		}
		if json.Unmarshal(e.Content, &content) != nil {
			continue
		}
		switch {
		case e.Type == "m.room.name" && e.StateKey == "":
			n.RoomName = content.Name
		case e.Type == "m.room.canonical_alias" && e.StateKey == "":
			n.RoomAlias = content.Alias
		case e.Type == "m.room.member" && e.StateKey == string(n.Sender):
			n.SenderName = content.Shown
		}
	}
	return n
}

// outside writes a notification about an event that is not kept here; nil where the invite has ended.
func (w *composing) outside(it waiting) ([]byte, error) {
	in, found, err := w.p.rooms.UserRoom(w.tx, w.pusher.User, it.room)
	if err != nil || !found || in.Membership != matrix.Invite || in.Pos != it.pos {
		return nil, err
	}
	n := new(notification)
	if err := json.Unmarshal(it.told, n); err != nil {
		return nil, fmt.Errorf("read a notification: %w", err)
	}
	if w.brief {
		n = &notification{EventID: n.EventID, RoomID: n.RoomID}
	}
	n.Prio, n.Devices = "high", []device{w.device}
	if !w.brief {
		n.Devices[0].Tweaks = tweaksOf(it.actions)
	}
	return w.write(n)
}
