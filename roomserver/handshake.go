package roomserver

import (
	"context"
	"encoding/json"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// ReceiveRelayed is Receive for an event that a server of another user brings by a handshake: this server is
// the one that brings it to the others in the room.
func (r *Rooms) ReceiveRelayed(ctx context.Context, ev *rules.Event) (Status, error) {
	return r.receive(ctx, &reception{r: r, ev: ev, relay: true})
}

// Sign adds the signature of this server to an event.
func (r *Rooms) Sign(ev *rules.Event) *rules.Event { return ev.Sign(r.server, r.keyID, r.key) }

// Vouch signs the join of another server's user whom, so it says, a user of ours lets into a restricted room:
// where they are not invited they must be in one of the rooms that the join rules name. Every other join
// stays as it is.
//
// Spec: SS "Restricted rooms".
func (r *Rooms) Vouch(ctx context.Context, join *rules.Event) (*rules.Event, error) {
	if via := join.MemberContent().AuthorisedVia; via == "" || !r.ours(via) || !join.Version().SignedByAuthoriser {
		return join, nil
	}
	err := r.db.View(ctx, func(tx *store.Tx) error {
		h, ok, err := r.headByID(tx, join.RoomID())
		if err != nil || !ok {
			return err
		}
		st, err := r.states.Load(tx, h.Snap)
		if err != nil {
			return err
		}
		member, err := r.StateEvent(tx, st, "m.room.member", string(join.Sender()))
		if err != nil || member != nil && (member.Membership() == matrix.Join || member.Membership() == matrix.Invite) {
			return err
		}
		jr, err := r.StateEvent(tx, st, "m.room.join_rules", "")
		if err != nil || jr == nil || !jr.JoinRules().Restricted(join.Version()) {
			return err
		}
		return r.mayEnter(tx, jr.JoinRules(), join.Sender())
	})
	if err != nil {
		return nil, err
	}
	return r.Sign(join), nil
}

// Presented gives the events that tell what a room is to somebody who is not in it.
//
// Spec: CS "Stripped state".
func (r *Rooms) Presented(ctx context.Context, room matrix.RoomID) ([]json.RawMessage, error) {
	out := []json.RawMessage{}
	err := r.db.View(ctx, func(tx *store.Tx) error {
		h, ok, err := r.headByID(tx, room)
		if err != nil || !ok {
			return err
		}
		st, err := r.states.Load(tx, h.Snap)
		if err != nil {
			return err
		}
		out = out[:0]
		for _, tp := range strippedTypes() {
			e, err := r.StateEvent(tx, st, tp, "")
			if err != nil {
				return err
			}
			if e != nil {
				out = append(out, e.Bytes())
			}
		}
		return nil
	})
	return out, err
}

// ServersOf lists the other servers that are in a room.
func (r *Rooms) ServersOf(ctx context.Context, room matrix.RoomID) ([]matrix.ServerName, error) {
	var servers []matrix.ServerName
	err := r.db.View(ctx, func(tx *store.Tx) error {
		nid, ok, err := r.NID(tx, room)
		if err != nil || !ok {
			return err
		}
		servers, err = r.ServersIn(tx, nid)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the servers in room %s: %w", room, err)
	}
	return servers, nil
}

// WithoutMembers shortens the state before a join for a server that wants no members: but for those who give
// a room without a name its name, they are left out of the state, and so is out of the auth chain what only
// they refer to, or what the state has already.
//
// Spec: PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}, omit_members
func (r *Rooms) WithoutMembers(ctx context.Context, join *rules.Event) (*Told, error) {
	var nid RoomNID
	var kept []int64
	err := r.db.View(ctx, func(tx *store.Tx) error {
		h, _, err := r.headByID(tx, join.RoomID())
		if err != nil {
			return err
		}
		e, err := r.eventByID(tx, h.Room, join.ID())
		if err != nil || e == nil {
			return err
		}
		st, err := r.states.Load(tx, e.SnapBefore)
		if err != nil {
			return err
		}
		nid = h.Room
		kept, err = r.withoutMembersButHeroes(tx, h, st)
		return err
	})
	if err != nil {
		return nil, err
	}
	told, err := r.told(ctx, nid, kept)
	if err != nil {
		return nil, err
	}
	told.AuthChain = without(told.AuthChain, told.State)
	return told, nil
}

// heroes is how many members give a room without a name its name.
const heroes = 5

func (r *Rooms) withoutMembersButHeroes(tx *store.Tx, h Head, st *state.State) ([]int64, error) {
	entries := st.WithoutMembers()
	tuples := make([]int64, len(entries))
	for i, e := range entries {
		tuples[i] = e.Tuple
	}
	keys, err := r.states.Keys(tx, tuples)
	if err != nil {
		return nil, err
	}
	var kept []int64
	named := false
	for _, e := range entries {
		switch keys[e.Tuple].Type {
		case "m.room.member":
			continue
		case "m.room.name", "m.room.canonical_alias":
			named = true
		}
		kept = append(kept, e.Event)
	}
	if named {
		return kept, nil
	}
	members, err := r.Members(tx, h.Room, matrix.Join, heroes+1) // one of them may be who joins
	for _, m := range members {
		tuple, _, err := r.states.Tuple(tx, rules.StateKey{Type: "m.room.member", Key: string(m.User)})
		if err != nil {
			return nil, err
		}
		if nid, ok := st.Event(tuple); ok {
			kept = append(kept, nid)
		}
	}
	return kept, err
}

// without gives the numbers that are not among others.
func without(nids, others []int64) []int64 {
	drop := make(map[int64]bool, len(others))
	for _, n := range others {
		drop[n] = true
	}
	out := nids[:0:0]
	for _, n := range nids {
		if !drop[n] {
			out = append(out, n)
		}
	}
	return out
}
