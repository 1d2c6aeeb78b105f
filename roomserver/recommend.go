package roomserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// Recommender asks a policy server to sign an event, and gives it with that signature. A *matrix.Error is the
// refusal; where the server could not be asked the error is an *Away. It talks to the network, so it is called with no
// transaction open.
type Recommender func(ctx context.Context, p *rules.PolicyServer, ev *rules.Event) (*rules.Event, error)

// Away says that a policy server could not be asked.
type Away struct {
	Server matrix.ServerName
	Told   *matrix.Error // what a user is told
	Long   bool          // for so long that events of others wait for it no more
	After  time.Duration // for how long it asks to be left alone; 0: it gave no answer
	Err    error
}

func (a *Away) Error() string {
	return fmt.Sprintf("the policy server %s cannot be asked: %v", a.Server, a.Err)
}

// Unwrap gives the cause.
func (a *Away) Unwrap() error { return a.Err }

// Remote is what the rooms have other servers asked, while no transaction is open.
type Remote struct {
	Recommend Recommender
	// RoomOfAlias finds the room of an alias of another server.
	RoomOfAlias func(ctx context.Context, alias matrix.RoomAlias) (matrix.RoomID, error)
}

// Reach tells how other servers are asked, before anything is sent.
func (r *Rooms) Reach(remote Remote) { r.remote = remote }

// Unrecommended says that an event needs the signature of its room's policy server. Nothing was written.
type Unrecommended struct {
	Event  *rules.Event
	Policy *rules.PolicyServer
	draft  *Draft // of an event of ours
}

func (u *Unrecommended) Error() string {
	return fmt.Sprintf("the event %s is not signed by the policy server %s", u.Event.ID(), u.Policy.Server)
}

// policy finds the policy server of a room as it is now, nil where the room uses none: it must have a user in it.
//
// Spec: SS "Determining if a Policy Server is enabled in a room".
func (b *batch) policy(h *head) (*rules.PolicyServer, error) {
	for _, tp := range rules.PolicyTypes() {
		tuple, err := b.r.states.Intern(b.ctx, b.tx, rules.StateKey{Type: tp}) // kept in memory, unlike one that is not there
		if err != nil {
			return nil, err
		}
		nid, found := h.state.Event(tuple)
		if !found {
			continue
		}
		e, err := b.event(nid)
		if err != nil {
			return nil, fmt.Errorf("find the policy server of a room: %w", err)
		}
		p := e.PolicyServer()
		if p == nil || e.RedactedBy != 0 {
			continue
		}
		if in, err := serverIn(b.tx, h.nid, p.Server); in || err != nil {
			return p, err
		}
	}
	return nil, nil
}

// A posting is the commit of drafts, in as many tries as policy servers have to be asked: a try that makes an event
// for which a signature is lacking ends with an *Unrecommended, is rewound, and writes nothing. The next one takes
// that event into the room, signed, where its place in the graph may be behind others that came meanwhile.
type posting struct {
	signed []*reception // events that were recommended
	used   map[*reception]bool
	waived []*Draft   // drafts that are sent although they are not
	open   *reception // whose states have to be resolved
}

