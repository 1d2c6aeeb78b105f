package sender

import (
	"context"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Destination is a server to which something was to be sent at some time. Times are milliseconds.
type Destination struct {
	Server  matrix.ServerName
	Reached int64 // when it took a transaction last; 0: never
	Failing int64 // since when it is not reached; 0: it is
	Pause   int64 // how long it is left alone after the last failure
	RetryAt int64 // and until when
	Failure string
	Waiting int64 // rooms of which it has not been sent everything
	Since   int64 // since when the oldest event of them waits; 0: none does
}

// Query says which destinations are wanted.
type Query struct {
	Name    string // a part of it
	Failing bool   // those alone that are not reached
	From    int64  // so many are passed over, in the order of their names
	Limit   int
}

// Destinations reads servers in the order of their names, and counts all that the query means.
func (s *Sender) Destinations(ctx context.Context, q Query) (all []Destination, total int64, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		if total, err = countQueried(tx, q); err != nil {
			return err
		}
		all, err = readDestinations(tx, q)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read destinations: %w", err)
	}
	return all, total, nil
}

// Destination reads a server.
func (s *Sender) Destination(ctx context.Context, server matrix.ServerName) (d Destination, err error) {
	found := false
	err = s.db.View(ctx, func(tx *store.Tx) error {
		d, found, err = readDestination(tx, server)
		return err
	})
	if err != nil {
		return d, fmt.Errorf("read a destination: %w", err)
	}
	if !found {
		return d, matrix.NotFound("nothing was ever to be sent to %s", server)
	}
	return d, nil
}

// DestinationRoom is a room of which a server has not been sent everything.
type DestinationRoom struct {
	Room       matrix.RoomID
	From, Upto int64 // places in the timeline
	Queued     int64 // when the first event was: milliseconds
}

// DestinationRooms reads the rooms of which a server has not been sent everything, in the order of their ids, and
// counts them.
func (s *Sender) DestinationRooms(ctx context.Context, server matrix.ServerName, from int64, limit int) (all []DestinationRoom, total int64, err error) {
	d, err := s.Destination(ctx, server)
	if err != nil {
		return nil, 0, err
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		all, err = readDestinationRooms(tx, server, from, limit)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read the rooms of a destination: %w", err)
	}
	return all, d.Waiting, nil
}

// Retry lets a server be tried at once that is left alone; false: it is not.
func (s *Sender) Retry(ctx context.Context, server matrix.ServerName) (bool, error) {
	if _, err := s.Destination(ctx, server); err != nil {
		return false, err
	}
	left, err := s.tryAgain(ctx, server)
	if err != nil {
		return false, fmt.Errorf("try %s again: %w", server, err)
	}
	return left, nil
}
