package roomserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// Draft is an event that a user of this server wants to be sent.
type Draft struct {
	Room      matrix.RoomID
	Sender    matrix.UserID
	Type      string
	StateKey  *string // nil: not a state event
	Content   json.RawMessage
	Redacts   matrix.EventID // of m.room.redaction
	Related   []string       // of m.room.redaction: kinds of relations, or *, whose events are redacted with it
	Timestamp int64          // milliseconds; 0: now
	Txn       *Txn           // nil: never repeated
	Delay     *Delay         // nil: its user sends it now
	Sticky    int64          // milliseconds for which it is sticky; 0: it is not
	Ending    bool           // the sender's account ends: they may leave what others may not

	confirmed []matrix.RoomAlias // of other servers, which say that they point to the room
	Shadowed  bool               // the sender is not to be heard, and not to be told so
	Suspended bool               // the sender's account is: they may redact their own events, and send nothing else
}

// errSuspended is what those are told who may only read, leave and redact their own events.
//
// Spec: CS "Account suspension".
var errSuspended = matrix.E(matrix.CodeUserSuspended, "this account is suspended")

// Delay is of a draft that its user left to be sent later. Both functions run in the transaction that sends
// the event, so that it is sent once, and not after it was cancelled.
type Delay struct {
	Due  func(tx *store.Tx) error // a *matrix.Error refuses the sending
	Sent func(tx *store.Tx, id matrix.EventID) error
}

// Txn says which request a draft came with, so that a repetition is given the same answer.
//
// Spec: CS "Transaction identifiers".
type Txn struct {
	Device matrix.DeviceID
	Scope  string // the endpoint and its path, but for the transaction id
	ID     string
}

type txnKey struct {
	user   matrix.UserID
	device matrix.DeviceID
	scope  string
	id     string
}

// known is the transaction by which the sender's device knows the event, where it does.
func (d *Draft) known() (matrix.DeviceID, string) {
	if d.Txn == nil || d.Txn.Device == "" && d.Delay == nil {
		return "", ""
	}
	return d.Txn.Device, d.Txn.ID
}

func (d *Draft) key() txnKey { return txnKey{d.Sender, d.Txn.Device, d.Txn.Scope, d.Txn.ID} }

// append stages a draft as the room's next event. A state event that would change nothing is not sent:
// the one that stands is given instead.
func (b *batch) append(h *head, d *Draft) (*Event, error) {
	if d.StateKey != nil {
		if same, err := b.standing(h, d); same != nil || err != nil {
			return same, err
		}
	}
	if e, err := b.policed(h, d); e != nil || err != nil {
		return e, err
	}
	e, err := b.propose(h, d)
	if err != nil {
		return nil, err
	}
	if h.id == "" { // the room is named by its create event
		h.id = e.RoomID()
	}
	s := &staged{Event: e, draft: d}
	if err := b.advance(h, s); err != nil {
		return nil, err
	}
	if d.Txn != nil {
		b.txns[d.key()] = s
	}
	return e, nil
}

// propose builds the event of a draft and holds it against the rules, and stages nothing.
func (b *batch) propose(h *head, d *Draft) (*Event, error) {
	if err := b.sensible(h, d); err != nil {
		return nil, err
	}
	auth, err := b.authEvents(h, d)
	if err != nil {
		return nil, err
	}
	e, err := b.build(h, d, auth)
	if err != nil {
		return nil, err
	}
	return e, b.authorize(h, e)
}

// standing finds the event that a draft would replace by its like.
func (b *batch) standing(h *head, d *Draft) (*Event, error) {
	old, err := b.stateEvent(h, rules.StateKey{Type: d.Type, Key: *d.StateKey})
	if old == nil || err != nil || old.Sender() != d.Sender {
		return nil, err
	}
	same, err := rules.SameContent(h.version, old.Content(), d.Content)
	if err != nil || !same {
		return nil, err
	}
	return old, nil
}

// authEvents finds the events of the current state that the rules let a draft refer to.
func (b *batch) authEvents(h *head, d *Draft) ([]*Event, error) {
	var auth []*Event
	for _, key := range rules.AuthTypes(h.version, d.Type, d.Sender, d.StateKey, d.Content) {
		e, err := b.stateEvent(h, key)
		if err != nil {
			return nil, err
		}
		if e != nil {
			auth = append(auth, e)
		}
	}
	return auth, nil
}

