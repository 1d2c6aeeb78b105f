package roomserver

import (
	"context"
	"encoding/json"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// Send sends an event of one of our users into a room. A draft whose transaction id was seen before
// sends nothing, and is answered as the first time.
func (r *Rooms) Send(ctx context.Context, d Draft) (matrix.EventID, error) {
	if d.Suspended && (d.Type != "m.room.redaction" || d.StateKey != nil || len(d.Related) > 0) {
		return "", errSuspended
	}
	nid, err := r.find(ctx, d.Room)
	if err != nil {
		return "", err
	}
	if target, ok := d.invites(); ok {
		if err := r.mayInvite(ctx, d.Sender, target); err != nil {
			return "", err
		}
	}
	if d.hides() {
		return r.pretend(ctx, nid, &d)
	}
	if err := r.confirm(ctx, &d); err != nil {
		return "", err
	}
	var id matrix.EventID
	err = r.post(ctx, []RoomNID{nid}, func(b *batch) error {
		var err error
		var repeated bool
		if id, repeated, err = b.repeated(&d); repeated || err != nil {
			return err
		}
		h, err := b.room(nid)
		if err != nil {
			return err
		}
		if d.Delay != nil {
			if err := d.Delay.Due(b.tx); err != nil {
				return err
			}
		}
		vouched, err := b.vouched(h, d)
		if err != nil {
			return err
		}
		e, err := b.append(h, &vouched)
		if err != nil {
			return err
		}
		id = e.ID()
		if d.Delay != nil {
			b.later = append(b.later, func() error { return d.Delay.Sent(b.tx, e.ID()) })
		}
		if len(d.Related) > 0 {
			b.later = append(b.later, func() error { return askRelated(b.tx, &d, e.ID()) })
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// FindRedacts reads out of the content what a redaction redacts that is sent as any other event.
//
// Spec: PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}
func (d *Draft) FindRedacts() error {
	if d.Type != "m.room.redaction" {
		return nil
	}
	var content struct {
		Redacts matrix.EventID `json:"redacts"`
	}
	if err := json.Unmarshal(d.Content, &content); err != nil || content.Redacts == "" {
		return matrix.BadJSON("a redaction needs the ID of an event in redacts")
	}
	d.Redacts = content.Redacts
	return nil
}

// vouched is a draft with the right word on who lets its sender into a restricted room: that is for this server
// to say, and only of those who were not in the room.
//
// Spec: CS "Restricted rooms".
func (b *batch) vouched(h *head, d Draft) (Draft, error) {
	if d.Type != "m.room.member" || d.StateKey == nil || *d.StateKey != string(d.Sender) || !h.version.RestrictedJoins {
		return d, nil
	}
	var content map[string]json.RawMessage
	var membership matrix.Membership
	if json.Unmarshal(d.Content, &content) != nil || json.Unmarshal(content["membership"], &membership) != nil || membership != matrix.Join {
		return d, nil
	}
	_, said := content[authorisedVia]
	delete(content, authorisedVia)
	via, err := b.enteredBy(h, d.Sender)
	if err != nil || !said && via == "" {
		return d, err
	}
	if via != "" {
		if content[authorisedVia], err = json.Marshal(via); err != nil {
			return d, fmt.Errorf("write a member event: %w", err)
		}
	}
	if d.Content, err = json.Marshal(content); err != nil {
		return d, fmt.Errorf("write a member event: %w", err)
	}
	return d, nil
}

// invites says whom a draft invites, if anybody.
func (d *Draft) invites() (matrix.UserID, bool) {
	if d.Type != "m.room.member" || d.StateKey == nil {
		return "", false
	}
	return matrix.UserID(*d.StateKey), d.membership() == matrix.Invite
}

// membership is what a draft of a member event says; empty where it says nothing.
func (d *Draft) membership() matrix.Membership {
	var content struct {
		Membership matrix.Membership `json:"membership"`
	}
	if json.Unmarshal(d.Content, &content) != nil {
		return ""
	}
	return content.Membership
}

// mayInvite refuses an invite that a user of ours does not want. Those of the server's notices nobody can
// refuse.
func (r *Rooms) mayInvite(ctx context.Context, inviter, target matrix.UserID) error {
	if r.invites == nil || !r.ours(target) || inviter == r.notices {
		return nil
	}
	return r.invites(ctx, inviter, target)
}

// repeated finds the answer to a draft that has been sent before, in this batch or an older one.
func (b *batch) repeated(d *Draft) (matrix.EventID, bool, error) {
	if d.Txn == nil {
		return "", false, nil
	}
	if s, ok := b.txns[d.key()]; ok {
		return s.ID(), true, nil
	}
	id, ok, err := answered(b.tx, d.key())
	if err != nil {
		return "", false, fmt.Errorf("look up a transaction id: %w", err)
	}
	return id, ok, nil
}

// find gives the number of a room that a user wants to act in. One that this server does not know is
// refused like one that the user is not in, so that nobody learns which rooms there are.
func (r *Rooms) find(ctx context.Context, id matrix.RoomID) (RoomNID, error) {
	if nid, ok := r.nids.Get(id); ok {
		return nid, nil
	}
	var nid RoomNID
	err := r.db.View(ctx, func(tx *store.Tx) error {
		var ok bool
		var err error
		if nid, ok, err = r.NID(tx, id); err == nil && !ok {
			return matrix.Forbidden("you are not in the room %s", id)
		}
		return err
	})
	return nid, err
}

// levels are the power levels of a room as it is now.
func (b *batch) levels(h *head) (*rules.PowerLevels, error) {
	pl, err := b.stateEvent(h, rules.StateKey{Type: "m.room.power_levels"})
	if err != nil {
		return nil, err
	}
	create, err := b.stateEvent(h, rules.StateKey{Type: "m.room.create"})
	if err != nil {
		return nil, err
	}
	return rules.Levels(bare(create), bare(pl)), nil
}

// bare is the event without what this server knows of it; nil stays nil.
func bare(e *Event) *rules.Event {
	if e == nil {
		return nil
	}
	return e.Event
}
