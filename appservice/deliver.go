package appservice

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

const (
	batchMost       = 100 // events of a transaction
	deliverPatience = time.Minute
	pauseLeast      = time.Second // after a failure, doubled with each further one
	pauseMost       = 5 * time.Minute
)

// progress is how far a service has been told.
type progress struct {
	sent    int64 // position up to which it has taken what there was
	pending int64 // position up to which the transaction goes that it may have taken, or not
}

// deliver brings a service its events as long as the context lasts.
func (s *Services) deliver(ctx context.Context, service *Service) error {
	return s.rooms.Follow(ctx, s.bus, roomserver.Follower{
		Name: "appservice " + service.ID, FromNow: true, Batch: batchMost,
		Beside: func(tx *store.Tx, after int64, limit int) ([]int64, error) {
			return outsideAfter(tx, service.ID, after, limit)
		},
		Take: func(ctx context.Context, events []roomserver.Passed) (func(*store.Tx) error, error) {
			return nil, s.bring(ctx, service, events)
		},
	})
}

// bring sends some events that follow each other. A transaction that may have been sent before is sent
// again as it was, before what comes after it.
func (s *Services) bring(ctx context.Context, service *Service, events []roomserver.Passed) error {
	for len(events) > 0 {
		part, upto, err := s.next(ctx, service, events)
		if err != nil {
			return err
		}
		if upto != 0 {
			if err := s.send(ctx, service, part, upto); err != nil {
				return err
			}
			err = s.db.Update(ctx, func(tx *store.Tx) error {
				if err := writeProgress(tx, service.ID, progress{upto, upto}); err != nil {
					return err
				}
				return forgetOutside(tx, service.ID, upto)
			})
			if err != nil {
				return fmt.Errorf("note what %s has taken: %w", service.ID, err)
			}
		}
		events = events[len(part):]
	}
	return nil
}

// next finds which events come first, and notes that they are about to be sent. upto 0: they have been.
func (s *Services) next(ctx context.Context, service *Service, events []roomserver.Passed) (part []roomserver.Passed, upto int64, err error) {
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		p, err := readProgress(tx, service.ID)
		if err != nil {
			return err
		}
		until := func(pos int64) []roomserver.Passed {
			n := 0
			for n < len(events) && events[n].Pos <= pos {
				n++
			}
			return events[:n]
		}
		if part, upto = until(p.sent), 0; len(part) > 0 {
			return nil
		}
		if part = until(p.pending); len(part) > 0 {
			upto = p.pending
			return nil
		}
		part, upto = events, events[len(events)-1].Pos
		return writeProgress(tx, service.ID, progress{p.sent, upto})
	})
	return part, upto, err
}

// send sends the events that concern a service as one transaction, until it has taken them.
//
// Spec: PUT /_matrix/app/v1/transactions/{txnId}
func (s *Services) send(ctx context.Context, service *Service, events []roomserver.Passed, upto int64) error {
	told, err := s.concerning(ctx, service, events)
	if err != nil || len(told) == 0 {
		return err
	}
	body, err := json.Marshal(map[string]any{"events": told})
	if err != nil {
		return fmt.Errorf("write a transaction for %s: %w", service.ID, err)
	}
	path := "/transactions/" + url.PathEscape(strconv.FormatInt(upto, 10))
	for pause := pauseLeast; ; pause = min(2*pause, pauseMost) {
		status, _, err := s.call(ctx, service, deliverPatience, http.MethodPut, path, body)
		if err == nil && status == http.StatusOK {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.log.Warn("an application service did not take a transaction", "service", service.ID, "txn", upto, "status", status,
			"error", err, "again_in", pause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// concerning shows the events that concern a service, in the order of the stream.
func (s *Services) concerning(ctx context.Context, service *Service, events []roomserver.Passed) (all []any, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		nids := make([]int64, 0, len(events))
		for _, e := range events {
			if e.NID != 0 {
				nids = append(nids, e.NID)
			}
		}
		shown, err := s.rooms.RenderState(tx, roomserver.Viewer{}, nids)
		if err != nil {
			return err
		}
		places := make(map[int64]roomserver.Passed, len(events))
		for _, e := range events {
			places[e.NID] = e
		}
		news, err := readOutside(tx, service.ID, events[0].Pos, events[len(events)-1].Pos)
		if err != nil {
			return fmt.Errorf("read memberships elsewhere: %w", err)
		}
		look := interest{service: service, rooms: s.rooms, tx: tx, known: map[roomserver.RoomNID]*about{}}
		for _, e := range shown {
			concerned, err := look.in(e, places[e.NID])
			if err != nil {
				return err
			}
			if concerned {
				news = append(news, told{places[e.NID].Pos, e})
			}
		}
		slices.SortFunc(news, func(a, b told) int { return cmp.Compare(a.pos, b.pos) })
		all = make([]any, len(news))
		for i, t := range news {
			all[i] = t.event
		}
		return nil
	})
	return all, err
}

// interest decides which events concern a service.
//
// Spec: AS "Pushing events".
type interest struct {
	service *Service
	rooms   *roomserver.Rooms
	tx      *store.Tx
	known   map[roomserver.RoomNID]*about
}

// about is what has to be known of a room: whether its names are the service's, and when users were in it
// for whom the service acts.
type about struct {
	named bool
	stays []roomserver.LocalMember
}

func (i *interest) in(e *roomserver.ClientEvent, at roomserver.Passed) (bool, error) {
	if i.service.ActsFor(e.Sender()) {
		return true, nil
	}
	if key, is := e.StateKey(); is && e.Type() == "m.room.member" && i.service.ActsFor(matrix.UserID(key)) {
		return true, nil
	}
	if claimed, _ := claims(i.service.rooms, string(e.RoomID())); claimed {
		return true, nil
	}
	room := i.known[at.Room]
	if room == nil {
		var err error
		if room, err = i.read(at.Room); err != nil {
			return false, err
		}
		i.known[at.Room] = room
	}
	if room.named {
		return true, nil
	}
	for _, m := range room.stays {
		if m.Joined == (m.Pos <= at.Pos) { // is in it since before, or left it afterwards
			return true, nil
		}
	}
	return false, nil
}

func (i *interest) read(room roomserver.RoomNID) (*about, error) {
	out := new(about)
	aliases, err := i.rooms.LocalAliases(i.tx, room)
	if err != nil {
		return nil, fmt.Errorf("read the aliases of a room: %w", err)
	}
	for _, alias := range aliases {
		out.named = out.named || i.service.NamesRoom(alias)
	}
	members, err := i.rooms.LocalMembers(i.tx, room)
	if err != nil {
		return nil, fmt.Errorf("read the members of a room: %w", err)
	}
	for _, m := range members {
		if i.service.ActsFor(m.User) {
			out.stays = append(out.stays, m)
		}
	}
	return out, nil
}
