package roomserver

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

// HierarchyQuery asks for a part of the rooms below a space.
type HierarchyQuery struct {
	Room      matrix.RoomID
	Suggested bool   // only children that are suggested
	Depth     int    // how far below the space
	Limit     int    // of rooms
	From      string // token of a part given before
}

// hierarchyMost bounds how many rooms one request looks at.
const hierarchyMost = 5000

// HierarchyRoom is a room below a space, with its own children.
type HierarchyRoom struct {
	RoomSummary
	Children []SpaceChild `json:"children_state"`
}

// SpaceChild is an m.space.child event as those see it who are not in the space.
type SpaceChild struct {
	Stripped
	OriginServerTS int64 `json:"origin_server_ts"`
}

// Hierarchy is a part of the rooms below a space.
type Hierarchy struct {
	Rooms []HierarchyRoom
	Next  string // token; empty: nothing more
}

// token says from which room on the next part goes, for the same question only.
func (q HierarchyQuery) token(from int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %t %d", q.Room, q.Suggested, q.Depth))
	return "h" + strconv.Itoa(from) + "_" + canonicaljson.Base64(sum[:6])
}

func (q HierarchyQuery) start() (int, error) {
	if q.From == "" {
		return 0, nil
	}
	number, _, _ := strings.Cut(strings.TrimPrefix(q.From, "h"), "_")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || q.token(n) != q.From {
		return 0, matrix.InvalidParam("from is not a token of this server for the same space, max_depth and suggested_only")
	}
	return n, nil
}

// Hierarchy walks over the rooms of this server that are below a space, depth first. Rooms that the user
// could not enter are left out, with what is below them.
//
// Spec: GET /_matrix/client/v1/rooms/{roomId}/hierarchy
func (r *Rooms) Hierarchy(ctx context.Context, user matrix.UserID, q HierarchyQuery) (*Hierarchy, error) {
	from, err := q.start()
	if err != nil {
		return nil, err
	}
	var out *Hierarchy
	err = r.db.View(ctx, func(tx *store.Tx) error {
		out = &Hierarchy{Rooms: []HierarchyRoom{}}
		w := &spaceWalk{r: r, tx: tx, user: user, q: q, seen: make(map[matrix.RoomID]bool)}
		if o, err := r.outside(tx, user, q.Room); err != nil {
			return err
		} else if o == nil {
			return matrix.Forbidden("you may not look into the room %s", q.Room)
		}
		w.waiting = []step{{room: q.Room}}
		for n := 0; ; n++ {
			room, err := w.next(n >= from)
			if err != nil || room == nil {
				return err
			}
			if n < from {
				continue
			}
			if len(out.Rooms) == q.Limit {
				out.Next = q.token(n)
				return nil
			}
			out.Rooms = append(out.Rooms, *room)
		}
	})
	return out, err
}

// spaceWalk goes over the rooms below a space, each once.
type spaceWalk struct {
	r       *Rooms
	tx      *store.Tx
	user    matrix.UserID
	q       HierarchyQuery
	seen    map[matrix.RoomID]bool
	waiting []step // the next one last
}

type step struct {
	room  matrix.RoomID
	depth int
}

// next finds the next room; nil: there is none. Unless it is to be shown it is left empty.
func (w *spaceWalk) next(show bool) (*HierarchyRoom, error) {
	for len(w.waiting) > 0 && len(w.seen) < hierarchyMost {
		at := w.waiting[len(w.waiting)-1]
		w.waiting = w.waiting[:len(w.waiting)-1]
		if w.seen[at.room] {
			continue
		}
		w.seen[at.room] = true
		o, err := w.r.outside(w.tx, w.user, at.room)
		if err != nil {
			return nil, err
		}
		if o == nil {
			continue
		}
		children, err := w.children(o)
		if err != nil {
			return nil, fmt.Errorf("read the children of the space %s: %w", at.room, err)
		}
		if at.depth < w.q.Depth {
			for _, c := range slices.Backward(children) {
				w.waiting = append(w.waiting, step{matrix.RoomID(c.StateKey), at.depth + 1})
			}
		}
		if !show {
			return &HierarchyRoom{}, nil
		}
		s, err := w.r.summary(w.tx, o)
		if err != nil {
			return nil, err
		}
		return &HierarchyRoom{RoomSummary: *s, Children: children}, nil
	}
	return nil, nil
}

// children finds the rooms that a space has, in their order. Other rooms have none.
//
// Spec: CS "Ordering of children within a space".
func (w *spaceWalk) children(o *outsider) ([]SpaceChild, error) {
	out := []SpaceChild{}
	create, err := w.r.StateEvent(w.tx, o.state, "m.room.create", "")
	if err != nil || create == nil || create.roomType() != "m.space" {
		return out, err
	}
	nids, err := w.r.typeNIDs(w.tx, o.head.Snap, "m.space.child")
	if err != nil {
		return out, err
	}
	events, err := w.r.Events(w.tx, nids)
	if err != nil {
		return out, err
	}
	var all []spaceChild
	for _, e := range events {
		if c, ok := readSpaceChild(e); ok && (c.suggested || !w.q.Suggested) {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, spaceChild.compare)
	for _, c := range all {
		out = append(out, c.SpaceChild)
	}
	return out, nil
}

// roomType is the type that a create event gives the room.
func (e *Event) roomType() string {
	value, _ := canonicaljson.Field(e.Content(), "type")
	tp, _ := canonicaljson.Text(value)
	return tp
}

// spaceChild is a child with what orders it.
type spaceChild struct {
	SpaceChild
	order     string // empty: none
	suggested bool
}

// readSpaceChild reads an m.space.child event; false: it names no child, or no more.
//
// Spec: CS m.space.child.
func readSpaceChild(e *Event) (spaceChild, bool) {
	key, _ := e.StateKey()
	if _, err := matrix.ParseRoomID(key); err != nil || e.RedactedBy != 0 {
		return spaceChild{}, false
	}
	var content struct {
		Via       []string        `json:"via"`
		Order     json.RawMessage `json:"order"`
		Suggested json.RawMessage `json:"suggested"`
	}
	if json.Unmarshal(e.Content(), &content) != nil || len(content.Via) == 0 {
		return spaceChild{}, false
	}
	c := spaceChild{suggested: string(content.Suggested) == "true"}
	if order, ok := canonicaljson.Text(content.Order); ok && validOrder(order) {
		c.order = order
	}
	c.SpaceChild = SpaceChild{
		Stripped:       Stripped{Content: e.Content(), Sender: e.Sender(), StateKey: key, Type: e.Type()},
		OriginServerTS: e.OriginServerTS(),
	}
	return c, true
}

// validOrder says whether a text may order a child: at most 50 printable ASCII characters.
func validOrder(s string) bool {
	return len(s) <= 50 && !strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c > 0x7e })
}

func (c spaceChild) compare(d spaceChild) int {
	if (c.order == "") != (d.order == "") {
		if c.order == "" {
			return 1
		}
		return -1
	}
	return cmp.Or(
		strings.Compare(c.order, d.order),
		cmp.Compare(c.OriginServerTS, d.OriginServerTS),
		strings.Compare(c.StateKey, d.StateKey),
	)
}
