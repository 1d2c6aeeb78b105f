package appservice

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"astrocyte/bus"
	"astrocyte/ephemeral"
	"astrocyte/matrix"
	"astrocyte/store"
)

const (
	passingGather = 100 * time.Millisecond // how long typing and presence are gathered for one transaction
	passingEvery  = 3 * time.Second        // how often they are looked at without a hint: hints may be lost
	passingWaits  = time.Second            // for events that came before
	passingMost   = 500                    // of them in a transaction
)

// presenceContent is how a user is.
//
// Spec: CS m.presence.
type presenceContent struct {
	Presence ephemeral.State `json:"presence"`
	Ago      int64           `json:"last_active_ago"`
	Active   bool            `json:"currently_active,omitempty"`
	Status   string          `json:"status_msg,omitempty"`
}

// typingContent is who types.
type typingContent struct {
	Users []matrix.UserID `json:"user_ids"`
}

// tellPassing tells the service who types and how users are, when that changes, as long as the context lasts. It is
// stored nowhere: what the service does not take is told it later as it is by then.
func (l *lane) tellPassing(ctx context.Context) error {
	hints := l.bus.Subscribe(bus.Typing, bus.Presence)
	defer hints.Close()
	_, now := l.ephemeral.TypingSince(none, ephemeral.TypingMark{})
	typing, presence := ephemeral.TypingMark{}, now // who types now is told; how everybody is would be no news
	for pause := time.Duration(0); ; {
		next, taken, err := l.passOn(ctx, typing, presence, pause)
		switch {
		case ctx.Err() != nil:
			return nil
		case taken:
			typing, presence, pause = next, next, 0
		default:
			pause = min(max(2*pause, pauseLeast), pauseMost)
		}
		if err != nil {
			l.log.Error("typing and presence were not told to an application service", "service", l.service.ID, "again_in", pause, "error", err)
		}
		if !waitForHint(ctx, hints, pause) {
			return nil
		}
	}
}

func none(matrix.RoomID) bool { return false }

func every(matrix.RoomID) bool { return true }

// waitForHint waits for a hint and what comes shortly after it, or after a failure for the pause to be over; false: the
// context has ended.
func waitForHint(ctx context.Context, hints *bus.Subscription, pause time.Duration) bool {
	if pause == 0 {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(passingEvery):
		case <-hints.C:
		}
		pause = passingGather
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
	}
	for {
		select {
		case <-hints.C:
		default:
			return true
		}
	}
}

// passOn tells the service what has changed since two marks, and gives the mark of the moment; false: it was not taken.
// It comes after the events that are there by now: who enters a room and types is seen to do both.
func (l *lane) passOn(ctx context.Context, typing, presence ephemeral.TypingMark, pause time.Duration) (ephemeral.TypingMark, bool, error) {
	if err := l.rooms.Reached(ctx, l.follower(), passingWaits); err != nil {
		return typing, false, fmt.Errorf("wait for the follower of the stream: %w", err)
	}
	if !l.takesTurn(ctx) {
		return typing, false, ctx.Err()
	}
	defer l.endsTurn()
	types, now := l.ephemeral.TypingSince(every, typing)
	people := l.ephemeral.PresenceSince(presence, now, func(matrix.UserID) bool { return true })
	if len(types) == 0 && len(people) == 0 {
		return now, true, nil
	}
	news, err := l.passing(ctx, types, people)
	if err != nil {
		return now, false, fmt.Errorf("find who types and who is there, for %s: %w", l.service.ID, err)
	}
	for part := range slices.Chunk(news, passingMost) {
		txn := "passing-" + strconv.FormatInt(time.Now().UnixNano(), 10)
		if taken, err := l.put(ctx, txn, &transaction{ephemeral: part}, max(2*pause, pauseLeast)); err != nil || !taken {
			return now, false, err
		}
	}
	return now, true, nil
}

// passing writes what concerns the service of who types and of how users are.
func (l *lane) passing(ctx context.Context, types map[matrix.RoomID][]matrix.UserID, people map[matrix.UserID]ephemeral.Presence) (news []ephemeralEvent, err error) {
	err = l.db.View(ctx, func(tx *store.Tx) error {
		news = nil
		for room, users := range types {
			if near, err := l.near.room(tx, room); err != nil {
				return err
			} else if near {
				news = append(news, ephemeralEvent{Type: "m.typing", RoomID: room, Content: typingContent{users}})
			}
		}
		for user, p := range people {
			if near, err := l.near.user(tx, user); err != nil {
				return err
			} else if near {
				news = append(news, ephemeralEvent{Type: "m.presence", Sender: user, Content: presenceContent{
					p.State, p.Ago.Milliseconds(), p.Active, p.Status,
				}})
			}
		}
		return nil
	})
	return news, err
}
