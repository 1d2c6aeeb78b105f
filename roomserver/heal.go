package roomserver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// Held is an event that holds a place in a state.
type Held struct {
	Event    matrix.EventID `json:"event_id"`
	Type     string         `json:"type"`
	StateKey string         `json:"state_key"`
	Sender   matrix.UserID  `json:"sender"`
}

// Held says which places in the state of a room some events hold, that are here.
func (r *Rooms) Held(ctx context.Context, room matrix.RoomID, ids []matrix.EventID) ([]Held, error) {
	out := []Held{}
	err := r.db.View(ctx, func(tx *store.Tx) error {
		out = out[:0]
		nid, err := r.known(tx, room)
		if err != nil {
			return err
		}
		for _, id := range ids {
			e, err := r.eventByID(tx, nid, id)
			if err != nil {
				return err
			}
			h := Held{Event: id}
			if e != nil {
				key, _ := e.StateKey()
				h = Held{Event: id, Type: e.Type(), StateKey: key, Sender: e.Sender()}
			}
			out = append(out, h)
		}
		return nil
	})
	return out, err
}

// Heal resolves the current state of a room with a state that another server told, all of whose events are
// here, and puts an event of ours on top of the result, so that what follows builds on it. It gives how many places
// in the state changed. Nothing is done where the states agree.
func (r *Rooms) Heal(ctx context.Context, room matrix.RoomID, told []matrix.EventID) (int, error) {
	c := &reception{r: r, told: told}
	err := r.db.View(ctx, func(tx *store.Tx) (err error) {
		c.room, err = r.known(tx, room)
		return err
	})
	if err != nil {
		return 0, err
	}
	if err := c.learn(ctx); err != nil {
		return 0, err
	}
	for range tries {
		changed := 0
		err := r.commit(ctx, []RoomNID{c.room}, func(b *batch) error {
			c.begin(b)
			var err error
			changed, err = c.heal()
			return err
		})
		var open *unresolved
		var lacking *Unrecommended
		if errors.As(err, &lacking) {
			if c.healing, err = r.remote.Recommend(ctx, lacking.Policy, lacking.Event); err != nil {
				return 0, fmt.Errorf("ask the policy server of %s: %w", room, err)
			}
			continue
		}
		if err == nil {
			return changed, nil
		}
		if !errors.As(err, &open) {
			return 0, err
		}
		if err := c.resolve(ctx, open); err != nil {
			return 0, fmt.Errorf("resolve the state of %s: %w", room, err)
		}
	}
	return 0, fmt.Errorf("heal %s: the room did not rest for %d resolutions", room, tries)
}

// heal stages the event that carries the healed state.
func (c *reception) heal() (int, error) {
	h, err := c.head()
	if err != nil {
		return 0, err
	}
	healed, err := c.one(h, []*state.State{h.state, c.toldState(h)})
	if err != nil {
		return 0, err
	}
	changed := len(state.Diff(h.state, healed))
	if changed == 0 {
		return 0, nil
	}
	as := *h // the room as it will be, for who builds on it
	as.state = healed
	d, err := c.b.dummy(&as)
	if err != nil {
		return 0, err
	}
	e, err := c.b.propose(&as, d)
	if err != nil {
		return 0, err
	}
	policy, err := c.b.policy(&as)
	if err != nil {
		return 0, err
	}
	if policy != nil {
		signed := c.signedLike(e, policy)
		if signed == nil {
			return 0, &Unrecommended{Event: c.r.Sign(e.Event), Policy: policy}
		}
		e.Event = signed
	}
	left := append(slices.Clone(h.extremities[len(e.PrevNIDs):]), e.NID)
	return changed, c.b.place(h, &staged{Event: e, draft: d}, healed, left)
}

// dummy is a draft of an event that does nothing, of a user of ours who may send it.
func (b *batch) dummy(h *head) (*Draft, error) {
	levels, err := b.levels(h)
	if err != nil {
		return nil, err
	}
	may := func(u matrix.UserID) bool { return levels.MaySend(u, dummyType, false) }
	sender, ok, err := localInviter(b.tx, h.nid, b.r.server, may)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, matrix.Forbidden("no user of this server may send events in the room")
	}
	return &Draft{Room: h.id, Sender: sender, Type: dummyType, Content: []byte(`{}`)}, nil
}
