package push

import (
	"encoding/json"
	"fmt"
	"sync/atomic"

	"astrocyte/account"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Count is how much deserves a user's attention.
type Count struct{ Notify, Highlight int64 }

// Unread is what a user has not read of a room, by thread.
type Unread struct {
	Main    Count
	Threads map[matrix.EventID]Count // those in which there is anything
}

// Total is what a user has not read of a room in all.
func (u Unread) Total() Count {
	all := u.Main
	for _, c := range u.Threads {
		all.Notify += c.Notify
		all.Highlight += c.Highlight
	}
	return all
}

// window bounds the events of a room that one counting looks at: the newest. Who has more to read in a room
// is told of these, and of what was counted before.
const window = 1000

// sumKey is a user in a room.
type sumKey struct {
	user matrix.UserID
	room roomserver.RoomNID
}

// sum is what was counted of a room up to a place. It is not changed once it is kept.
type sum struct {
	Seq    int64            `json:"seq"`   // of the newest event that is in it
	Rules  int64            `json:"rules"` // position of the rules by which it was counted
	Began  int64            `json:"began"` // position where the membership began
	Start  int64            `json:"start"` // the place of that
	Read   map[string]int64 `json:"read"`  // by thread: up to where it is read
	Counts map[string]Count `json:"counts"`

	kept int64        // Seq of what the database has
	at   atomic.Int64 // position up to which Rules, Began and Read are known to be so
}

// Known is what one who asks for counts knows of the user from memory, at the moment of the transaction.
type Known struct {
	Upto int64 // the position of the transaction
	// Changed says whether the user's rules or memberships may have changed after a position, and Read
	// whether the user may have read further.
	Changed func(since int64) bool
	Read    func(since int64) (bool, error)
	// Ignored are those whom the user wants to hear nothing of.
	Ignored map[matrix.UserID]bool
	// Newest gives the places of a room from its newest one down to those above a place, newest first, with
	// their events; false where they are not known.
	Newest func(room roomserver.RoomNID, above int64) ([]roomserver.Item, map[int64]*roomserver.Event, bool, error)
}

// counting is the work on the counts of one user, in one transaction.
type counting struct {
	p       *Push
	tx      *store.Tx
	user    matrix.UserID
	rules   *Evaluator
	pos     int64 // of the rules
	read    map[roomserver.RoomNID]map[string]int64
	ignored map[matrix.UserID]bool
	asked   bool                    // ignored is read
	threads map[matrix.RoomID]int64 // the newest change of subscriptions to threads
	known   *Known
}

// Counts counts what a user has not read of rooms that they are in, up to where the rooms are now. Of known,
// which may be nil, it asks before it reads.
func (p *Push) Counts(tx *store.Tx, user matrix.UserID, rooms []roomserver.Head, known *Known) (map[roomserver.RoomNID]Unread, error) {
	out := make(map[roomserver.RoomNID]Unread, len(rooms))
	if len(rooms) == 0 {
		return out, nil
	}
	c := &counting{p: p, tx: tx, user: user, known: known}
	if known != nil {
		c.ignored, c.asked = known.Ignored, true
	}
	nids := make([]roomserver.RoomNID, len(rooms))
	for i, r := range rooms {
		nids[i] = r.Room
	}
	b, err := c.basis(nids)
	if err != nil {
		return nil, err
	}
	if err := c.findThreads(rooms); err != nil {
		return nil, err
	}
	for _, r := range rooms {
		s, err := c.room(r, b.sums[r.Room], b.began[r.Room])
		if err != nil {
			return nil, fmt.Errorf("count what %s has not read of %s: %w", user, r.ID, err)
		}
		if known != nil {
			s.knownAt(known.Upto)
		}
		out[r.Room] = s.unread()
	}
	return out, nil
}

// basis is what counting begins with.
type basis struct {
	sums  map[roomserver.RoomNID]*sum  // what was counted before
	began map[roomserver.RoomNID]int64 // where the memberships began
}

// basis finds what counting begins with, from memory where nothing of it has changed.
func (c *counting) basis(rooms []roomserver.RoomNID) (b basis, err error) {
	if b, ok, err := c.recall(rooms); ok || err != nil {
		return b, err
	}
	if c.rules, c.pos, err = c.p.evaluator(c.tx, c.user); err != nil {
		return b, err
	}
	if c.read, err = c.p.readUpTo(c.tx, c.user, rooms); err != nil {
		return b, fmt.Errorf("read up to where %s has read: %w", c.user, err)
	}
	if b.sums, err = c.knownSums(rooms); err != nil {
		return b, err
	}
	b.began, err = c.memberships(rooms)
	return b, err
}

// recall finds in memory what counting begins with; false where it is not all there, or may have changed.
func (c *counting) recall(rooms []roomserver.RoomNID) (b basis, ok bool, err error) {
	if c.known == nil {
		return b, false, nil
	}
	b = basis{make(map[roomserver.RoomNID]*sum, len(rooms)), make(map[roomserver.RoomNID]int64, len(rooms))}
	c.read = make(map[roomserver.RoomNID]map[string]int64, len(rooms))
	for i, room := range rooms {
		s, found := c.p.sums.Get(sumKey{c.user, room})
		if !found {
			return b, false, nil
		}
		at := s.at.Load()
		if at == 0 || at > c.known.Upto || i > 0 && s.Rules != c.pos || c.known.Changed(at) {
			return b, false, nil
		}
		if more, err := c.known.Read(at); more || err != nil {
			return b, false, err
		}
		b.sums[room], b.began[room], c.read[room], c.pos = s, s.Began, s.Read, s.Rules
	}
	c.rules, ok = c.p.compiledAt(c.user, c.pos)
	return b, ok, nil
}

// knownAt notes that what the sum was counted by is so up to a position.
func (s *sum) knownAt(pos int64) {
	for {
		was := s.at.Load()
		if pos <= was || s.at.CompareAndSwap(was, pos) {
			return
		}
	}
}

func (s *sum) unread() Unread {
	u := Unread{Main: s.Counts[roomserver.MainThread]}
	for thread, c := range s.Counts {
		if thread != roomserver.MainThread && c.Notify > 0 {
			if u.Threads == nil {
				u.Threads = make(map[matrix.EventID]Count)
			}
			u.Threads[matrix.EventID(thread)] = c
		}
	}
	return u
}

// knownSums finds what was counted before, in memory or in the database.
func (c *counting) knownSums(rooms []roomserver.RoomNID) (map[roomserver.RoomNID]*sum, error) {
	known := make(map[roomserver.RoomNID]*sum, len(rooms))
	var missing []roomserver.RoomNID
	for _, room := range rooms {
		if s, ok := c.p.sums.Get(sumKey{c.user, room}); ok {
			known[room] = s
		} else {
			missing = append(missing, room)
		}
	}
	if len(missing) == 0 {
		return known, nil
	}
	err := eachSum(c.tx, c.user, missing, func(room roomserver.RoomNID, raw []byte) {
		s := new(sum)
		if json.Unmarshal(raw, s) == nil { // what cannot be read is counted anew
			s.kept = s.Seq
			known[room] = s
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read counts: %w", err)
	}
	return known, nil
}

// findThreads finds where subscriptions to threads changed last: what was counted before is counted anew.
func (c *counting) findThreads(rooms []roomserver.Head) error {
	if !c.p.threads {
		return nil
	}
	ids := make([]string, len(rooms))
	for i, r := range rooms {
		ids[i] = string(r.ID)
	}
	var err error
	if c.threads, err = newestSubscriptions(c.tx, c.user, ids); err != nil {
		return fmt.Errorf("read the threads of %s: %w", c.user, err)
	}
	return nil
}

// memberships finds since when the user is in the rooms.
func (c *counting) memberships(rooms []roomserver.RoomNID) (map[roomserver.RoomNID]int64, error) {
	began := make(map[roomserver.RoomNID]int64, len(rooms))
	all, err := c.p.rooms.UserRoomsIn(c.tx, c.user, rooms)
	if err != nil {
		return nil, fmt.Errorf("read memberships: %w", err)
	}
	for _, r := range all {
		began[r.Room] = r.Pos
	}
	return began, nil
}

// isIgnored says whether the user wants to hear nothing of another.
//
// Spec: CS "Ignoring Users".
func (c *counting) isIgnored(sender matrix.UserID) (bool, error) {
	if !c.asked {
		c.asked = true
		var err error
		if c.ignored, err = account.ReadIgnored(c.tx, c.user); err != nil {
			return false, err
		}
	}
	return c.ignored[sender], nil
}
