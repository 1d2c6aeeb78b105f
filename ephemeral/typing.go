package ephemeral

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/store"
)

const (
	typingTick    = 100 * time.Millisecond
	maxTyping     = 2 * time.Minute  // of what a client may ask
	usualTyping   = 30 * time.Second // where it does not say
	typingGrace   = 5 * time.Second  // before other nodes take somebody for silent who did not say so
	maxTypers     = 200              // in a room at a time; there is no telling more apart
	maxTypingLog  = 4096             // changes that are remembered in their order
	keepTypedRoom = 10 * time.Minute // how long a room is remembered in which nobody types any more
)

// typing is who types where, as far as this node has heard.
type typing struct {
	sub   *bus.Subscription
	now   func() time.Time
	epoch int64

	mu     sync.Mutex
	serial int64
	rooms  map[matrix.RoomID]*typingRoom
	log    []typingChange // the newest changes, in order
}

// typingRoom is a room in which somebody types or just did.
type typingRoom struct {
	serial int64 // of the newest change
	users  map[matrix.UserID]typer
	quiet  time.Time // when nobody was left
}

type typer struct {
	until time.Time
	here  bool // told to this node, which tells the others of the end
}

type typingChange struct {
	serial int64
	room   matrix.RoomID
}

// typingNote is what goes over the bus: one user who types for a while, or not any more.
type typingNote struct {
	Node int64         `json:"node"` // the epoch of the one who tells
	User matrix.UserID `json:"user"`
	For  int64         `json:"for"` // milliseconds; 0: stopped
}

func newTyping(sub *bus.Subscription, now func() time.Time, epoch int64) *typing {
	return &typing{serial: 1, sub: sub, now: now, epoch: epoch, rooms: make(map[matrix.RoomID]*typingRoom)}
}

// SetTyping says that a user types in a room for some time, or has stopped.
//
// Spec: PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}
func (e *Ephemeral) SetTyping(ctx context.Context, user matrix.UserID, room matrix.RoomID, types bool, timeout time.Duration) error {
	err := e.db.View(ctx, func(tx *store.Tx) error {
		_, err := e.member(tx, user, room)
		return err
	})
	if err != nil {
		return err
	}
	e.Acted(ctx, user)
	e.tellTyping(ctx, user, room, types)
	return e.NoteTyping(ctx, user, room, types, timeout)
}

// NoteTyping is SetTyping for a user whose membership the caller knows of, such as one of another server.
func (e *Ephemeral) NoteTyping(ctx context.Context, user matrix.UserID, room matrix.RoomID, types bool, timeout time.Duration) error {
	switch {
	case !types:
		timeout = 0
	case timeout <= 0:
		timeout = usualTyping
	}
	note := typingNote{Node: e.typing.epoch, User: user, For: min(timeout, maxTyping).Milliseconds()}
	told, err := json.Marshal(note)
	if err != nil {
		return fmt.Errorf("write a note of typing: %w", err)
	}
	e.bus.Publish(ctx, bus.Change{Kind: bus.Typing, Key: string(room), Data: told})
	e.typing.mu.Lock()
	defer e.typing.mu.Unlock()
	e.typing.drain()
	return nil
}

// drain applies what the bus has told. The lock is held.
func (t *typing) drain() {
	for {
		select {
		case c := <-t.sub.C:
			var note typingNote
			if c.Kind == bus.Typing && json.Unmarshal(c.Data, &note) == nil {
				t.apply(matrix.RoomID(c.Key), note)
			}
		default:
			return
		}
	}
}

func (t *typing) apply(room matrix.RoomID, note typingNote) {
	r := t.rooms[room]
	if r == nil {
		if note.For <= 0 {
			return
		}
		r = &typingRoom{users: make(map[matrix.UserID]typer)}
		t.rooms[room] = r
	}
	_, typed := r.users[note.User]
	if note.For <= 0 {
		if typed {
			t.remove(room, r, note.User)
		}
		return
	}
	if !typed && len(r.users) >= maxTypers {
		return
	}
	until, here := t.now().Add(time.Duration(note.For)*time.Millisecond), note.Node == t.epoch
	if !here {
		until = until.Add(typingGrace)
	}
	r.users[note.User] = typer{until, here}
	if !typed {
		t.changed(room, r)
	}
}

