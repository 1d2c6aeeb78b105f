package push

import (
	"fmt"
	"maps"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
)

// room brings the sum of a room up to date.
func (c *counting) room(head roomserver.Head, old *sum, began int64) (*sum, error) {
	read := c.read[head.Room]
	asOf := max(c.pos, c.threads[head.ID])
	if old != nil && old.Rules == asOf && old.Began == began {
		if old.Seq > head.Seq { // another device of the user was served a moment later
			return old, nil
		}
		if old.Seq == head.Seq && maps.Equal(old.Read, read) {
			c.p.sums.Put(sumKey{c.user, head.Room}, old, 1)
			return old, nil
		}
		s, ok, err := c.advance(head, old, read)
		if err != nil || ok {
			return s, err
		}
	}
	start := int64(0)
	if at, found, err := c.p.rooms.At(c.tx, head.Room, began); err != nil {
		return nil, fmt.Errorf("find the place where the membership began: %w", err)
	} else if found {
		start = at.Seq
	}
	s := &sum{Rules: asOf, Began: began, Start: start, Read: read, Counts: make(map[string]Count)}
	if old != nil {
		s.kept = old.kept
	}
	from := s.place("") // what is before is read in every thread
	return c.keep(head, s, c.add(head, s, from, head.Seq, nil))
}

// keep remembers the sum of a room as it is now, if err is nil.
func (c *counting) keep(head roomserver.Head, s *sum, err error) (*sum, error) {
	if err != nil {
		return nil, err
	}
	s.Seq = head.Seq
	c.p.remember(sumKey{c.user, head.Room}, s)
	return s, nil
}

// place is up to where a thread is read.
func (s *sum) place(thread string) int64 { return max(s.Start, s.Read[""], s.Read[thread]) }

// advance makes a sum from an older one: what was read since is taken out, what came since is added. It
// gives false where all has to be counted anew.
func (c *counting) advance(head roomserver.Head, old *sum, read map[string]int64) (*sum, bool, error) {
	s := &sum{Rules: old.Rules, Began: old.Began, Start: old.Start, Read: read, Counts: maps.Clone(old.Counts), kept: old.kept}
	if s.Counts == nil {
		s.Counts = make(map[string]Count)
	}
	changed := make(map[string]bool)
	from := old.Seq
	for thread := range old.Counts {
		switch was, is := old.place(thread), s.place(thread); {
		case is < was:
			return nil, false, nil
		case is > was:
			changed[thread] = true
			delete(s.Counts, thread)
			from = min(from, is)
		}
	}
	if from < old.Seq {
		if err := c.add(head, s, from, old.Seq, changed); err != nil {
			return nil, false, err
		}
	}
	if head.Seq == old.Seq {
		s, err := c.keep(head, s, nil)
		return s, true, err
	}
	redacts, err := c.scan(head, s, old.Seq, head.Seq, nil)
	if err != nil || redacts && len(s.Counts) > 0 {
		return nil, false, err
	}
	s, err = c.keep(head, s, nil)
	return s, true, err
}

func (c *counting) add(head roomserver.Head, s *sum, above, upto int64, only map[string]bool) error {
	_, err := c.scan(head, s, above, upto, only)
	return err
}

// scan adds the events above one place up to another: those of some threads only, where only is not nil.
// redacts says that there is a redaction among them.
func (c *counting) scan(head roomserver.Head, s *sum, above, upto int64, only map[string]bool) (redacts bool, err error) {
	if above >= upto {
		return false, nil
	}
	items, events, err := c.between(head, above, upto)
	if err != nil {
		return false, err
	}
	facts := c.facts(head)
	for _, it := range slices.Backward(items) {
		e, ok := events[it.NID]
		if !ok || it.Pos == 0 { // history that was fetched later is news to nobody
			continue
		}
		redacts = redacts || e.Type() == "m.room.redaction"
		if err := c.weigh(s, it, e, facts, only); err != nil {
			return false, err
		}
	}
	return redacts, facts.err
}

