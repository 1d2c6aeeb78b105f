package push

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Subscription is what a user wants to hear of a thread.
//
// Extension: MSC4306.
type Subscription struct {
	Room       matrix.RoomID
	Thread     matrix.EventID // its root
	Subscribed bool
	Automatic  bool  // a client subscribed by itself, since the user was mentioned
	Pos        int64 // where the newest change came into the stream

	endedSeq int64 // the newest place of the room when the user unsubscribed last; 0: never
}

// The errors of subscriptions, by their unstable names.
const (
	codeNotInThread matrix.Code = "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD"
	codeConflicting matrix.Code = "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION"
)

// subscriptionsMost bounds the threads that a user has subscribed to or unsubscribed from.
const subscriptionsMost = 20_000

// Subscribe subscribes a user to a thread. A client that does so by itself names the event that is the cause,
// empty otherwise: where the user has unsubscribed since that event, it is refused.
func (p *Push) Subscribe(ctx context.Context, v roomserver.Viewer, room matrix.RoomID, thread, cause matrix.EventID) error {
	if _, err := p.threadRoot(ctx, v, room, thread); err != nil {
		return err
	}
	var seq int64
	if cause != "" {
		var err error
		if seq, err = p.causeIn(ctx, v, room, thread, cause); err != nil {
			return err
		}
	}
	return p.changeSubscription(ctx, v.User, room, thread, func(s *Subscription) error {
		switch {
		case cause == "":
			s.Subscribed, s.Automatic = true, false
		case s.Subscribed: // also by the user themself, which weighs more
		case seq <= s.endedSeq:
			return matrix.E(codeConflicting, "you have unsubscribed from the thread since that event").WithStatus(409)
		default:
			s.Subscribed, s.Automatic = true, true
		}
		return nil
	})
}

// Unsubscribe ends the subscription of a user to a thread. What is in the thread by now is no cause any
// more for a client to subscribe by itself.
func (p *Push) Unsubscribe(ctx context.Context, v roomserver.Viewer, room matrix.RoomID, thread matrix.EventID) error {
	root, err := p.threadRoot(ctx, v, room, thread)
	if err != nil {
		return err
	}
	return p.changeSubscription(ctx, v.User, room, thread, func(s *Subscription) error {
		s.Subscribed, s.Automatic = false, false
		s.endedSeq = root.newest
		return nil
	})
}

// Subscription gives the subscription of a user to a thread, if they have one.
func (p *Push) Subscription(ctx context.Context, v roomserver.Viewer, room matrix.RoomID, thread matrix.EventID) (Subscription, error) {
	if _, err := p.threadRoot(ctx, v, room, thread); err != nil {
		return Subscription{}, err
	}
	var s Subscription
	err := p.db.View(ctx, func(tx *store.Tx) (err error) {
		s, _, err = readSubscription(tx, v.User, room, thread, false)
		return err
	})
	if err == nil && !s.Subscribed {
		err = matrix.NotFound("you are not subscribed to the thread")
	}
	return s, err
}

// Subscriptions reads the subscriptions of a user that changed after the position since, up to upto, newest
// first and at most limit: also those that have ended. A client that is told them knows which are newer than
// others of the same thread by Pos.
//
// Extension: MSC4308.
func (p *Push) Subscriptions(tx *store.Tx, user matrix.UserID, since, upto int64, limit int) ([]Subscription, error) {
	all, err := subscriptionsBetween(tx, user, since, upto, limit)
	if err != nil {
		return nil, fmt.Errorf("read the threads of %s: %w", user, err)
	}
	return all, nil
}

// MoreSubscriptions is the token by which a client goes on backward from a page of Subscriptions that had no
// room for all.
func MoreSubscriptions(page []Subscription) string {
	return strconv.FormatInt(page[len(page)-1].Pos-1, 10)
}

