package push

import (
	"encoding/json"
	"fmt"

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

	kept int64 // Seq of what the database has
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
	asked   bool // ignored is read
}

// Counts counts what a user has not read of rooms that they are in, up to where the rooms are now.
func (p *Push) Counts(tx *store.Tx, user matrix.UserID, rooms []roomserver.Head) (map[roomserver.RoomNID]Unread, error) {
	out := make(map[roomserver.RoomNID]Unread, len(rooms))
	if len(rooms) == 0 {
		return out, nil
	}
	c := &counting{p: p, tx: tx, user: user}
	var err error
	if c.rules, c.pos, err = p.evaluator(tx, user); err != nil {
		return nil, err
	}
	nids := make([]roomserver.RoomNID, len(rooms))
	for i, r := range rooms {
		nids[i] = r.Room
	}
	if c.read, err = p.readUpTo(tx, user, nids); err != nil {
		return nil, fmt.Errorf("read up to where %s has read: %w", user, err)
	}
	sums, err := c.knownSums(nids)
	if err != nil {
		return nil, err
	}
	began, err := c.memberships(nids)
	if err != nil {
		return nil, err
	}
	for _, r := range rooms {
		s, err := c.room(r, sums[r.Room], began[r.Room])
		if err != nil {
			return nil, fmt.Errorf("count what %s has not read of %s: %w", user, r.ID, err)
		}
		out[r.Room] = s.unread()
	}
	return out, nil
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

// memberships finds since when the user is in the rooms.
func (c *counting) memberships(rooms []roomserver.RoomNID) (map[roomserver.RoomNID]int64, error) {
	const few = 8
	began := make(map[roomserver.RoomNID]int64, len(rooms))
	if len(rooms) > few {
		all, err := c.p.rooms.UserRooms(c.tx, c.user)
		if err != nil {
			return nil, fmt.Errorf("read memberships: %w", err)
		}
		for _, r := range all {
			began[r.Room] = r.Pos
		}
		return began, nil
	}
	for _, room := range rooms {
		r, _, err := c.p.rooms.UserRoom(c.tx, c.user, room)
		if err != nil {
			return nil, fmt.Errorf("read a membership: %w", err)
		}
		began[room] = r.Pos
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