// between gives the places above one up to another, newest first, and their events: no more than the window.
func (c *counting) between(head roomserver.Head, above, upto int64) ([]roomserver.Item, map[int64]*roomserver.Event, error) {
	if c.known != nil && upto == head.Seq {
		items, events, ok, err := c.known.Newest(head.Room, above)
		if ok || err != nil {
			return items, events, err
		}
	}
	items, err := c.p.rooms.Before(c.tx, head.Room, upto+1, int(min(window, upto-above)))
	if err != nil {
		return nil, nil, fmt.Errorf("read the timeline: %w", err)
	}
	if i := slices.IndexFunc(items, func(it roomserver.Item) bool { return it.Seq <= above }); i >= 0 {
		items = items[:i]
	}
	nids := make([]int64, len(items))
	for i, it := range items {
		nids[i] = it.NID
	}
	events, err := c.p.rooms.Events(c.tx, nids)
	if err != nil {
		return nil, nil, fmt.Errorf("read events: %w", err)
	}
	return items, events, nil
}

// weigh adds one event. What the user says themself shows that they have read the thread up to there.
func (c *counting) weigh(s *sum, it roomserver.Item, e *roomserver.Event, facts *roomFacts, only map[string]bool) error {
	own := e.Sender() == c.user
	if own && e.Tuple != 0 || e.RedactedBy != 0 {
		return nil
	}
	var o Outcome
	if !own {
		if o = c.rules.Evaluate(About(e.Event), &facts.Facts); !o.Notify {
			return nil
		}
		if ignored, err := c.isIgnored(e.Sender()); err != nil || ignored {
			return err
		}
	}
	thread, err := c.p.rooms.ThreadOf(c.tx, e)
	if err != nil {
		return err
	}
	if only != nil && !only[thread] {
		return nil
	}
	if own {
		delete(s.Counts, thread)
		return nil
	}
	if it.Seq > s.place(thread) {
		n := s.Counts[thread]
		n.Notify++
		if o.Highlight {
			n.Highlight++
		}
		s.Counts[thread] = n
	}
	return nil
}

// roomFacts are the facts of a room, read when they are asked for.
type roomFacts struct {
	Facts
	err error
}

// facts are those of the room as it is now: at each event they may have been others, which is nothing that
// anybody would notice.
func (c *counting) facts(head roomserver.Head) *roomFacts {
	f := &roomFacts{Facts: Facts{Members: head.Joined}}
	var levels *rules.PowerLevels
	f.MayNotify = func(sender matrix.UserID, kind string) bool {
		if levels == nil && f.err == nil {
			levels, f.err = c.levels(head)
		}
		return f.err == nil && levels.User(sender).AtLeast(levels.Notifications(kind))
	}
	if c.p.threads {
		f.Subscribed = c.subscribed(head, f)
	}
	if c.rules.namesUser() {
		f.DisplayName, f.err = c.nameIn(head)
	}
	return f
}

// subscribed tells which threads of a room the user is subscribed to, which is read when it is asked for.
func (c *counting) subscribed(head roomserver.Head, f *roomFacts) func(matrix.EventID) bool {
	var threads map[matrix.EventID]bool
	return func(thread matrix.EventID) bool {
		if threads == nil && f.err == nil {
			threads, f.err = subscribedIn(c.tx, c.user, head.ID)
		}
		return threads[thread]
	}
}

// stateEvent reads an event of the room's state; nil if there is none.
func (c *counting) stateEvent(head roomserver.Head, tp, key string) (*rules.Event, error) {
	st, err := c.p.rooms.State(c.tx, head.Snap)
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	e, err := c.p.rooms.StateEvent(c.tx, st, tp, key)
	if err != nil || e == nil {
		return nil, err
	}
	return e.Event, nil
}

func (c *counting) levels(head roomserver.Head) (*rules.PowerLevels, error) {
	create, err := c.stateEvent(head, "m.room.create", "")
	if err != nil {
		return nil, err
	}
	levels, err := c.stateEvent(head, "m.room.power_levels", "")
	if err != nil {
		return nil, err
	}
	return rules.Levels(create, levels), nil
}

func (c *counting) nameIn(head roomserver.Head) (string, error) {
	member, err := c.stateEvent(head, "m.room.member", string(c.user))
	if err != nil || member == nil {
		return "", err
	}
	return member.MemberContent().DisplayName, nil
}

// remember keeps a sum in memory, and sometimes has it written: not for every event, since what is not
// written is counted again.
func (p *Push) remember(key sumKey, s *sum) {
	const worthWriting = 50 // events
	write := s.Seq-s.kept >= worthWriting
	if write {
		s.kept = s.Seq
	}
	p.sums.Put(key, s, 1)
	if !write {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.dirty) < dirtyMost {
		p.dirty[key] = s
	}
}
