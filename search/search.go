// Package search finds messages by their text, and users by their names.
//
// A follower of the stream puts what can be searched for into a full-text index: the bodies of messages,
// the names and topics of rooms, the names of users. Encrypted events have no text. Texts are cut into
// terms here, pairs of signs for Chinese, Japanese and Korean and triples of letters for the rest, so that
// any part of a word is found, in any language, and both engines find the same.
//
// Invariants:
//   - the index only proposes. What it finds is read from the room server, looked at once more, and shown
//     by the same sight as every timeline: nobody learns of an event that they may not see, not even by a
//     count; what is redacted is not found from the moment that it is;
//   - the index can be made anew at any time from the timelines, while it is used;
//   - whoever writes the index has locked the row of search_rebuild: there is one writer at a time.
package search

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Options are what searching needs.
type Options struct {
	DB       *store.DB
	Bus      bus.Bus
	Rooms    *roomserver.Rooms
	Accounts *account.Accounts
	// AllUsers lets users find all users of this server, also those with whom they share no room.
	AllUsers bool
	Log      *slog.Logger
}

// Search keeps the index.
type Search struct {
	db       *store.DB
	bus      bus.Bus
	rooms    *roomserver.Rooms
	accounts *account.Accounts
	all      bool
	log      *slog.Logger
	texts    index
	people   index
	wake     chan struct{} // a rebuild has begun
}

// follower is the name under which the index follows the stream.
const follower = "search"

// form is the form of the terms. Another one means that all is indexed anew when a node starts.
const form = 1

// New makes it.
func New(o Options) *Search {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Search{
		db: o.DB, bus: o.Bus, rooms: o.Rooms, accounts: o.Accounts, all: o.AllUsers, log: o.Log,
		texts: newIndex(o.DB.Engine(), eventTable), people: newIndex(o.DB.Engine(), nameTable),
		wake: make(chan struct{}, 1),
	}
	o.Rooms.OnPurge(roomserver.PurgeHooks{
		Purged:   []func(*store.Tx, []roomserver.Purged) error{s.purged},
		Vanished: []func(*store.Tx, roomserver.RoomNID) error{s.vanished},
	})
	return s
}

// Run keeps the index up to date, until the context ends.
func (s *Search) Run(ctx context.Context) error {
	if err := s.renew(ctx); err != nil && ctx.Err() == nil {
		s.log.Error("the search index cannot be made anew", "error", err)
	}
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := s.rooms.Follow(ctx, s.bus, roomserver.Follower{Name: follower, Take: s.take, Batch: 1000, Gather: 250 * time.Millisecond}); err != nil {
			s.log.Error("the search index follows no more", "error", err)
		}
	})
	parts.Go(func() { s.rebuildLoop(ctx) })
	parts.Wait()
	return nil
}

// patience is how long a search waits for the index to know what was sent before it.
const patience = 2 * time.Second

// settle waits until the index knows all that has been sent.
func (s *Search) settle(ctx context.Context) error { return s.rooms.Reached(ctx, follower, patience) }

// docsFrom is where the ids of documents that are events begin: the clock of 2004. No event is older.
const docsFrom = 1 << 40

// docID gives an event a number that rises with the time that it tells, though never beyond now.
func docID(ts, nid int64, now time.Time) int64 {
	return min(max(ts, docsFrom), now.UnixMilli())<<20 | nid&(1<<20-1)
}

// maxDoc is beyond every document.
const maxDoc = math.MaxInt64

// ours says whether a user is one of this server.
func (s *Search) ours(user matrix.UserID) bool { return user.Server() == s.rooms.Server() }