// SubscriptionsBack is a page of Subscriptions: backward from a token, or from now where it is empty, down to
// the position to. next is the token of the page behind it, empty where there is none.
func (p *Push) SubscriptionsBack(ctx context.Context, user matrix.UserID, from string, to int64, limit int) (page []Subscription, next string, err error) {
	upto := int64(math.MaxInt64)
	if from != "" {
		if upto, err = strconv.ParseInt(from, 10, 64); err != nil {
			return nil, "", matrix.InvalidParam("from is no token of thread subscriptions")
		}
	}
	err = p.db.View(ctx, func(tx *store.Tx) (err error) {
		page, err = p.Subscriptions(tx, user, to, upto, limit+1)
		return err
	})
	if err != nil || len(page) <= limit {
		return page, "", err
	}
	page = page[:limit]
	return page, MoreSubscriptions(page), nil
}

// Threads says whether users subscribe to threads.
func (p *Push) Threads() bool { return p.threads }

// seenRoot is the root of a thread, and the newest place that its room had when it was looked at.
type seenRoot struct {
	*roomserver.ClientEvent
	newest int64
}

// threadRoot finds the root of a thread that a user may read.
func (p *Push) threadRoot(ctx context.Context, v roomserver.Viewer, room matrix.RoomID, thread matrix.EventID) (seenRoot, error) {
	root, err := p.rooms.Event(ctx, v, room, thread)
	var refused *matrix.Error
	if errors.As(err, &refused) {
		return seenRoot{}, matrix.NotFound("there is no such thread")
	}
	if err != nil {
		return seenRoot{}, err
	}
	out := seenRoot{ClientEvent: root}
	err = p.db.View(ctx, func(tx *store.Tx) error {
		heads, err := p.rooms.Heads(tx, []roomserver.RoomNID{root.Room})
		out.newest = heads[root.Room].Seq
		return err
	})
	return out, err
}

// causeIn finds the place of an event that is to be the cause of a subscription: it has to be in the thread.
func (p *Push) causeIn(ctx context.Context, v roomserver.Viewer, room matrix.RoomID, thread, cause matrix.EventID) (int64, error) {
	e, err := p.rooms.Event(ctx, v, room, cause)
	var refused *matrix.Error
	if err != nil && !errors.As(err, &refused) {
		return 0, err
	}
	if err == nil {
		if kind, about := e.Relation(); kind == "m.thread" && about == thread {
			return e.Seq, nil
		}
	}
	return 0, matrix.E(codeNotInThread, "the event is not in the thread").WithStatus(400)
}

// changeSubscription changes what a user wants of a thread, and tells their devices where anything changed.
func (p *Push) changeSubscription(ctx context.Context, user matrix.UserID, room matrix.RoomID, thread matrix.EventID, change func(*Subscription) error) error {
	return p.db.Update(ctx, func(tx *store.Tx) error {
		s, found, err := readSubscription(tx, user, room, thread, true)
		if err != nil {
			return fmt.Errorf("read a subscription of %s: %w", user, err)
		}
		if !found {
			if err := roomForSubscription(tx, user); err != nil {
				return err
			}
			s.Room, s.Thread = room, thread
		}
		was := s
		if err := change(&s); err != nil {
			return err
		}
		if found && s == was {
			return nil
		}
		if s.Pos, err = tx.NextPos(1); err != nil {
			return err
		}
		tx.Announce(bus.Change{Kind: bus.User, Key: string(user), Pos: s.Pos})
		return writeSubscription(tx, user, s)
	})
}

func roomForSubscription(tx *store.Tx, user matrix.UserID) error {
	n, err := countSubscriptions(tx, user)
	if err != nil {
		return fmt.Errorf("count the threads of %s: %w", user, err)
	}
	if n >= subscriptionsMost {
		return matrix.E(matrix.CodeResourceLimitExceeded, "a user cannot follow more than %d threads", subscriptionsMost)
	}
	return nil
}
