package search

import (
	"context"
	"fmt"
	"time"

	"astrocyte/account"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Progress is how far the index has been made anew.
type Progress struct {
	Running bool  `json:"running"`
	Done    int64 `json:"done"`  // events looked at
	Total   int64 `json:"total"` // events that there are, about
}

// Rebuild begins to make the index anew, from the timelines. Meanwhile searches find what is there again
// already, and what is new.
func (s *Search) Rebuild(ctx context.Context) error {
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := lockRebuild(tx); err != nil {
			return err
		}
		return s.begin(tx)
	})
	if err != nil {
		return fmt.Errorf("begin to make the search index anew: %w", err)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// Progress tells how far it has got.
func (s *Search) Progress(ctx context.Context) (Progress, error) {
	var p Progress
	err := s.db.View(ctx, func(tx *store.Tx) error {
		b, err := readRebuild(tx)
		if err != nil {
			return err
		}
		p.Running, p.Done = b.running, b.done
		p.Total, err = allEvents(tx)
		return err
	})
	return p, err
}

// renew begins anew where the index has an older form than this program's. Where it has none, as in a new database,
// what is in it already has come since this program started, and stays.
func (s *Search) renew(ctx context.Context) error {
	return s.db.Update(ctx, func(tx *store.Tx) error {
		b, err := lockRebuild(tx)
		switch {
		case err != nil || b.form >= form:
			return err
		case b.form == 0:
			return writeRebuild(tx, rebuild{form: form, running: true})
		}
		return s.begin(tx)
	})
}

// begin empties the index. The row of search_rebuild is locked.
func (s *Search) begin(tx *store.Tx) error {
	for _, x := range []index{s.texts, s.people} {
		if err := x.clear(tx); err != nil {
			return err
		}
	}
	if err := clearDocs(tx); err != nil {
		return err
	}
	return writeRebuild(tx, rebuild{form: form, running: true})
}

const (
	rebuildLease = 15 * time.Second
	rebuildLook  = 3 * time.Second // how often a node looks whether there is something to do
	rebuildBatch = 500
)

// rebuildLoop makes the index anew whenever that is wished, on one node.
func (s *Search) rebuildLoop(ctx context.Context) {
	_ = s.db.Alone(ctx, "search rebuild", s.rooms.Process(), rebuildLease, func(ctx context.Context, _ store.Lease) error {
		for {
			for {
				more, err := s.rebuildOn(ctx)
				if err != nil {
					return err
				}
				if !more {
					break
				}
			}
			select {
			case <-ctx.Done():
				return nil
			case <-s.wake:
			case <-time.After(rebuildLook):
			}
		}
	})
}

// rebuildOn does the next part, if there is one.
func (s *Search) rebuildOn(ctx context.Context) (more bool, err error) {
	var at rebuild
	var passed []roomserver.Passed
	err = s.db.View(ctx, func(tx *store.Tx) error {
		if at, err = readRebuild(tx); err != nil || !at.running {
			return err
		}
		passed, err = s.rooms.Walk(tx, at.at, rebuildBatch)
		return err
	})
	if err != nil || !at.running {
		return false, err
	}
	if len(passed) == 0 {
		return false, s.finish(ctx)
	}
	b, err := s.gather(ctx, passed)
	if err != nil {
		return false, err
	}
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		now, err := lockRebuild(tx)
		if err != nil || now != at { // it began again meanwhile
			return err
		}
		now.at = passed[len(passed)-1]
		now.done += int64(len(passed))
		if err := writeRebuild(tx, now); err != nil {
			return err
		}
		return s.write(tx, b)
	})
	return true, err
}

// finish adds the users who are in no room, and ends the rebuild.
func (s *Search) finish(ctx context.Context) error {
	var after account.User
	for {
		users, err := s.accounts.ListUsers(ctx, after.ID, rebuildBatch)
		if err != nil {
			return err
		}
		err = s.db.Update(ctx, func(tx *store.Tx) error {
			at, err := lockRebuild(tx)
			if err != nil {
				return err
			}
			for _, u := range users {
				if u.Kind == account.Guest {
					continue
				}
				there, err := s.accounts.Exists(tx, u.ID) // now, and not when the list was read
				if err == nil && there {
					err = s.refreshProfile(tx, u.ID)
				}
				if err != nil {
					return err
				}
			}
			if len(users) < rebuildBatch {
				at.running = false
				return writeRebuild(tx, at)
			}
			return nil
		})
		if err != nil || len(users) < rebuildBatch {
			return err
		}
		after = users[len(users)-1]
	}
}
