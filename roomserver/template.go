package roomserver

import (
	"context"
	"encoding/json"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// Template makes the event by which a user of another server would change their own membership, on the
// room as it is now and without signatures: their server builds its own after it. What the rules of the
// room do not allow is refused.
//
// Spec: SS "Joining Rooms", "Leaving Rooms (Rejecting Invites)", "Knocking upon a room".
func (r *Rooms) Template(ctx context.Context, c Change) (*rules.Version, json.RawMessage, error) {
	p, err := r.propose(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(p.Event.Bytes(), &members); err != nil {
		return nil, nil, fmt.Errorf("read a template: %w", err)
	}
	for _, key := range []string{"hashes", "signatures", "event_id"} {
		delete(members, key)
	}
	if members["origin"], err = json.Marshal(r.server); err != nil {
		return nil, nil, fmt.Errorf("write a template: %w", err)
	}
	out, err := json.Marshal(members)
	if err != nil {
		return nil, nil, fmt.Errorf("write a template: %w", err)
	}
	return p.Version, out, nil
}

// Proposal is a signed event that is not in its room yet, since another server is to sign it too.
type Proposal struct {
	Version *rules.Version
	Event   *rules.Event
	// State is what the other server is told of the room: whole events.
	State []*rules.Event

	policy *rules.PolicyServer // whose signature it needs; nil: of none
}

// Invitation proposes the invite of a user of another server. Once their server has signed it, Receive
// takes it into the room.
//
// Spec: PUT /_matrix/federation/v2/invite/{roomId}/{eventId}
func (r *Rooms) Invitation(ctx context.Context, c Change) (*Proposal, error) {
	p, err := r.propose(ctx, c)
	if err != nil {
		return nil, err
	}
	p.Event = p.Event.Sign(r.server, r.keyID, r.key)
	return p, r.recommended(ctx, p)
}

// propose builds the member event of a change upon the room as it is, and leaves the room as it was.
func (r *Rooms) propose(ctx context.Context, c Change) (*Proposal, error) {
	nid, err := r.find(ctx, c.Room)
	if err != nil {
		return nil, err
	}
	var p *Proposal
	err = r.commit(ctx, []RoomNID{nid}, func(b *batch) error {
		h, err := b.room(nid)
		if err != nil {
			return err
		}
		d, err := b.memberDraft(h, c)
		if err != nil {
			return err
		}
		e, err := b.propose(h, d)
		if err != nil {
			return err
		}
		p = &Proposal{Version: h.version, Event: e.Event}
		if p.policy, err = b.policy(h); err != nil {
			return err
		}
		p.State, err = b.presented(h, c.Sender)
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// presented are the events that present a room to somebody who is not in it, and the one who speaks for it.
func (b *batch) presented(h *head, speaker matrix.UserID) ([]*rules.Event, error) {
	var out []*rules.Event
	for _, key := range presentedBy(speaker) {
		e, err := b.stateEvent(h, key)
		if err != nil {
			return nil, err
		}
		if e != nil {
			out = append(out, e.Event)
		}
	}
	return out, nil
}
