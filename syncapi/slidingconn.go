package syncapi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"astrocyte/lru"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

const (
	// connectionsMemory bounds the connections that are kept in memory, in bytes.
	connectionsMemory = 32 << 20
	// connectionsMost bounds those of one device: the one that was not used for longest gives way.
	connectionsMost = 20
	// connectionRooms bounds the rooms that a connection knows: those that left its view first are forgotten, and
	// told anew when they come back.
	connectionRooms = 10_000
	// answersMost bounds what is kept of answers of which is not known whether they arrived.
	answersMost = 32
	// connectionAge is how long a connection is kept that nobody uses.
	connectionAge = 30 * 24 * time.Hour
	// noteUse is how often it is noted that a connection is used.
	noteUse = 24 * time.Hour
)

// connection is what a client was told along one chain of positions: the rooms, and up to where. It is not
// changed once it is kept; an answer that changes it makes another generation.
type connection struct {
	identity   int64 // another one, where the client began anew
	generation int64
	rooms      map[roomserver.RoomNID]toldRoom
	wishes     []*wishes // what the rooms' index refers to
	used       int64     // milliseconds
}

// toldRoom is what a client was told of a room.
type toldRoom struct {
	upto   int64 // 0: the room was in view, and is told up to the position that the client shows; else up to here
	limit  int   // at least so many of its newest events are told without a gap
	wish   int   // index of what was asked of its state
	inside bool  // as one that the user is or was in; not as an invite or a knock
	dm     bool  // as a direct chat
}

// connectionKey names a connection of a device.
type connectionKey struct {
	user   matrix.UserID
	device matrix.DeviceID
	conn   string
}

// generationKey names what the client of a connection knows at some point.
type generationKey struct {
	connectionKey
	identity, generation int64
}

func newConnections() *lru.Cache[generationKey, *connection] {
	return lru.New[generationKey, *connection](connectionsMemory)
}

var errUnknownPos = matrix.E(matrix.CodeUnknownPos, "this position is not known (any more): begin anew without one").WithStatus(400)

// position is what a client shows of how far it is.
type position struct {
	Token
	identity, generation int64
	answer               int64 // which of the answers that led to the same moment
	devices              int64 // over sockets: messages to the device are told up to here
}

const positionPrefix = "p1_"

// String is the text that clients keep.
func (p position) String() string {
	b := append(make([]byte, 0, 80), positionPrefix...)
	for i, n := range []int64{p.Pos, p.Epoch, p.Typing, p.identity, p.generation, p.answer, p.devices} {
		if i > 0 {
			b = append(b, '_')
		}
		b = strconv.AppendInt(b, n, 36)
	}
	return string(b)
}

func parsePosition(s string) (position, error) {
	rest, ok := strings.CutPrefix(s, positionPrefix)
	if !ok {
		return position{}, errUnknownPos
	}
	var p position
	fields := strings.Split(rest, "_")
	into := []*int64{&p.Pos, &p.Epoch, &p.Typing, &p.identity, &p.generation, &p.answer, &p.devices}
	if len(fields) != len(into) {
		return position{}, errUnknownPos
	}
	for i, f := range fields {
		n, err := strconv.ParseInt(f, 36, 64)
		if err != nil || n < 0 || strconv.FormatInt(n, 36) != f {
			return position{}, errUnknownPos
		}
		*into[i] = n
	}
	return p, nil
}

// link is the position as the memory of what members were told knows it: of answers that led to the same
// moment each has its own.
func (p position) link() Token {
	return Token{Pos: p.Pos, Epoch: p.Epoch, Typing: p.Typing, ToDevice: p.answer}
}

// openConnection finds what the client knows.
func (a *API) openConnection(tx *store.Tx, key connectionKey, p position) (*connection, error) {
	g := generationKey{key, p.identity, p.generation}
	if c, ok := a.connections.Get(g); ok {
		there, err := connectionThere(tx, g) // it may have been replaced, here or on another node
		if err != nil {
			return nil, fmt.Errorf("look for a connection of %s: %w", key.user, err)
		}
		if !there {
			return nil, errUnknownPos
		}
		return c, nil
	}
	c, err := readConnection(tx, g)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read a connection of %s: %w", key.user, err)
	case c == nil:
		return nil, errUnknownPos
	}
	a.connections.Put(g, c, c.cost())
	return c, nil
}

func (c *connection) cost() int64 { return int64(64*len(c.rooms) + 400*len(c.wishes) + 300) }

// keepConnection stores what a client will know that got an answer which follows a generation, and forgets what came
// before the one that it is known to have; 0: none.
func (a *API) keepConnection(ctx context.Context, key connectionKey, has, from int64, c *connection) error {
	now := a.now()
	c.generation, c.used = max(from+1, now.UnixMicro()), now.UnixMilli()
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		if err := dropConnections(tx, key, has, c.identity); err != nil {
			return err
		}
		return writeConnection(tx, key, c)
	})
	if err != nil {
		return fmt.Errorf("keep a connection of %s: %w", key.user, err)
	}
	a.connections.Put(generationKey{key, c.identity, c.generation}, c, c.cost())
	return nil
}

