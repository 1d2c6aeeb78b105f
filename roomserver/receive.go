package roomserver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// Status says what became of an event of another server.
type Status int64

// The lives of an event.
const (
	Outlier    Status = statusOutlier
	Accepted   Status = statusAccepted
	SoftFailed Status = statusSoftFailed
	Rejected   Status = statusRejected
)

// Gap says what has to be known before an event can be received. Nothing was written.
type Gap struct {
	Room       matrix.RoomID
	Event      matrix.EventID
	Prev, Auth []matrix.EventID // events before it, and auth events, that are not here
}

func (g *Gap) Error() string {
	return fmt.Sprintf("before the event %s, %d others and %d auth events are missing", g.Event, len(g.Prev), len(g.Auth))
}

// ErrNotHere is given for events of rooms that this server is not in.
var ErrNotHere = matrix.NotFound("this server is not in the room")

// Receive takes an event of another server into its room, in the order of the specification's checks. Its
// hash and signatures were checked, and it may be in redacted form. An event that is here already stays
// what it is. What is lacking is told as a *Gap, and nothing is written.
//
// Spec: SS "Checks performed on receipt of a PDU".
func (r *Rooms) Receive(ctx context.Context, ev *rules.Event) (Status, error) {
	return r.receive(ctx, &reception{r: r, ev: ev})
}

// ReceiveAt takes an event before which others are missing, with the state before it as another server
// told it: all events of that state are here. It is resolved with what is known of that state here, and
// the room's current state with ours: never adopted.
func (r *Rooms) ReceiveAt(ctx context.Context, ev *rules.Event, before []matrix.EventID) (Status, error) {
	return r.receive(ctx, &reception{r: r, ev: ev, told: before, gap: true})
}

// ReceiveAfter is ReceiveAt for an event with one other before it, which has no place here; before is the state
// before that one.
func (r *Rooms) ReceiveAfter(ctx context.Context, ev *rules.Event, before []matrix.EventID) (Status, error) {
	return r.receive(ctx, &reception{r: r, ev: ev, told: before, toldFor: ev.Prev()[0], gap: true})
}

// tries bounds how often an event is tried anew because the room changed while its state was resolved.
const tries = 20