// post is commit for wishes that send drafts.
func (r *Rooms) post(ctx context.Context, rooms []RoomNID, fulfil func(b *batch) error) error {
	p := &posting{}
	for range tries {
		err := r.commit(ctx, rooms, func(b *batch) error {
			p.used = make(map[*reception]bool)
			b.posting = p
			defer func() { b.posting = nil }()
			return fulfil(b)
		})
		var lacking *Unrecommended
		var open *unresolved
		switch {
		case errors.As(err, &lacking):
			err = p.ask(ctx, r, lacking)
		case errors.As(err, &open):
			err = p.open.resolve(ctx, open)
		default:
			return err
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("the room did not rest for %d tries", tries)
}

// postAtHand is post, but asks nobody: where a signature is lacking the error is an *Unrecommended.
func (r *Rooms) postAtHand(ctx context.Context, rooms []RoomNID, fulfil func(b *batch) error) error {
	return r.commit(ctx, rooms, func(b *batch) error {
		b.posting = &posting{}
		defer func() { b.posting = nil }()
		return fulfil(b)
	})
}

// ask asks for the signature that one of our events lacks.
func (p *posting) ask(ctx context.Context, r *Rooms, u *Unrecommended) error {
	ev, err := r.remote.Recommend(ctx, u.Policy, u.Event)
	var away *Away
	if errors.As(err, &away) {
		err = away.Told
	}
	switch {
	case err == nil:
		p.signed = append(p.signed, &reception{r: r, ev: ev, own: u.draft})
	case u.draft.leaves(): // nobody can be kept in a room
		p.waived = append(p.waived, u.draft)
	default:
		return err
	}
	return nil
}

// leaves says whether a draft is its sender's way out of a room.
func (d *Draft) leaves() bool {
	return d.Type == "m.room.member" && d.StateKey != nil && *d.StateKey == string(d.Sender) && d.membership() == matrix.Leave
}

// policed sends a draft in a room that uses a policy server; nil where it is sent as in any other room.
//
// Spec: SS "Asking for a Policy Server signature on an event".
func (b *batch) policed(h *head, d *Draft) (*Event, error) {
	if h.fresh || b.posting == nil { // a room that is not there yet is known to nobody
		return nil, nil
	}
	policy, err := b.policy(h)
	if policy == nil || err != nil || policy.Exempts(d.Type, d.StateKey) || b.posting.waives(d) {
		return nil, err
	}
	if c := b.posting.find(h, d, policy); c != nil {
		e, err := b.takeOwn(h, c)
		var gap *Gap
		if !errors.As(err, &gap) { // else what it follows was not committed: it is made anew
			return e, err
		}
	}
	e, err := b.propose(h, d)
	if err != nil {
		return nil, err
	}
	return nil, &Unrecommended{Event: e.Event.Sign(b.r.server, b.r.keyID, b.r.key), Policy: policy, draft: d}
}

// takeOwn takes an event of ours that was recommended into its room.
func (b *batch) takeOwn(h *head, c *reception) (*Event, error) {
	c.room = h.nid
	b.posting.open, b.posting.used[c] = c, true
	status, err := c.take(b)
	if err == nil && status != Accepted {
		err = matrix.Forbidden("the room does not allow it any more: %s", c.why)
	}
	if err != nil {
		return nil, err
	}
	return b.eventByID(h.nid, c.ev.ID())
}

// find gives the event that was made of a draft in an earlier try.
func (p *posting) find(h *head, d *Draft, policy *rules.PolicyServer) *reception {
	for _, c := range p.signed {
		if !p.used[c] && c.ev.RoomID() == h.id && c.own.same(d) && c.ev.RecommendedBy(policy) {
			return c
		}
	}
	return nil
}

func (p *posting) waives(d *Draft) bool {
	for _, w := range p.waived {
		if w.Type == d.Type && w.Sender == d.Sender && w.StateKey != nil && d.StateKey != nil && *w.StateKey == *d.StateKey {
			return true
		}
	}
	return false
}

// same says whether another draft would make the same event.
func (d *Draft) same(o *Draft) bool {
	if d.Type != o.Type || d.Sender != o.Sender || d.Redacts != o.Redacts || (d.StateKey == nil) != (o.StateKey == nil) ||
		d.StateKey != nil && *d.StateKey != *o.StateKey {
		return false
	}
	return string(d.Content) == string(o.Content)
}

// unrecommended says why an event of another server is not recommended by the policy server of the room as it is
// now, if so. Where that server has to be asked the error is an *Unrecommended.
//
// Spec: SS "Validating Policy Server signatures".
func (c *reception) unrecommended(h *head) (string, error) {
	if c.entering != nil {
		return "", nil
	}
	policy, err := c.b.policy(h)
	if policy == nil || err != nil {
		return "", err
	}
	var key *string
	if k, is := c.ev.StateKey(); is {
		key = &k
	}
	if policy.Exempts(c.ev.Type(), key) || c.ev.RecommendedBy(policy) {
		return "", nil
	}
	if c.verdict != "" {
		return c.verdict, nil
	}
	return "", &Unrecommended{Event: c.ev, Policy: policy}
}

// ask asks for the signature that an event of another server lacks. Where it is refused the event is soft-failed; one
// that a handshake brings is refused as it was, and so is one of ours.
func (c *reception) ask(ctx context.Context, u *Unrecommended) error {
	ev, err := c.r.remote.Recommend(ctx, u.Policy, c.ev)
	var away *Away
	var refused *matrix.Error
	if errors.As(err, &away) {
		if refused = away.Told; !away.Long && !c.relay {
			return err
		}
	} else if err != nil && !errors.As(err, &refused) {
		return err
	}
	switch {
	case refused == nil:
		c.ev = ev
	case c.relay:
		return refused
	default:
		c.verdict = "by the policy server: " + refused.Message
	}
	return nil
}

// ReceiveAtHand is Receive, but asks nobody: an event that lacks the signature of its room's policy server is not
// taken, and the error is an *Unrecommended.
func (r *Rooms) ReceiveAtHand(ctx context.Context, ev *rules.Event) (Status, error) {
	return r.receive(ctx, &reception{r: r, ev: ev, hasty: true})
}

// signedLike gives an event of ours that was recommended in an earlier try, where it stands where another would now.
func (c *reception) signedLike(e *Event, policy *rules.PolicyServer) *rules.Event {
	s := c.healing
	if s == nil || s.Sender() != e.Sender() || !slices.Equal(s.Prev(), e.Prev()) || !slices.Equal(s.Auth(), e.Auth()) || !s.RecommendedBy(policy) {
		return nil
	}
	return s
}

// recommended gives an event of ours that is to be signed by another server with the signature of its room's policy
// server, if there is one.
func (r *Rooms) recommended(ctx context.Context, p *Proposal) error {
	if p.policy == nil {
		return nil
	}
	ev, err := r.remote.Recommend(ctx, p.policy, p.Event)
	var away *Away
	if errors.As(err, &away) {
		err = away.Told
	}
	if err == nil {
		p.Event = ev
	}
	return err
}

// alone asks nobody.
func alone() Remote {
	return Remote{
		Recommend: func(_ context.Context, p *rules.PolicyServer, _ *rules.Event) (*rules.Event, error) {
			told := matrix.Forbidden("this server does not speak with the room's policy server %s", p.Server)
			return nil, &Away{Server: p.Server, Told: told, Err: errAlone}
		},
		RoomOfAlias: func(context.Context, matrix.RoomAlias) (matrix.RoomID, error) {
			return "", matrix.Forbidden("this server speaks with no other")
		},
	}
}

var errAlone = errors.New("this server stands alone")
