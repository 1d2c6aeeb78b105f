package syncapi

import (
	"astrocyte/matrix"
)

// Sliding sync tells a client of those rooms that it asks for: of a part of the list of all its rooms, by
// filters and ranges, and of rooms that it names. One engine serves both forms that clients speak, and the
// sockets; they only read requests and write answers differently.
//
// What a connection was told of which rooms is kept, under the position that the client shows next. Along a
// chain of positions what package syncapi promises of /sync holds for each room that is in view: no event is
// told twice, none is left out unless its timeline says that it is limited, and the state that was asked for
// is the room's. A room that leaves the view and comes back goes on where it left.
//
// Spec: MSC4186.

// Bounds of a request and of an answer.
const (
	slidingListsMost = 100
	slidingSubsMost  = 100
	// slidingSubsLegacy bounds the subscriptions of the form that clients have used before there was a bound.
	slidingSubsLegacy  = 1000
	slidingRangesMost  = 100
	slidingFilterMost  = 1000 // entries of a filter's list
	slidingStateMost   = 500  // entries of what is asked of the state
	slidingLimitMost   = 500  // events of one room
	slidingRoomsMost   = 500  // rooms that one answer tells: others follow with the next one
	slidingEventsMost  = 5000 // and events of their timelines, about
	slidingNameLongest = 255
)

// slidingForm is the form in which a client speaks.
type slidingForm int

const (
	slidingUnstable slidingForm = iota // as clients do since 2024
	slidingStable                      // as it was accepted
	slidingSocket                      // the accepted one, with the members that only sockets have
)

// slidingAsk is a request of sliding sync.
type slidingAsk struct {
	conn     string
	pos      string
	txn      string // told back
	timeout  int64  // milliseconds
	presence string
	lists    []slidingList // by name
	subs     map[matrix.RoomID]roomConfig
	ext      slidingExtensions
	form     slidingForm
}

// roomConfig is what a client wants to be told of a room.
type roomConfig struct {
	limit int // events of its timeline
	state stateWish
}

// slidingList is a list of rooms of which the client wants to see some.
type slidingList struct {
	name string
	roomConfig
	ranges [][2]int64 // both ends included; nil: all
	filter listFilter
}

// holds says whether a place of the list is one of those that the client wants to see.
func (l *slidingList) holds(place int64) bool {
	if l.ranges == nil {
		return true
	}
	for _, r := range l.ranges {
		if place >= r[0] && place <= r[1] {
			return true
		}
	}
	return false
}

// slidingExtensions are what the client wants to know besides its rooms.
type slidingExtensions struct {
	toDevice, e2ee, account, receipts, typing, threads, sticky extension
}

// extension is one of them.
type extension struct {
	key     string // under which it is answered
	enabled bool
	lists   map[string]bool        // nil: all
	rooms   map[matrix.RoomID]bool // subscriptions; nil: all
	had     int64                  // of messages to the device, and of sticky events: the client has them up to this position
	after   int64                  // and was told them up to here
	limit   int
}

// covers says whether a room is one that the extension is about.
func (x *extension) covers(s *scoped) bool {
	if s.sub && (x.rooms == nil || x.rooms[s.id]) {
		return true
	}
	for _, name := range s.lists {
		if x.lists == nil || x.lists[name] {
			return true
		}
	}
	return false
}

// check refuses a request that asks for too much.
func (q *slidingAsk) check() error {
	subs := slidingSubsMost
	if q.form == slidingUnstable {
		subs = slidingSubsLegacy
	}
	switch {
	case len(q.lists) > slidingListsMost:
		return matrix.InvalidParam("a request has at most %d lists", slidingListsMost)
	case len(q.subs) > subs:
		return matrix.InvalidParam("a request has at most %d room subscriptions", subs)
	case len(q.conn) > slidingNameLongest || len(q.txn) > slidingNameLongest:
		return matrix.InvalidParam("conn_id and txn_id have at most %d bytes", slidingNameLongest)
	}
	for _, l := range q.lists {
		if len(l.name) > slidingNameLongest {
			return matrix.InvalidParam("the name of a list has at most %d bytes", slidingNameLongest)
		}
	}
	return nil
}