// build makes the event on top of the room's extremities. It has its id, but no signature yet.
func (b *batch) build(h *head, d *Draft, auth []*Event) (*Event, error) {
	nid, err := b.r.db.Nids(b.ctx, "events", 1)
	if err != nil {
		return nil, fmt.Errorf("name an event: %w", err)
	}
	e := &Event{
		NID: nid<<8 | h.nid.Shard(), Room: h.nid, Status: statusAccepted,
		SnapBefore: h.state.NID(), PrevNIDs: slices.Clone(h.extremities[:min(len(h.extremities), prevMost)]),
	}
	e.TxnDevice, e.TxnID = d.known()
	p := rules.Proto{
		RoomID: h.id, Sender: d.Sender, Type: d.Type, StateKey: d.StateKey, Content: d.Content,
		Redacts: d.Redacts, Depth: min(h.depth+1, canonicaljson.MaxInt), OriginServerTS: d.Timestamp, Sticky: d.Sticky,
	}
	if p.OriginServerTS == 0 {
		p.OriginServerTS = b.r.now().UnixMilli()
	}
	if h.version.EventIDInside {
		p.EventID = matrix.EventID("$" + randomText() + ":" + string(b.r.server))
	}
	for _, x := range e.PrevNIDs {
		prev, err := b.event(x)
		if err != nil {
			return nil, fmt.Errorf("load an extremity: %w", err)
		}
		p.Prev = append(p.Prev, prev.Ref())
	}
	for _, a := range auth {
		p.Auth = append(p.Auth, a.Ref())
		e.AuthNIDs = append(e.AuthNIDs, a.NID)
		e.Rank = max(e.Rank, a.Rank+1)
	}
	if e.Event, err = rules.Build(h.version, &p); err != nil {
		return nil, err
	}
	if key, ok := e.StateKey(); ok {
		e.Tuple, err = b.r.states.Intern(b.ctx, b.tx, rules.StateKey{Type: d.Type, Key: key})
	}
	return e, err
}

// authorize holds a draft against the rules and the room's current state.
func (b *batch) authorize(h *head, e *Event) error {
	why, err := b.refusal(h.state, e.Event)
	if err == nil && why != nil {
		err = matrix.Forbidden("%s", why.Why)
	}
	return err
}

// refusal holds an event against the rules and a state. It is nil where they allow it.
func (b *batch) refusal(st *state.State, ev *rules.Event) (*rules.Refused, error) {
	var failed error
	err := rules.Authorize(ev, func(tp, key string) *rules.Event {
		found, err := b.stateEventIn(st, rules.StateKey{Type: tp, Key: key})
		if err != nil {
			failed = err
		}
		return bare(found)
	})
	if failed != nil {
		return nil, fmt.Errorf("load the state to authorize by: %w", failed)
	}
	var refused *rules.Refused
	if errors.As(err, &refused) {
		return refused, nil
	}
	return nil, err
}

// advance gives a draft its place behind the extremities of the room, and the room its new state.
func (b *batch) advance(h *head, s *staged) error {
	next := h.state
	if s.Tuple != 0 {
		var err error
		if next, err = b.next(h, h.state, state.Entry{Tuple: s.Tuple, Event: s.NID}); err != nil {
			return err
		}
		s.SnapAfter = next.NID()
	}
	left := append(slices.Clone(h.extremities[len(s.PrevNIDs):]), s.NID)
	return b.place(h, s, next, left)
}

// place puts an event into the timeline behind the newest, and gives the room its new state and
// extremities. A redaction of another server that redacts nothing has a place in the room, but none in the timeline.
func (b *batch) place(h *head, s *staged, next *state.State, extremities []int64) error {
	b.know(s.Event)
	if err := b.noteMoves(h, s, next); err != nil {
		return err
	}
	h.changed = h.changed || next != h.state
	h.state, h.extremities = next, extremities
	h.depth = max(h.depth, s.Depth())
	h.dirty = true
	redacts, err := b.noteRedaction(h, h.state, s.Event)
	if err != nil {
		return err
	}
	if s.draft == nil && !redacts && s.Type() == "m.room.redaction" {
		s.seq = h.seq + 1 // a gap before it is one before what comes next
		b.keep(s.Event, withheld)
		return nil
	}
	b.show(h, s)
	if s.draft != nil {
		return nil
	}
	return b.noteAwaited(h, s.Event, b.reveal)
}

// show gives an event the next place in the timeline.
func (b *batch) show(h *head, s *staged) {
	h.seq++
	s.seq, s.snap = h.seq, h.state.NID()
	b.staged = append(b.staged, s)
}

// sign adds our signature to all drafts that were staged. The ids do not depend on it, so it is done for
// many events at once, on all processors.
func (b *batch) sign() {
	ours := make([]*staged, 0, len(b.staged))
	for _, s := range b.staged {
		if s.draft != nil && !s.named {
			ours = append(ours, s)
		}
	}
	work := func(part []*staged) {
		for _, s := range part {
			s.Event.Event = s.Event.Event.Sign(b.r.server, b.r.keyID, b.r.key)
		}
	}
	if len(ours) < 4 {
		work(ours)
		return
	}
	var wg sync.WaitGroup
	size := max(1, (len(ours)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	for part := range slices.Chunk(ours, size) {
		wg.Go(func() { work(part) })
	}
	wg.Wait()
}
