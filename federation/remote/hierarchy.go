package remote

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver"
)

// HierarchyQuery asks for a part of the rooms below a space.
type HierarchyQuery struct {
	Room      matrix.RoomID
	Suggested bool   // only children that are suggested
	Depth     int    // how far below the space
	Limit     int    // of rooms
	From      string // token of a part given before
	Via       []matrix.ServerName
	Here      bool // no other server is asked
}

const (
	// hierarchyMost bounds how many rooms one request looks at, asksMost of how many it asks other servers, and
	// hierarchyTime how long it asks.
	hierarchyMost = 5000
	asksMost      = 100
	hierarchyTime = 30 * time.Second
	// askTime is how long one server may take, and viaMost how many are asked of the same room.
	askTime = 10 * time.Second
	viaMost = 3
	// spaceKept is how long what another server told of a space is told again.
	spaceKept = 2 * time.Minute
	maxSpace  = 1 << 20
)

// Hierarchy is a part of the rooms below a space.
type Hierarchy struct {
	Rooms []roomserver.HierarchyRoom
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

// Hierarchy walks over the rooms that are below a space, depth first: those in which this server is, and others as
// their servers tell of them. Rooms that the user could not enter are left out, with what is below them.
//
// Spec: GET /_matrix/client/v1/rooms/{roomId}/hierarchy
func (r *Remote) Hierarchy(ctx context.Context, user matrix.UserID, q HierarchyQuery) (*Hierarchy, error) {
	from, err := q.start()
	if err != nil {
		return nil, err
	}
	asking, cancel := context.WithTimeout(ctx, hierarchyTime)
	defer cancel()
	w := &spaceWalk{
		r: r, user: user, q: q, asking: asking, asks: asksMost,
		waiting: []spaceStep{{room: q.Room, via: q.Via}}, seen: make(map[matrix.RoomID]bool), told: make(map[matrix.RoomID]*roomserver.HierarchyRoom),
	}
	if q.Here {
		w.asks = 0
	}
	out := &Hierarchy{Rooms: []roomserver.HierarchyRoom{}}
	for n := 0; ; n++ {
		room, err := w.next(ctx)
		if err != nil {
			return nil, err
		}
		if room == nil {
			if n == 0 {
				return nil, matrix.Forbidden("you may not look into the room %s", q.Room)
			}
			return out, nil
		}
		if n < from {
			continue
		}
		if len(out.Rooms) == q.Limit {
			out.Next = q.token(n)
			return out, nil
		}
		out.Rooms = append(out.Rooms, *room)
	}
}

// spaceWalk goes over the rooms below a space, each once.
type spaceWalk struct {
	r       *Remote
	user    matrix.UserID
	q       HierarchyQuery
	asking  context.Context // as long as other servers may be asked
	asks    int             // how often they still may be
	seen    map[matrix.RoomID]bool
	waiting []spaceStep // the next one last
	// told are rooms of which other servers told with their space; nil: nobody may know of it.
	told map[matrix.RoomID]*roomserver.HierarchyRoom
}

type spaceStep struct {
	room  matrix.RoomID
	depth int
	via   []matrix.ServerName
}

// next finds the next room; nil: there is none.
func (w *spaceWalk) next(ctx context.Context) (*roomserver.HierarchyRoom, error) {
	for len(w.waiting) > 0 && len(w.seen) < hierarchyMost {
		at := w.waiting[len(w.waiting)-1]
		w.waiting = w.waiting[:len(w.waiting)-1]
		if w.seen[at.room] {
			continue
		}
		w.seen[at.room] = true
		room, err := w.look(ctx, at)
		if err != nil {
			return nil, err
		}
		if room == nil {
			continue
		}
		if at.depth < w.q.Depth {
			for _, c := range slices.Backward(room.Children) {
				w.waiting = append(w.waiting, spaceStep{matrix.RoomID(c.StateKey), at.depth + 1, c.Via()})
			}
		}
		return room, nil
	}
	return nil, nil
}

// look finds a room here or elsewhere; nil: the user may not know of it.
func (w *spaceWalk) look(ctx context.Context, at spaceStep) (*roomserver.HierarchyRoom, error) {
	room, here, err := w.r.rooms.SpaceRoom(ctx, w.user, at.room, w.q.Suggested)
	if err != nil || here {
		return room, err
	}
	room = w.elsewhere(at)
	if room == nil {
		return nil, nil
	}
	f, err := w.r.rooms.Foreign(ctx, w.user, &room.RoomSummary)
	if err != nil || !f.May {
		return nil, err
	}
	return room, nil
}

// elsewhere finds a room in which this server is not: as it was told with its space, or by asking. A space must
// be asked for, since its children were not told.
func (w *spaceWalk) elsewhere(at spaceStep) *roomserver.HierarchyRoom {
	told, was := w.told[at.room]
	if was && (told == nil || told.RoomType != "m.space" || at.depth >= w.q.Depth) {
		return told
	}
	if w.asks == 0 {
		return told
	}
	w.asks--
	answer := w.r.askSpace(w.asking, at.room, at.via, w.q.Suggested)
	if answer == nil {
		return told
	}
	for _, s := range answer.Children {
		w.told[s.RoomID] = &roomserver.HierarchyRoom{RoomSummary: s, Children: []roomserver.SpaceChild{}}
	}
	for _, id := range answer.Inaccessible {
		if w.told[id] == nil {
			w.told[id] = nil
		}
	}
	return &answer.Room
}

// spaceKey is what another server is asked.
type spaceKey struct {
	room      matrix.RoomID
	suggested bool
}

// toldSpace is what it answered, and until when that is told again.
type toldSpace struct {
	*roomserver.SpaceForServer
	until time.Time
}

// askSpace asks servers for a room until one tells of it; nil: none does.
func (r *Remote) askSpace(ctx context.Context, room matrix.RoomID, via []matrix.ServerName, suggested bool) *roomserver.SpaceForServer {
	key := spaceKey{room, suggested}
	if known, ok := r.spaces.Get(key); ok && r.now().Before(known.until) {
		return known.SpaceForServer
	}
	asked := 0
	for _, server := range r.withServerOf(room, via) {
		if asked++; asked > viaMost || ctx.Err() != nil {
			break
		}
		answer, size, err := r.askSpaceAt(ctx, server, room, suggested)
		if err != nil {
			r.log.Debug("a server does not tell of a room", "server", server, "room", room, "error", err)
			continue
		}
		r.spaces.Put(key, toldSpace{answer, r.now().Add(spaceKept)}, int64(size))
		return answer
	}
	return nil
}

// withServerOf lists the servers to ask of a room: those that are named, and the one in its id, but not this one.
func (r *Remote) withServerOf(room matrix.RoomID, via []matrix.ServerName) []matrix.ServerName {
	var all []matrix.ServerName
	for _, s := range append(slices.Clone(via), room.Server()) {
		if s != "" && s != r.server && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

func (r *Remote) askSpaceAt(ctx context.Context, server matrix.ServerName, room matrix.RoomID, suggested bool) (*roomserver.SpaceForServer, int, error) {
	var raw json.RawMessage
	request := peer.Request{
		Method: "GET", Path: peer.Path("/_matrix/federation/v1/hierarchy", string(room)), Into: &raw, Limit: maxSpace, Timeout: askTime,
	}
	if suggested {
		request.Query = map[string][]string{"suggested_only": {"true"}}
	}
	if err := r.client.Do(ctx, server, request); err != nil {
		return nil, 0, err
	}
	answer, err := readSpace(raw, room, suggested)
	return answer, len(raw), err
}

// readSpace checks what another server tells of a space. Children that make no sense are left out.
func readSpace(raw []byte, room matrix.RoomID, suggested bool) (*roomserver.SpaceForServer, error) {
	var said struct {
		Room         roomserver.HierarchyRoom `json:"room"`
		Children     []json.RawMessage        `json:"children"`
		Inaccessible []matrix.RoomID          `json:"inaccessible_children"`
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		return nil, err
	}
	if said.Room.RoomID != room {
		return nil, fmt.Errorf("it tells of the room %q", said.Room.RoomID)
	}
	out := &roomserver.SpaceForServer{Room: said.Room, Inaccessible: said.Inaccessible}
	out.Room.Children = roomserver.OrderChildren(said.Room.Children, suggested)
	for _, raw := range said.Children {
		var s roomserver.RoomSummary
		if json.Unmarshal(raw, &s) != nil {
			continue
		}
		isChild := func(c roomserver.SpaceChild) bool { return c.StateKey == string(s.RoomID) }
		if slices.ContainsFunc(out.Room.Children, isChild) {
			out.Children = append(out.Children, s)
		}
	}
	return out, nil
}

// Summary sums up a room in which this server is not, for a user or for nobody, and tells the user's membership.
//
// Spec: GET /_matrix/client/v1/room_summary/{roomIdOrAlias}
func (r *Remote) Summary(ctx context.Context, user matrix.UserID, room matrix.RoomID, via []matrix.ServerName) (*roomserver.RoomSummary, matrix.Membership, error) {
	answer := r.askSpace(ctx, room, via, false)
	unknown := matrix.NotFound("there is no room %s that you may know of", room)
	if answer == nil {
		return nil, "", unknown
	}
	f, err := r.rooms.Foreign(ctx, user, &answer.Room.RoomSummary)
	if err != nil {
		return nil, "", err
	}
	if !f.May {
		return nil, "", unknown
	}
	return &answer.Room.RoomSummary, f.Membership, nil
}
