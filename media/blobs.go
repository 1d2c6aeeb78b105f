package media

import (
	"context"
	"errors"
	"io"
	"time"
)

// Blobs is a storage of files by their hash.
type Blobs interface {
	// Put keeps a file that is on this machine. When it returns, the file is on stable storage. A file that is
	// already there is replaced by its like. The local file may be moved.
	Put(ctx context.Context, h Hash, file string) error
	// Open reads a file; ErrNoBlob where it is not there.
	Open(ctx context.Context, h Hash) (Blob, error)
	// Delete removes a file, which may not be there.
	Delete(ctx context.Context, h Hash) error
	// Link gives a URL that answers with the file for a while, or nothing where there is no such thing.
	Link(ctx context.Context, h Hash, as Served, lasts time.Duration) (string, error)
	// Check says whether the storage can be used.
	Check(ctx context.Context) error
}

// Blob is an open file.
type Blob interface {
	io.ReadSeekCloser
}

// Served is how a file is to be answered by somebody else.
type Served struct{ ContentType, Disposition string }

// ErrNoBlob is the error of a file that is not in the storage.
var ErrNoBlob = errors.New("the file is not in the storage")

// The names of the storages, in settings and in the database.
const (
	OnDisk = "disk"
	OnS3   = "s3"
)
