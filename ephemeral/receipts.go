package ephemeral

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// The types of receipts and markers.
const (
	Read        = "m.read"
	ReadPrivate = "m.read.private"
	FullyRead   = "m.fully_read"
)

// Receipt says that a user has read a room up to an event.
type Receipt struct {
	Room    roomserver.RoomNID
	User    matrix.UserID
	Private bool
	Thread  string // an event id, or roomserver.MainThread; empty: of the room as a whole
	Event   matrix.EventID
	Seq     int64 // of the event
	TS      int64 // milliseconds
	Pos     int64
}

// Reading is what a user says of how far they have read.
type Reading struct {
	User   matrix.UserID
	Room   matrix.RoomID
	Type   string // Read, ReadPrivate, FullyRead
	Event  matrix.EventID
	Thread *string // nil: of the room as a whole
}

// Mark moves receipts and markers of a user in a room forward. One that would go back stays where it is.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}
// Spec: POST /_matrix/client/v3/rooms/{roomId}/read_markers
func (e *Ephemeral) Mark(ctx context.Context, readings ...Reading) error {
	for _, r := range readings {
		if err := r.check(); err != nil {
			return err
		}
	}
	if len(readings) > 0 {
		e.Acted(ctx, readings[0].User)
	}
	return e.db.Update(ctx, func(tx *store.Tx) error {
		for _, r := range readings {
			nid, err := e.member(tx, r.User, r.Room)
			if err != nil {
				return err
			}
			if err := e.mark(tx, nid, r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *Reading) check() error {
	switch {
	case r.Type != Read && r.Type != ReadPrivate && r.Type != FullyRead:
		return matrix.InvalidParam("%q is no type of receipts", r.Type)
	case r.Thread == nil:
		return nil
	case r.Type == FullyRead:
		return matrix.InvalidParam("m.fully_read has no threads")
	case *r.Thread == "":
		return matrix.InvalidParam("thread_id must be a non-empty string")
	case *r.Thread != roomserver.MainThread:
		if _, err := matrix.ParseEventID(*r.Thread); err != nil {
			return matrix.InvalidParam("thread_id must be an event ID or main")
		}
	}
	return nil
}

func (e *Ephemeral) mark(tx *store.Tx, room roomserver.RoomNID, r Reading) error {
	it, found, err := e.rooms.Place(tx, room, r.Event)
	if err != nil {
		return fmt.Errorf("find the event of a receipt: %w", err)
	}
	if !found {
		return matrix.NotFound("there is no event %s in the room %s", r.Event, r.Room)
	}
	if r.Type == FullyRead {
		return e.markFullyRead(tx, room, r, it)
	}
	receipt := Receipt{Room: room, User: r.User, Private: r.Type == ReadPrivate, Event: r.Event, Seq: it.Seq, TS: e.now().UnixMilli()}
	if r.Thread != nil {
		receipt.Thread = *r.Thread
		if related, err := e.inThread(tx, it.NID, receipt.Thread); err != nil {
			return err
		} else if !related {
			return matrix.InvalidParam("the event %s is not in the thread %s", r.Event, receipt.Thread)
		}
	}
	return e.Put(tx, receipt)
}

// Put stores a receipt whose user and event the caller has checked, if it moves forward.
func (e *Ephemeral) Put(tx *store.Tx, r Receipt) error {
	old, found, err := seqOfReceipt(tx, r)
	if err != nil {
		return fmt.Errorf("read a receipt: %w", err)
	}
	if found && old >= r.Seq {
		return nil
	}
	if r.Pos, err = tx.NextPos(1); err != nil {
		return err
	}
	tx.Announce(bus.Change{Kind: bus.Room, Key: r.Room.String(), Pos: r.Pos})
	if err := writeReceipt(tx, r); err != nil {
		return fmt.Errorf("write a receipt: %w", err)
	}
	if err := e.tellRead(tx, r); err != nil {
		return err
	}
	if e.onRead != nil && r.User.Server() == e.rooms.Server() {
		return e.onRead(tx, r.User)
	}
	return nil
}

// markFullyRead moves the marker, which is account data of the room.
func (e *Ephemeral) markFullyRead(tx *store.Tx, room roomserver.RoomNID, r Reading, it roomserver.Item) error {
	var old struct {
		Event matrix.EventID `json:"event_id"`
	}
	raw, found, err := account.ReadAccountData(tx, r.User, r.Room, FullyRead)
	if err != nil {
		return fmt.Errorf("read the marker: %w", err)
	}
	if found && json.Unmarshal(raw, &old) == nil {
		was, known, err := e.rooms.Place(tx, room, old.Event)
		if err != nil {
			return fmt.Errorf("find the event of the marker: %w", err)
		}
		if known && was.Seq >= it.Seq {
			return nil
		}
	}
	old.Event = r.Event
	content, err := json.Marshal(old)
	if err != nil {
		return fmt.Errorf("write the marker: %w", err)
	}
	_, err = account.PutAccountData(tx, r.User, r.Room, FullyRead, content)
	return err
}

func (e *Ephemeral) inThread(tx *store.Tx, nid int64, thread string) (bool, error) {
	events, err := e.rooms.Events(tx, []int64{nid})
	if err != nil {
		return false, fmt.Errorf("read an event: %w", err)
	}
	ev, ok := events[nid]
	if !ok {
		return false, errNoEvent
	}
	return e.rooms.InThread(tx, ev, thread)
}

// errNoEvent says that an event of the timeline is not in the database.
var errNoEvent = errors.New("an event of the timeline is not in the database")

// Deactivated removes what a user has read, when their account ends: a hook for package account.
func (e *Ephemeral) Deactivated(tx *store.Tx, user matrix.UserID, _ bool) error {
	rooms, err := e.rooms.UserRooms(tx, user)
	if err != nil {
		return fmt.Errorf("read the rooms of %s: %w", user, err)
	}
	nids := make([]int64, len(rooms))
	for i, r := range rooms {
		nids[i] = int64(r.Room)
	}
	return forget(tx, user, nids)
}

// OnRead has fn called in each transaction in which a user reads further. It is set before anything runs.
func (e *Ephemeral) OnRead(fn func(tx *store.Tx, user matrix.UserID) error) { e.onRead = fn }

// receiptKey is a receipt that moves forward.
type receiptKey struct {
	room    roomserver.RoomNID
	user    matrix.UserID
	private bool
	thread  string
}

// pick finds the receipts of some rooms in a log, up to a position: the newest of each, without the private ones
// of others, in the order of rooms and positions.
func pick(log []Receipt, rooms []roomserver.RoomNID, upto int64, user matrix.UserID) []Receipt {
	wanted := make(map[roomserver.RoomNID]bool, len(rooms))
	for _, room := range rooms {
		wanted[room] = true
	}
	var out []Receipt
	newer := make(map[receiptKey]bool)
	for _, r := range slices.Backward(log) {
		key := receiptKey{r.Room, r.User, r.Private, r.Thread}
		if r.Pos > upto || !wanted[r.Room] || r.Private && r.User != user || newer[key] {
			continue
		}
		newer[key] = true
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Receipt) int { return cmp.Or(cmp.Compare(a.Room, b.Room), cmp.Compare(a.Pos, b.Pos)) })
	return out
}