func (t *typing) remove(room matrix.RoomID, r *typingRoom, user matrix.UserID) {
	if delete(r.users, user); len(r.users) == 0 {
		r.quiet = t.now()
	}
	t.changed(room, r)
}

func (t *typing) changed(room matrix.RoomID, r *typingRoom) {
	t.serial = max(t.serial+1, serialOf(time.Duration(t.now().UnixNano())))
	r.serial = t.serial
	if len(t.log) >= maxTypingLog {
		t.log = slices.Delete(t.log, 0, maxTypingLog/2)
	}
	t.log = append(t.log, typingChange{t.serial, room})
}

// expireTyping ends what is over. The node that was told of somebody tells the others.
func (e *Ephemeral) expireTyping(ctx context.Context) {
	for _, it := range e.typing.expire() {
		e.bus.Publish(ctx, it.told)
		e.tellTyping(ctx, it.user, matrix.RoomID(it.told.Key), false)
	}
}

// overTyping is the end of somebody's typing, as the other nodes are told it.
type overTyping struct {
	user matrix.UserID
	told bus.Change
}

func (t *typing) expire() []overTyping {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drain()
	now := t.now()
	var over []overTyping
	for room, r := range t.rooms {
		if len(r.users) == 0 && now.Sub(r.quiet) > keepTypedRoom {
			delete(t.rooms, room)
		}
		for user, typer := range r.users {
			if typer.until.After(now) {
				continue
			}
			t.remove(room, r, user)
			if !typer.here {
				continue
			}
			if told, err := json.Marshal(typingNote{Node: t.epoch, User: user}); err == nil {
				over = append(over, overTyping{user, bus.Change{Kind: bus.Typing, Key: string(room), Data: told}})
			}
		}
	}
	return over
}

// TypingMark is a moment in the changes of typing. Epoch tells the nodes apart, and one before and after a
// restart: with a mark of another, changes shortly before it are told again. The zero value is before all.
type TypingMark struct{ Epoch, Serial int64 }

// serialOf makes serials follow the time, so that a mark means something to other nodes too.
func serialOf(t time.Duration) int64 { return t.Microseconds() }

// clockSkew is how far the clocks of nodes, and what they have heard, may be apart.
const clockSkew = time.Second

// TypingSince lists who types in the rooms of which that changed after the mark; after the first mark, in
// all where anybody does. in says which rooms are wanted; it is not asked about rooms where nothing changed.
func (e *Ephemeral) TypingSince(in func(matrix.RoomID) bool, since TypingMark) (map[matrix.RoomID][]matrix.UserID, TypingMark) {
	t := e.typing
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drain()
	out := make(map[matrix.RoomID][]matrix.UserID)
	known := since.Epoch != 0
	if since.Epoch != t.epoch {
		since.Serial = max(since.Serial-serialOf(clockSkew), 0)
	}
	add := func(room matrix.RoomID, r *typingRoom) {
		if _, done := out[room]; !done && in(room) {
			out[room] = r.list()
		}
	}
	if known && len(t.log) > 0 && t.log[0].serial <= since.Serial+1 {
		i, _ := slices.BinarySearchFunc(t.log, since.Serial+1, func(c typingChange, s int64) int { return int(c.serial - s) })
		for _, c := range t.log[i:] {
			if r := t.rooms[c.room]; r != nil {
				add(c.room, r)
			}
		}
	} else if since.Serial < t.serial {
		for room, r := range t.rooms {
			if r.serial > since.Serial && (known || len(r.users) > 0) {
				add(room, r)
			}
		}
	}
	t.serial = max(t.serial, serialOf(time.Duration(t.now().UnixNano()))) // the next change is after this mark
	return out, TypingMark{t.epoch, t.serial}
}

// list is who types, in an order that stays.
func (r *typingRoom) list() []matrix.UserID {
	users := make([]matrix.UserID, 0, len(r.users))
	for user := range r.users {
		users = append(users, user)
	}
	slices.Sort(users)
	return users
}

// TypingIn lists who types in a room.
func (e *Ephemeral) TypingIn(room matrix.RoomID) []matrix.UserID {
	users, _ := e.TypingSince(func(r matrix.RoomID) bool { return r == room }, TypingMark{})
	return users[room]
}
