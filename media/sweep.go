package media

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"astrocyte/store"
)

var sweptTotal = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "astrocyte_media_swept_total",
	Help: "Files and URIs removed by the sweep, by kind.",
}, []string{"kind"})

const (
	sweepEach  = time.Minute
	sweepBatch = 100
	// orphanAfter is when a file that was being brought is taken for one that nothing will refer to.
	orphanAfter = time.Hour
	// sweepLease is the name of the right to delete and move files, which one node has at a time.
	sweepLease = "media files"
	leaseTime  = 10 * time.Minute
)

// Run sweeps what nothing refers to, until the context ends.
func (r *Repository) Run(ctx context.Context) error {
	if err := r.storages[r.c.Storage].Check(ctx); err != nil {
		r.log.Error("files cannot be stored", "error", err)
	}
	tick := time.NewTicker(sweepEach)
	defer tick.Stop()
	for {
		if err := r.Sweep(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("the sweep of files failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.sweepNow:
		case <-tick.C:
		}
	}
}

// wakeSweep lets the sweep look soon.
func (r *Repository) wakeSweep() {
	select {
	case r.sweepNow <- struct{}{}:
	default:
	}
}

// Sweep removes what is over: URIs that expired, files that nothing refers to, what a crash left.
func (r *Repository) Sweep(ctx context.Context) error {
	if err := r.dropStale(); err != nil {
		return err
	}
	return r.alone(ctx, func(ctx context.Context) error {
		if err := r.sweepExpired(ctx); err != nil {
			return err
		}
		if err := r.sweepRemote(ctx); err != nil {
			return err
		}
		return r.sweepFiles(ctx)
	})
}

// alone runs fn where no other node deletes or moves files, and does nothing where one does.
func (r *Repository) alone(ctx context.Context, fn func(ctx context.Context) error) error {
	l, ok, err := r.db.Acquire(ctx, sweepLease, r.node, leaseTime)
	if err != nil || !ok {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, leaseTime/2)
	defer cancel()
	err = fn(ctx)
	if released := r.db.Release(context.WithoutCancel(ctx), l); err == nil {
		err = released
	}
	return err
}

// sweepExpired removes URIs whose time is over, and previews.
func (r *Repository) sweepExpired(ctx context.Context) error {
	return r.removeAll(ctx, "expired", func(tx *store.Tx) ([]*File, error) {
		if err := deletePreviews(tx, r.millis()); err != nil {
			return nil, err
		}
		return expiredMedia(tx, r.millis(), sweepBatch)
	})
}

// sweepRemote removes files of other servers that nobody asks for.
func (r *Repository) sweepRemote(ctx context.Context) error {
	keep := time.Duration(r.c.RemoteRetention)
	if keep <= 0 {
		return nil
	}
	before := r.now().Add(-max(keep, accessStep)).UnixMilli()
	return r.removeAll(ctx, "remote", func(tx *store.Tx) ([]*File, error) {
		return staleRemote(tx, r.server, before, sweepBatch)
	})
}

// removeAll removes what list gives, in batches.
func (r *Repository) removeAll(ctx context.Context, kind string, list func(tx *store.Tx) ([]*File, error)) error {
	for n := sweepBatch; n == sweepBatch; {
		err := r.db.Update(ctx, func(tx *store.Tx) error {
			files, err := list(tx)
			if err != nil {
				return err
			}
			n = len(files)
			for _, f := range files {
				if err := r.remove(tx, f); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("remove %s media: %w", kind, err)
		}
		sweptTotal.WithLabelValues(kind).Add(float64(n))
	}
	return nil
}

// remove forgets what a URI stands for. The sweep removes the bytes when nothing else refers to them.
func (r *Repository) remove(tx *store.Tx, f *File) error {
	gone, err := deleteMedia(tx, f.ID)
	if err != nil || !gone || !f.arrived {
		return err
	}
	if f.Uploader != "" {
		if err := addUsage(tx, f.Uploader, -1, -f.Size, r.day()); err != nil {
			return err
		}
	}
	return loosen(tx, f.Hash)
}

// sweepFiles removes files that nothing refers to.
func (r *Repository) sweepFiles(ctx context.Context) error {
	for {
		var blobs []blobRow
		err := r.db.View(ctx, func(tx *store.Tx) (err error) {
			blobs, err = loose(tx, r.millis()-orphanAfter.Milliseconds(), sweepBatch)
			return err
		})
		if err != nil {
			return fmt.Errorf("find files to sweep: %w", err)
		}
		for _, b := range blobs {
			if err := r.sweepFile(ctx, b.hash); err != nil {
				return fmt.Errorf("sweep file %s: %w", b.hash, err)
			}
		}
		if len(blobs) < sweepBatch {
			return nil
		}
	}
}

// sweepFile removes a file if nothing refers to it. First nobody can take it up any more, then its bytes
// go, then its row: after a crash the sweep begins again.
func (r *Repository) sweepFile(ctx context.Context, h Hash) error {
	var b blobRow
	doomed := false
	err := r.db.Update(ctx, func(tx *store.Tx) (err error) {
		b, doomed, err = r.condemn(tx, h)
		return err
	})
	if err != nil || !doomed {
		return err
	}
	storage, err := r.storage(b.place)
	if err != nil {
		return err
	}
	if err := storage.Delete(ctx, h); err != nil {
		return err
	}
	sweptTotal.WithLabelValues("file").Inc()
	return r.db.Update(ctx, func(tx *store.Tx) error { return deleteBlob(tx, h) })
}

// condemn notes that a file is being deleted, if nothing refers to it.
func (r *Repository) condemn(tx *store.Tx, h Hash) (b blobRow, doomed bool, err error) {
	b, found, err := lockBlob(tx, h)
	if err != nil || !found || b.state == blobDeleting {
		return b, found, err
	}
	touched, err := touchedOf(tx, h)
	if err != nil || touched >= r.millis()-orphanAfter.Milliseconds() {
		return b, false, err // brought again meanwhile
	}
	needed, err := referred(tx, h)
	if err != nil {
		return b, false, err
	}
	if needed {
		return b, false, settle(tx, h)
	}
	if err := dropThumbnails(tx, h); err != nil {
		return b, false, err
	}
	if b.state == blobHere {
		if err := addUsage(tx, "", -1, -b.size, r.day()); err != nil {
			return b, false, err
		}
	}
	return b, true, doom(tx, h)
}
