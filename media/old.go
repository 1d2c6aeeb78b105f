package media

import (
	"context"
	"fmt"

	"astrocyte/store"
)

// Old says which files of this server are deleted: those of users that nobody has asked for since a time, to about a day,
// and that are larger than a size. What is quarantined stays.
type Old struct {
	Before int64 // milliseconds
	Larger int64 // bytes
	// Keep says whether a file stays all the same, by the events that show it; nil: none does.
	Keep func(tx *store.Tx, f *File, events []int64) (bool, error)
}

const (
	// namedMost bounds the files that are told by name.
	namedMost = 10_000
	// shownMost bounds the events that show a file by which it is decided whether it stays: the newest.
	shownMost = 1000
)

// DeleteOld deletes old files, and tells which, but of very many only how many.
func (r *Repository) DeleteOld(ctx context.Context, o Old) (ids []ID, total int, err error) {
	for after, more := "", true; more && err == nil; {
		var gone []ID
		err = r.db.Update(ctx, func(tx *store.Tx) error {
			gone = nil
			files, err := oldLocal(tx, r.server, o.Before, o.Larger, after, sweepBatch)
			if err != nil {
				return err
			}
			if more = len(files) == sweepBatch; more {
				after = files[len(files)-1].ID.Media
			}
			gone, err = r.removeOld(tx, o, files)
			return err
		})
		sweptTotal.WithLabelValues("old").Add(float64(len(gone)))
		total += len(gone)
		ids = append(ids, gone[:min(len(gone), namedMost-len(ids))]...)
	}
	r.wakeSweep()
	if err != nil {
		return ids, total, fmt.Errorf("delete old media: %w", err)
	}
	return ids, total, nil
}

func (r *Repository) removeOld(tx *store.Tx, o Old, files []*File) (gone []ID, err error) {
	for _, f := range files {
		if o.Keep != nil {
			events, err := refsTo(tx, f.ID, shownMost)
			if err != nil {
				return nil, err
			}
			if keep, err := o.Keep(tx, f, events); err != nil {
				return nil, err
			} else if keep {
				continue
			}
		}
		if err := r.remove(tx, f); err != nil {
			return nil, err
		}
		gone = append(gone, f.ID)
	}
	return gone, nil
}
