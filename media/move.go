package media

import (
	"context"
	"fmt"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Moved is how far a move between storages has come.
type Moved struct {
	Files int64 `json:"files"` // moved by this step
	Bytes int64 `json:"bytes"`
	// Left are the files that are still elsewhere.
	LeftFiles int64 `json:"left_files"`
	LeftBytes int64 `json:"left_bytes"`
}

// moveTime is about how long a step of a move takes.
const moveTime = 2 * time.Second

// Move brings files to a storage, for about two seconds, and tells what is left. Files can be had all the
// while; a move that is interrupted goes on with the next step.
func (r *Repository) Move(ctx context.Context, to string) (m Moved, err error) {
	if r.storages[to] == nil {
		return m, matrix.InvalidParam("there is no storage %q in the settings", to)
	}
	if err := r.storages[to].Check(ctx); err != nil {
		return m, err
	}
	err = r.alone(ctx, func(ctx context.Context) error { return r.moveSome(ctx, to, &m) })
	if err != nil {
		return m, err
	}
	err = r.db.View(ctx, func(tx *store.Tx) error {
		m.LeftFiles, m.LeftBytes, err = countElsewhere(tx, to)
		return err
	})
	return m, err
}

func (r *Repository) moveSome(ctx context.Context, to string, m *Moved) error {
	after, until := []byte{}, time.Now().Add(moveTime)
	for {
		var blobs []blobRow
		err := r.db.View(ctx, func(tx *store.Tx) (err error) {
			blobs, err = elsewhere(tx, to, after, sweepBatch)
			return err
		})
		if err != nil || len(blobs) == 0 {
			return err
		}
		for _, b := range blobs {
			if err := r.moveFile(ctx, b, to); err != nil {
				return fmt.Errorf("move file %s: %w", b.hash, err)
			}
			m.Files, m.Bytes, after = m.Files+1, m.Bytes+b.size, b.hash[:]
			if time.Now().After(until) {
				return nil
			}
		}
	}
}

// moveFile copies a file, notes its new place, and then deletes it at the old one.
func (r *Repository) moveFile(ctx context.Context, b blobRow, to string) error {
	from, err := r.storage(b.place)
	if err != nil {
		return err
	}
	if err := r.copyFile(ctx, b, from, r.storages[to]); err != nil {
		return err
	}
	moved := false
	err = r.db.Update(ctx, func(tx *store.Tx) (err error) {
		moved, err = relocate(tx, b, to)
		return err
	})
	if err != nil || !moved {
		return err
	}
	return from.Delete(ctx, b.hash)
}

// copyFile copies over the staging folder, and checks that what was read is what was stored.
func (r *Repository) copyFile(ctx context.Context, b blobRow, from, to Blobs) error {
	blob, err := from.Open(ctx, b.hash)
	if err != nil {
		return err
	}
	defer blob.Close()
	s, err := r.stage(ctx, blob, max(b.size, 0))
	if err != nil {
		return err
	}
	defer s.drop()
	if s.hash != b.hash {
		return fmt.Errorf("the file is damaged: its hash is now %s", s.hash)
	}
	return to.Put(ctx, b.hash, s.path)
}