func (r *Rooms) receive(ctx context.Context, c *reception) (Status, error) {
	ok, err := false, error(nil)
	err = r.db.View(ctx, func(tx *store.Tx) error {
		c.room, ok, err = r.NID(tx, c.ev.RoomID())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("find the room of a received event: %w", err)
	}
	if !ok {
		return 0, ErrNotHere
	}
	if err := c.learn(ctx); err != nil {
		return 0, err
	}
	for range tries {
		var status Status
		w := c.wish(&status)
		if err = r.submit(ctx, w); err == nil {
			err = w.wait(ctx)
		}
		var open *unresolved
		var lacking *Unrecommended
		if errors.As(err, &lacking) && !c.hasty {
			if err := c.ask(ctx, lacking); err != nil {
				return 0, err
			}
			continue
		}
		if !errors.As(err, &open) {
			if err != nil { // the committer may not be done with the status
				return 0, err
			}
			if c.many {
				err = r.merge(ctx, c.room, c.hasty)
			}
			return status, err
		}
		if err := c.resolve(ctx, open); err != nil {
			return 0, fmt.Errorf("resolve the state at %s: %w", c.ev.ID(), err)
		}
	}
	return 0, fmt.Errorf("receive %s: the room did not rest for %d resolutions", c.ev.ID(), tries)
}

// take stages the event.
func (c *reception) take(b *batch) (Status, error) {
	c.begin(b)
	h, err := c.head()
	if err != nil {
		return 0, err
	}
	if c.again != 0 {
		return c.reconsider(h)
	}
	in, err := b.look(h.nid, c.mentions())
	if err != nil {
		return 0, err
	}
	if status, done, err := c.repeated(in); done || err != nil {
		return status, err
	}
	near, err := c.surroundings(h, in)
	if err != nil {
		return 0, err
	}
	e, err := c.event(h, in, near)
	if err != nil {
		return 0, err
	}
	before, err := c.before(h, near)
	if err != nil {
		return 0, err
	}
	e.SnapBefore = before.NID()
	why, err := b.refusedByAuth(h, e.Event, near.auth)
	if why == "" && err == nil {
		why, err = b.refusedBy(before, e.Event, "by the state before it")
	}
	if err != nil {
		return 0, err
	}
	if why != "" {
		e.Status = statusRejected
		b.keep(e, why)
		c.why = why
		return Rejected, nil
	}
	after, err := c.after(h, e, before)
	if err != nil {
		return 0, err
	}
	if h.state != before && c.entering == nil {
		now, err := c.now(h, near, before)
		if err == nil {
			why, err = b.refusedBy(now, e.Event, "by the current state")
		}
		if err != nil {
			return 0, err
		}
	}
	byState := why != ""
	if !byState && c.own == nil {
		if why, err = c.unrecommended(h); err != nil {
			return 0, err
		}
	}
	c.why = why
	if why != "" {
		e.Status = statusSoftFailed
		b.keep(e, why)
		if byState {
			b.mayStick()
		}
		return SoftFailed, nil
	}
	return Accepted, c.accept(h, e, near, after)
}

// now is the current state by which an event is soft-failed. Over a gap what is behind it is a part of that state too: a
// message may come before the join of its sender. What was told of it is resolved with what is here.
func (c *reception) now(h *head, near *surroundings, before *state.State) (*state.State, error) {
	if len(near.missing) == 0 && c.toldFor == "" {
		return h.state, nil
	}
	return c.one(h, []*state.State{h.state, before})
}

// keep stages an event that is not for the timeline.
func (b *batch) keep(e *Event, why string) {
	b.know(e)
	b.kept = append(b.kept, &kept{Event: e, why: why})
}

// mentions are the ids of the event, of those before it, and of its auth events.
func (c *reception) mentions() []matrix.EventID {
	ids := make([]matrix.EventID, 0, 2+len(c.ev.Prev())+len(c.ev.Auth()))
	ids = append(append(append(ids, c.ev.ID()), c.ev.Prev()...), c.ev.Auth()...)
	if c.toldFor != "" {
		ids = append(ids, c.toldFor)
	}
	return ids
}

// repeated finds what became of the event when it came before; false where it is new, or was only an
// outlier until now.
func (c *reception) repeated(in *names) (Status, bool, error) {
	if in.elsewhere(c.ev.ID()) {
		return 0, true, matrix.BadJSON("the event %s is of another room", c.ev.ID())
	}
	k, ok := in.here(c.ev.ID())
	if !ok {
		if c.ev.IsState("m.room.create", "") {
			return 0, true, matrix.Forbidden("a room has one create event")
		}
		return 0, false, nil
	}
	old, err := c.b.event(k.nid)
	if err != nil {
		return 0, true, err
	}
	return Status(old.Status), old.settled() || c.ev.IsState("m.room.create", ""), nil
}

// surroundings are the events that an event refers to.
type surroundings struct {
	prev    []*Event // those before it that have a state
	missing []matrix.EventID
	auth    []*Event
}

// surroundings finds the events that the event refers to, or a *Gap.
func (c *reception) surroundings(h *head, in *names) (*surroundings, error) {
	gap := &Gap{Room: h.id, Event: c.ev.ID()}
	var nids []int64
	for _, id := range append(append([]matrix.EventID{}, c.ev.Prev()...), c.ev.Auth()...) {
		if k, ok := in.here(id); ok {
			nids = append(nids, k.nid)
		}
	}
	found, err := c.b.held(nids)
	if err != nil {
		return nil, fmt.Errorf("load what %s refers to: %w", c.ev.ID(), err)
	}
	near := &surroundings{}
	for _, id := range c.ev.Prev() {
		if e := found[in.of[id].nid]; e != nil && e.settled() {
			near.prev = append(near.prev, e)
		} else {
			gap.Prev = append(gap.Prev, id)
		}
	}
	for _, id := range c.ev.Auth() {
		switch e := found[in.of[id].nid]; {
		case e != nil:
			near.auth = append(near.auth, e)
		case in.elsewhere(id): // which rejects the event: it can never be found here
		default:
			gap.Auth = append(gap.Auth, id)
		}
	}
	if len(gap.Auth) > 0 || len(gap.Prev) > 0 && !c.gap {
		return nil, gap
	}
	near.missing = gap.Prev
	return near, nil
}

// event makes what is stored of the event.
func (c *reception) event(h *head, in *names, near *surroundings) (*Event, error) {
	e := &Event{Event: c.ev, Room: h.nid, Status: statusAccepted}
	var err error
	c.heard = in.of[c.ev.ID()].nid != 0
	e.NID, err = in.claim(c.ev.ID(), func() (int64, error) {
		nid, err := c.nids[c.ev.ID()], error(nil)
		if nid == 0 {
			nid, err = c.r.newEvent(c.b.ctx, h.nid)
		}
		return nid, err
	})
	if err != nil {
		return nil, err
	}
	c.nids[c.ev.ID()], c.made[e.NID] = e.NID, e
	if c.own != nil {
		e.TxnDevice, e.TxnID = c.own.known()
	}
	for _, id := range c.ev.Prev() {
		nid, err := in.mention(id)
		if err != nil {
			return nil, err
		}
		if nid != 0 {
			e.PrevNIDs = append(e.PrevNIDs, nid)
		}
	}
	return e, c.b.complete(e, near.auth)
}

// follows notes what follows from the event's auth events.
func (e *Event) follows(auth []*Event) {
	for _, a := range auth {
		e.AuthNIDs = append(e.AuthNIDs, a.NID)
		e.Rank = max(e.Rank, a.Rank+1)
	}
}

// complete fills in what follows from the event's auth events, and its tuple.
func (b *batch) complete(e *Event, auth []*Event) error {
	e.follows(auth)
	key, ok := e.StateKey()
	if !ok {
		return nil
	}
	var err error
	e.Tuple, err = b.r.states.Intern(b.ctx, b.tx, rules.StateKey{Type: e.Type(), Key: key})
	return err
}

// refusedByAuth holds an event against its auth events, and says why they do not allow it, if so.
//
// Spec: SS "Checks performed on receipt of a PDU", 4; Room Versions "Authorization rules".
func (b *batch) refusedByAuth(h *head, ev *rules.Event, auth []*Event) (string, error) {
	if n := len(ev.Auth()) - len(auth); n > 0 {
		return fmt.Sprintf("%d of its auth events are not of its room", n), nil
	}
	cited := make([]rules.Cited, 0, len(auth)+1)
	for _, a := range auth {
		cited = append(cited, rules.Cited{Event: a.Event, Rejected: a.Status == statusRejected})
	}
	if !h.version.CreateInAuthEvents && ev.Type() != "m.room.create" {
		create, err := b.createEvent(h)
		if err != nil {
			return "", err
		}
		if create != nil {
			cited = append(cited, rules.Cited{Event: create.Event})
		}
	}
	err := rules.CheckAuthEvents(ev, cited)
	if err == nil {
		err = rules.Authorize(ev, func(tp, key string) *rules.Event {
			for _, c := range cited {
				if c.IsState(tp, key) {
					return c.Event
				}
			}
			return nil
		})
	}
	var refused *rules.Refused
	if errors.As(err, &refused) {
		return "by its auth events: " + refused.Why, nil
	}
	return "", err
}

// createEvent finds the event of whose hash the room's id is made, nil if it is not here.
func (b *batch) createEvent(h *head) (*Event, error) {
	if e := b.creates[h.nid]; e != nil {
		return e, nil
	}
	id := createIDOf(h.id)
	if k, looked := b.before.ids[id]; looked && k.room == h.nid && b.before.events[k.nid] != nil {
		return b.before.events[k.nid], nil
	}
	e, err := b.eventByID(h.nid, id)
	if e != nil && b.byNID[e.NID] == nil { // what is staged may be rewound
		b.creates[h.nid] = e
	}
	return e, err
}

// createIDOf is the id of the create event by which a room is named.
func createIDOf(room matrix.RoomID) matrix.EventID {
	return matrix.EventID("$" + strings.TrimPrefix(string(room), "!"))
}

// refusedBy holds an event against a state, and says why that does not allow it, if so.
func (b *batch) refusedBy(st *state.State, ev *rules.Event, which string) (string, error) {
	refused, err := b.refusal(st, ev)
	if err != nil || refused == nil {
		return "", err
	}
	return which + ": " + refused.Why, nil
}