// noteUsed notes now and then that a connection is used that does not change.
func (a *API) noteUsed(ctx context.Context, key connectionKey, c *connection) {
	now := a.now().UnixMilli()
	if now-c.used < noteUse.Milliseconds() {
		return
	}
	used := *c
	used.used = now
	err := a.db.Update(ctx, func(tx *store.Tx) error { return touchConnection(tx, key, c.generation, now) })
	if err != nil && ctx.Err() == nil {
		a.log.Warn("note the use of a connection", "user", key.user, "error", err)
		return
	}
	a.connections.Put(generationKey{key, c.identity, c.generation}, &used, used.cost())
}

// newIdentity names a connection that begins.
func newIdentity() int64 { return rand.Int64N(1<<50) + 1 }

// wishIndex finds the index of wishes, and adds them where they are new.
func (c *connection) wishIndex(w *wishes) int {
	i := slices.IndexFunc(c.wishes, func(o *wishes) bool { return o.key == w.key })
	if i < 0 {
		i = len(c.wishes)
		c.wishes = append(c.wishes, w)
	}
	return i
}

// next makes the connection that follows by changes; itself, where there are none.
func (c *connection) next(changes map[roomserver.RoomNID]toldRoom, wishes []*wishes) *connection {
	if len(changes) == 0 {
		return c
	}
	n := &connection{identity: c.identity, rooms: maps.Clone(c.rooms), wishes: wishes}
	maps.Copy(n.rooms, changes)
	n.shrink()
	n.dropWishes()
	return n
}

// shrink forgets the rooms that left the view first, where there are too many.
func (c *connection) shrink() {
	over := len(c.rooms) - connectionRooms
	if over <= 0 {
		return
	}
	var gone []int64
	for _, t := range c.rooms {
		if t.upto > 0 {
			gone = append(gone, t.upto)
		}
	}
	slices.Sort(gone)
	if len(gone) == 0 {
		return
	}
	last := gone[min(over, len(gone))-1]
	for room, t := range c.rooms {
		if t.upto > 0 && t.upto <= last {
			delete(c.rooms, room)
		}
	}
}

// dropWishes forgets wishes that no room refers to any more.
func (c *connection) dropWishes() {
	place := make(map[int]int)
	var kept []*wishes
	for room, t := range c.rooms {
		i, ok := place[t.wish]
		if !ok {
			i = len(kept)
			place[t.wish] = i
			kept = append(kept, c.wishes[t.wish])
		}
		t.wish = i
		c.rooms[room] = t
	}
	c.wishes = kept
}

var errConnection = errors.New("a stored connection cannot be read")

// encodeConnection writes what a connection was told: the wishes, then the rooms by nid.
func encodeConnection(c *connection) []byte {
	b := binary.AppendUvarint(nil, uint64(len(c.wishes)))
	for _, w := range c.wishes {
		b = binary.AppendUvarint(b, uint64(len(w.key)))
		b = append(b, w.key...)
	}
	var last int64
	for _, room := range slices.Sorted(maps.Keys(c.rooms)) {
		t := c.rooms[room]
		flags := uint64(0)
		if t.inside {
			flags |= 1
		}
		if t.dm {
			flags |= 2
		}
		b = binary.AppendUvarint(b, uint64(int64(room)-last))
		for _, n := range []uint64{uint64(t.upto), uint64(t.limit), uint64(t.wish), flags} {
			b = binary.AppendUvarint(b, n)
		}
		last = int64(room)
	}
	return b
}

// decodeConnection reads what encodeConnection wrote.
func decodeConnection(in []byte) (*connection, error) {
	c := &connection{rooms: make(map[roomserver.RoomNID]toldRoom)}
	bad := false
	number := func() uint64 {
		n, used := binary.Uvarint(in)
		if used <= 0 {
			in, bad = nil, true
			return 0
		}
		in = in[used:]
		return n
	}
	for range min(number(), 1<<16) {
		n := number()
		if bad || n > uint64(len(in)) {
			return nil, errConnection
		}
		w, err := parseWishes(string(in[:n]))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errConnection, err)
		}
		c.wishes, in = append(c.wishes, w), in[n:]
	}
	var room int64
	for len(in) > 0 {
		room += int64(number())
		t := toldRoom{upto: int64(number()), limit: int(number()), wish: int(number())}
		flags := number()
		t.inside, t.dm = flags&1 != 0, flags&2 != 0
		if t.wish >= len(c.wishes) {
			bad = true
		}
		if bad {
			return nil, errConnection
		}
		c.rooms[roomserver.RoomNID(room)] = t
	}
	if bad {
		return nil, errConnection
	}
	return c, nil
}
