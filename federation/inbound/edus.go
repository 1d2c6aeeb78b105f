package inbound

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"astrocyte/ephemeral"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

const (
	// typingFor is how long somebody types who does not stop: their server may be gone.
	typingFor = time.Minute
	// maxReceipts bounds the receipts, maxPeople the users of one EDU.
	maxReceipts = 1000
	maxPeople   = 1000
)

// ofServer refuses that a server speaks for a user of another.
func ofServer(user matrix.UserID, from matrix.ServerName) error {
	if user.Server() != from {
		return matrix.Forbidden("%s does not speak for %s", from, user)
	}
	return nil
}

// readContent reads the content of an EDU.
func readContent(content json.RawMessage, into any) error {
	if err := json.Unmarshal(content, into); err != nil {
		return matrix.BadJSON("the content of an EDU is not as it should be")
	}
	return nil
}

// takeTyping notes who types.
//
// Spec: SS "Typing Notifications"
func (i *Inbound) takeTyping(ctx context.Context, from matrix.ServerName, content json.RawMessage) error {
	var c struct {
		Room   matrix.RoomID `json:"room_id"`
		User   matrix.UserID `json:"user_id"`
		Typing bool          `json:"typing"`
	}
	if err := readContent(content, &c); err != nil {
		return err
	}
	if err := ofServer(c.User, from); err != nil {
		return err
	}
	if err := i.rooms.Admits(ctx, c.Room, from); err != nil {
		return err
	}
	err := i.db.View(ctx, func(tx *store.Tx) error {
		_, err := i.memberOf(tx, c.Room, c.User)
		return err
	})
	if err != nil {
		return err
	}
	return i.ephemeral.NoteTyping(ctx, c.User, c.Room, c.Typing, typingFor)
}

// memberOf finds a room of which a user of another server is a member.
func (i *Inbound) memberOf(tx *store.Tx, room matrix.RoomID, user matrix.UserID) (roomserver.RoomNID, error) {
	nid, known, err := i.rooms.NID(tx, room)
	if err != nil {
		return 0, err
	}
	if known {
		in, err := i.rooms.IsJoined(tx, nid, user)
		if err != nil || in {
			return nid, err
		}
	}
	return 0, matrix.Forbidden("%s is not in the room %s", user, room)
}

// receipts are the content of an m.receipt EDU: by room, type and user.
type receipts map[matrix.RoomID]map[string]map[matrix.UserID]struct {
	Events []matrix.EventID `json:"event_ids"`
	Data   struct {
		TS     int64  `json:"ts"`
		Thread string `json:"thread_id"`
	} `json:"data"`
}

// takeReceipts stores how far users of another server have read.
//
// Spec: SS "Receipts"
func (i *Inbound) takeReceipts(ctx context.Context, from matrix.ServerName, content json.RawMessage) error {
	var all receipts
	if err := readContent(content, &all); err != nil {
		return err
	}
	n := 0
	var wrong error
	for room, kinds := range all {
		if err := i.rooms.Admits(ctx, room, from); err != nil {
			wrong = err
			continue
		}
		for user, r := range kinds[ephemeral.Read] {
			if n++; n > maxReceipts {
				return matrix.BadJSON("more than %d receipts at once", maxReceipts)
			}
			if err := ofServer(user, from); err != nil || len(r.Events) == 0 {
				wrong = err
				continue
			}
			one := lateReceipt{room: room, user: user, event: r.Events[0], thread: r.Data.Thread, ts: r.Data.TS}
			err := i.takeReceipt(ctx, one)
			if errors.Is(err, errTooEarly) {
				i.late.add(one, i.now())
			} else if err != nil {
				wrong = err
			}
		}
	}
	return wrong
}

// errTooEarly says that the event of a receipt is not here yet.
var errTooEarly = errors.New("the event of a receipt is not here")

func (i *Inbound) takeReceipt(ctx context.Context, r lateReceipt) error {
	return i.db.Update(ctx, func(tx *store.Tx) error {
		room, err := i.memberOf(tx, r.room, r.user)
		if err != nil {
			return err
		}
		at, found, err := i.rooms.Place(tx, room, r.event)
		if err != nil {
			return fmt.Errorf("find the event of a receipt: %w", err)
		}
		if !found {
			return errTooEarly
		}
		return i.ephemeral.Put(tx, ephemeral.Receipt{
			Room: room, User: r.user, Thread: r.thread, Event: r.event, Seq: at.Seq, TS: r.ts,
		})
	})
}

// takePresence notes how users of another server are.
//
// Spec: SS "Presence"
func (i *Inbound) takePresence(ctx context.Context, from matrix.ServerName, content json.RawMessage) error {
	var c struct {
		Push []struct {
			User   matrix.UserID   `json:"user_id"`
			State  ephemeral.State `json:"presence"`
			Status string          `json:"status_msg"`
			Ago    float64         `json:"last_active_ago"`
		} `json:"push"`
	}
	if err := readContent(content, &c); err != nil {
		return err
	}
	if len(c.Push) > maxPeople {
		return matrix.BadJSON("the presence of more than %d users at once", maxPeople)
	}
	var wrong error
	for _, p := range c.Push {
		err := ofServer(p.User, from)
		if err == nil {
			ago := time.Duration(min(max(p.Ago, 0), float64(maxAgo.Milliseconds()))) * time.Millisecond
			err = i.ephemeral.NotePresence(ctx, p.User, p.State, p.Status, ago)
		}
		if err != nil {
			wrong = err
		}
	}
	return wrong
}

// maxAgo bounds how long ago somebody was there, as far as it matters.
const maxAgo = 365 * 24 * time.Hour
