package roomserver

import (
	"fmt"
	"maps"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// Viewer is who is shown an event: what they may see, and what they are told besides, depends on it.
type Viewer struct {
	User   matrix.UserID
	Device matrix.DeviceID // for transaction ids; may be empty
	// Ignores are the users whose messages the viewer does not want to see; nil: none. It is a pointer so
	// that viewers can be compared.
	Ignores *Ignored
}

// Overseer is the user in whose place administrators see everything in a room. Nobody has this ID.
const Overseer matrix.UserID = "@:"

// Ignored is a set of users.
type Ignored map[matrix.UserID]bool

// ignored are the users whose events the viewer does not see. Their own they always see.
func (v Viewer) ignored() []matrix.UserID {
	if v.Ignores == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Collect(maps.Keys(*v.Ignores)), func(u matrix.UserID) bool { return u == v.User })
}

func (i *Ignored) has(u matrix.UserID) bool { return i != nil && (*i)[u] }

// ClientEvent is an event as it is shown to one viewer.
type ClientEvent struct {
	*Event
	Shown      *rules.Event      // the event itself, or its redacted form
	Seq        int64             // place in the room's timeline; 0: shown as part of a state
	Txn        string            // the transaction id, where the viewer's device sent it
	Delay      string            // the id under which the viewer had delayed it
	Prev       *Event            // the state event that it replaced
	Because    *Event            // its redaction
	Membership matrix.Membership // of the viewer when it was sent; empty: not told
	Bundle     *Bundle           // what others say about it; nil: nothing
	At         int64             // milliseconds: when it is shown
	StickyFor  int64             // milliseconds for which it is sticky from now on; 0: it is not
	Bare       bool              // it is shown redacted, though nobody redacted it: its sender was erased
}

// Excerpt is some places of a room's timeline, with what the one who shows them knows already.
type Excerpt struct {
	Room   RoomNID
	Items  []Item
	Events map[int64]*Event // those of the items, as Events gives them in the same moment; nil: they are read
	Inside bool             // the viewer is in the room
}

// Render shows places of a room's timeline to a viewer: those that they may see, in the same order.
func (r *Rooms) Render(tx *store.Tx, v Viewer, room RoomNID, items []Item) ([]*ClientEvent, error) {
	return r.RenderExcerpt(tx, v, Excerpt{Room: room, Items: items})
}

// RenderExcerpt is Render for one who knows more.
func (r *Rooms) RenderExcerpt(tx *store.Tx, v Viewer, x Excerpt) ([]*ClientEvent, error) {
	find := r.sight
	if x.Inside {
		find = r.sightInside
	}
	look, err := find(tx, v, x.Room)
	if err != nil {
		return nil, err
	}
	return r.renderExcerpt(tx, v, x, look, look)
}

// render shows places as one sight lets them be seen, and what others say about them as another one does.
func (r *Rooms) render(tx *store.Tx, v Viewer, items []Item, look, others *sight) ([]*ClientEvent, error) {
	return r.renderExcerpt(tx, v, Excerpt{Items: items}, look, others)
}

func (r *Rooms) renderExcerpt(tx *store.Tx, v Viewer, x Excerpt, look, others *sight) ([]*ClientEvent, error) {
	events := x.Events
	if events == nil {
		nids := make([]int64, len(x.Items))
		for i, it := range x.Items {
			nids[i] = it.NID
		}
		var err error
		if events, err = r.Events(tx, nids); err != nil {
			return nil, err
		}
	}
	var out []*ClientEvent
	for _, it := range x.Items {
		e, ok := events[it.NID]
		if !ok {
			return nil, fmt.Errorf("the timeline of room %d names the event %d, which is not there", look.room, it.NID)
		}
		seen, membership, err := look.sees(e, it)
		if err != nil {
			return nil, err
		}
		if seen != rules.Hidden {
			out = append(out, &ClientEvent{Event: e, Seq: it.Seq, Membership: membership, Bare: seen == rules.RedactedOnly})
		}
	}
	if err := r.complete(tx, v, out); err != nil {
		return nil, err
	}
	return out, r.addBundles(tx, v, others, out)
}

// RenderState shows state events to a viewer who may read the room's state.
func (r *Rooms) RenderState(tx *store.Tx, v Viewer, nids []int64) ([]*ClientEvent, error) {
	events, err := r.Events(tx, nids)
	if err != nil {
		return nil, err
	}
	return r.RenderStateEvents(tx, v, nids, events)
}

// RenderStateEvents is RenderState of events that are read already.
func (r *Rooms) RenderStateEvents(tx *store.Tx, v Viewer, nids []int64, events map[int64]*Event) ([]*ClientEvent, error) {
	out := make([]*ClientEvent, 0, len(nids))
	for _, nid := range nids {
		if e, ok := events[nid]; ok {
			out = append(out, &ClientEvent{Event: e})
		}
	}
	return out, r.complete(tx, v, out)
}

// complete fills in what the viewer is told besides the events themselves.
func (r *Rooms) complete(tx *store.Tx, v Viewer, events []*ClientEvent) error {
	if err := r.addRelated(tx, events); err != nil {
		return err
	}
	now := r.now().UnixMilli()
	for _, e := range events {
		e.At = now
		e.Shown = e.Event.Event
		if e.Because != nil || e.Bare {
			e.Shown = e.Event.Event.Redact()
		}
		if v.Device != "" && e.Sender() == v.User && e.TxnDevice == v.Device {
			e.Txn = e.TxnID
		}
		if e.TxnDevice == "" && e.Sender() == v.User {
			e.Delay = e.TxnID
		}
	}
	return r.addSticky(tx, events, now)
}

// addRelated finds the events that others refer to in their unsigned part: the state event that was
// replaced, and the redaction.
func (r *Rooms) addRelated(tx *store.Tx, events []*ClientEvent) error {
	var replaced map[*ClientEvent]int64
	var wanted []int64
	for _, e := range events {
		if e.RedactedBy != 0 {
			wanted = append(wanted, e.RedactedBy)
		}
		if e.Tuple == 0 || e.SnapBefore == 0 {
			continue
		}
		before, err := r.states.Load(tx, e.SnapBefore)
		if err != nil {
			return err
		}
		if nid, ok := before.Event(e.Tuple); ok {
			if replaced == nil {
				replaced = make(map[*ClientEvent]int64)
			}
			replaced[e] = nid
			wanted = append(wanted, nid)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	related, err := r.Events(tx, wanted)
	if err != nil {
		return err
	}
	for _, e := range events {
		e.Because = related[e.RedactedBy]
		e.Prev = related[replaced[e]]
	}
	return nil
}
