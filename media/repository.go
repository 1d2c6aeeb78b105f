package media

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"astrocyte/config"
	"astrocyte/lru"
	"astrocyte/matrix"
	"astrocyte/store"
)

// Options are what a Repository is made from.
type Options struct {
	DB     *store.DB
	Server matrix.ServerName
	Config config.Media
	// Folder is where files are on disk, and where they arrive in any case.
	Folder string
	Log    *slog.Logger
	// Now is the clock, nil for the real one.
	Now func() time.Time
	// Fetch asks another server for a file. Without it other servers' files are not found.
	Fetch FetchFunc
}

// Repository keeps files.
type Repository struct {
	db     *store.DB
	server matrix.ServerName
	c      config.Media
	folder string
	log    *slog.Logger
	now    func() time.Time
	fetch  FetchFunc
	node   string

	storages map[string]Blobs
	// arriving bounds how many files arrive at the same time, and pixels how much memory images take up.
	arriving *semaphore.Weighted
	workers  *semaphore.Weighted
	pixels   *semaphore.Weighted
	// fetches, thumbs and previews make one of what several ask for at the same time.
	fetches, thumbs, looks singleflight.Group

	queued atomic.Int64 // thumbnails that are made or waited for
	// hopeless are files that no thumbnail can be made of, and why.
	hopeless *lru.Cache[Hash, *matrix.Error]

	previewer *previewer
	sweepNow  chan struct{}
}

// maxArriving is how many files arrive on a node at the same time.
const maxArriving = 256

// maxHopeless is how many files are remembered that no thumbnail can be made of.
const maxHopeless = 10_000

// New makes a repository. It starts nothing and asks no storage.
func New(o Options) (*Repository, error) {
	r := &Repository{
		db: o.DB, server: o.Server, c: o.Config, folder: o.Folder, log: o.Log, now: o.Now, fetch: o.Fetch, node: rand.Text(),
		storages: map[string]Blobs{OnDisk: newDisk(filepath.Join(o.Folder, "files"))},
		arriving: semaphore.NewWeighted(maxArriving),
		workers:  semaphore.NewWeighted(int64(max(o.Config.Thumbnails.Workers, 1))),
		pixels:   semaphore.NewWeighted(int64(o.Config.Thumbnails.Memory)),
		hopeless: lru.New[Hash, *matrix.Error](maxHopeless),
		sweepNow: make(chan struct{}, 1),
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.now == nil {
		r.now = time.Now
	}
	if o.Config.S3.On() {
		b, err := newBucket(o.Config.S3)
		if err != nil {
			return nil, err
		}
		r.storages[OnS3] = b
	}
	if r.storages[o.Config.Storage] == nil {
		return nil, fmt.Errorf("there is no storage %q", o.Config.Storage)
	}
	r.previewer = newPreviewer(o.Config.Previews)
	return r, nil
}

// MaxUpload is the largest file that people may upload, in bytes.
func (r *Repository) MaxUpload() int64 { return int64(r.c.MaxUpload) }

// Redirects says whether clients are sent to the storage.
func (r *Repository) Redirects() bool { return r.c.S3.On() && r.c.S3.Redirect }

func (r *Repository) millis() int64 { return r.now().UnixMilli() }

// storage finds the storage of a file, which the settings may no longer have.
func (r *Repository) storage(place string) (Blobs, error) {
	if b := r.storages[place]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("the storage %q is not in the settings", place)
}

// File is what an mxc:// URI stands for.
type File struct {
	ID          ID
	Hash        Hash
	Size        int64
	ContentType string
	Name        string
	Uploader    matrix.UserID
	Created     int64 // milliseconds
	// Public files may be had without a login at the old endpoints.
	Public bool

	place       string
	arrived     bool
	quarantined bool
	protected   bool
	accessed    int64
	expires     int64
}

// Open opens the bytes of a file. A file that is being moved is looked for once more.
func (r *Repository) Open(ctx context.Context, f *File) (Blob, error) {
	return r.open(ctx, f.Hash, f.place)
}

func (r *Repository) open(ctx context.Context, h Hash, place string) (Blob, error) {
	for again := false; ; again = true {
		storage, err := r.storage(place)
		if err != nil {
			return nil, err
		}
		b, err := storage.Open(ctx, h)
		if err != ErrNoBlob || again {
			return b, err
		}
		err = r.db.View(ctx, func(tx *store.Tx) error {
			row, _, err := blobOf(tx, h)
			place = row.place
			return err
		})
		if err != nil {
			return nil, err
		}
	}
}

// linkTime is how long a URL of the storage answers.
const linkTime = 5 * time.Minute

// Link gives a URL of the storage that answers with a file, or nothing where there is no such thing.
func (r *Repository) Link(ctx context.Context, f *File) (string, error) {
	storage, err := r.storage(f.place)
	if err != nil || !r.Redirects() {
		return "", err
	}
	return storage.Link(ctx, f.Hash, Served{f.ContentType, Disposition(f.ContentType, f.Name)}, linkTime)
}
