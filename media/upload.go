package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Upload is a file that somebody brings.
type Upload struct {
	User        matrix.UserID
	Name        string
	ContentType string
	Body        io.Reader
	// Size is what the sender says it is, -1 where they do not say.
	Size int64
}

// unusedTime is how long a URI waits for its file.
//
// Spec: POST /_matrix/media/v1/create
const unusedTime = 24 * time.Hour

var (
	errDeleting = errors.New("the file is just being deleted")
	errUnknown  = matrix.NotFound("there is no such media")
)

// Store keeps an upload under a new URI.
func (r *Repository) Store(ctx context.Context, u Upload) (ID, error) {
	s, err := r.receive(ctx, u)
	if err != nil {
		return ID{}, err
	}
	defer s.drop()
	f := r.fileOf(r.newID(), s, u)
	return f.ID, r.keep(ctx, s, func(tx *store.Tx) error { return insertMedia(tx, f) }, f.Uploader)
}

// Create announces an upload. The URI is good until the time that is given.
func (r *Repository) Create(ctx context.Context, user matrix.UserID) (id ID, expires time.Time, err error) {
	id, expires = r.newID(), r.now().Add(unusedTime)
	err = r.db.Update(ctx, func(tx *store.Tx) error {
		pending, err := countPending(tx, user, r.millis())
		if err != nil {
			return err
		}
		if pending >= int64(r.c.Quotas.Pending) {
			return matrix.TooMany("media.pending", time.Minute, "too many announced uploads")
		}
		return insertMedia(tx, &File{ID: id, Uploader: user, Created: r.millis(), accessed: r.millis(), expires: expires.UnixMilli()})
	})
	return id, expires, err
}

// Fill brings the file of a URI that was announced.
//
// Spec: PUT /_matrix/media/v3/upload/{serverName}/{mediaId}
func (r *Repository) Fill(ctx context.Context, id ID, u Upload) error {
	err := r.db.View(ctx, func(tx *store.Tx) error { return r.mayFill(tx, id, u.User) })
	if err != nil {
		return err
	}
	s, err := r.receive(ctx, u)
	if err != nil {
		return err
	}
	defer s.drop()
	f := r.fileOf(id, s, u)
	return r.keep(ctx, s, func(tx *store.Tx) error {
		if err := r.mayFill(tx, id, u.User); err != nil {
			return err
		}
		filled, err := fillMedia(tx, f)
		if err == nil && !filled {
			err = matrix.E(matrix.CodeCannotOverwriteMedia, "this media has been uploaded")
		}
		return err
	}, u.User)
}

// mayFill refuses to bring the file of a URI that is somebody else's, or that is not waiting.
func (r *Repository) mayFill(tx *store.Tx, id ID, user matrix.UserID) error {
	f, found, err := mediaOf(tx, id)
	switch {
	case err != nil:
		return err
	case !found || id.Origin != r.server || !f.arrived && f.expires <= r.millis():
		return errUnknown
	case f.Uploader != user:
		return matrix.Forbidden("this media was announced by another user")
	case f.arrived:
		return matrix.E(matrix.CodeCannotOverwriteMedia, "this media has been uploaded")
	}
	return nil
}

// receive checks what can be known before a file arrives, and takes it in.
func (r *Repository) receive(ctx context.Context, u Upload) (*staged, error) {
	if u.Size > r.MaxUpload() {
		return nil, tooLargeFor(r.MaxUpload())
	}
	err := r.db.View(ctx, func(tx *store.Tx) error { return r.checkQuotas(tx, u.User, 1, max(u.Size, 0)) })
	if err != nil {
		return nil, err
	}
	s, err := r.stage(ctx, u.Body, r.MaxUpload())
	if errors.Is(err, errSource) {
		return nil, matrix.E(matrix.CodeUnknown, "the upload broke off").WithStatus(400)
	}
	return s, err
}

// fileOf describes a file that has arrived.
func (r *Repository) fileOf(id ID, s *staged, u Upload) *File {
	return &File{
		ID: id, Hash: s.hash, Size: s.size, Name: cleanName(u.Name), ContentType: contentType(u.ContentType, s.head), Uploader: u.User,
		Created: r.millis(), accessed: r.millis(), Public: r.c.UnauthenticatedDownloads, arrived: true,
	}
}

// keepTries bounds how often a file is brought that is deleted at the same time.
const keepTries = 20

// keep brings a file to its place and then makes it visible by record, in one transaction with what it
// costs its owner.
func (r *Repository) keep(ctx context.Context, s *staged, record func(tx *store.Tx) error, owner matrix.UserID) error {
	for try := 1; ; try++ {
		err := r.tryKeep(ctx, s, record, owner)
		if !errors.Is(err, errDeleting) || try == keepTries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (r *Repository) tryKeep(ctx context.Context, s *staged, record func(tx *store.Tx) error, owner matrix.UserID) error {
	var row blobRow
	err := r.db.Update(ctx, func(tx *store.Tx) (err error) {
		if err := refuseBlocked(tx, s.hash); err != nil {
			return err
		}
		row, err = arriveBlob(tx, s.hash, s.size, r.c.Storage, r.millis())
		return err
	})
	if err != nil {
		return err
	}
	if row.state == blobArriving {
		storage, err := r.storage(row.place)
		if err != nil {
			return err
		}
		if err := storage.Put(ctx, s.hash, s.path); err != nil {
			return err
		}
	}
	return r.db.Update(ctx, func(tx *store.Tx) error {
		if err := r.settleBlob(tx, s.hash); err != nil {
			return err
		}
		if owner != "" {
			if err := addUsage(tx, owner, 1, s.size, r.day()); err != nil {
				return err
			}
			if err := r.checkQuotas(tx, owner, 0, 0); err != nil { // counted: who uploads two at once cannot pass
				return err
			}
		}
		return record(tx)
	})
}

// settleBlob notes that a file is here to stay. What refers to it is written in the same transaction.
func (r *Repository) settleBlob(tx *store.Tx, h Hash) error {
	if err := refuseBlocked(tx, h); err != nil {
		return err
	}
	row, found, err := lockBlob(tx, h)
	if err != nil {
		return err
	}
	if !found || row.state == blobDeleting {
		return errDeleting
	}
	if err := settle(tx, h); err != nil {
		return err
	}
	if row.state != blobArriving {
		return nil
	}
	if err := addUsage(tx, "", 1, row.size, r.day()); err != nil {
		return err
	}
	used, err := usageOf(tx, "", r.day())
	if limit := int64(r.c.Quotas.ServerTotal); err == nil && limit > 0 && used.bytes > limit {
		err = matrix.Forbidden("this server has no more room for files")
	}
	return err
}

func refuseBlocked(tx *store.Tx, h Hash) error {
	blocked, err := isBlocked(tx, h)
	if err == nil && blocked {
		err = matrix.Forbidden("this file is not accepted here")
	}
	return err
}

// day is the day in UTC, by which daily quotas count.
func (r *Repository) day() int64 { return r.millis() / (24 * time.Hour).Milliseconds() }

// checkQuotas refuses a user who has, or would have with some files more, too much.
func (r *Repository) checkQuotas(tx *store.Tx, user matrix.UserID, files, size int64) error {
	q := r.c.Quotas
	used, err := usageOf(tx, user, r.day())
	if err != nil {
		return fmt.Errorf("read quotas: %w", err)
	}
	over := func(limit, used int64) bool { return limit > 0 && used > limit }
	switch {
	case over(q.UserFiles, used.files+files):
		return matrix.Forbidden("you may have %d files at most", q.UserFiles)
	case over(int64(q.UserTotal), used.bytes+size):
		return matrix.Forbidden("you may have %d bytes of files at most", int64(q.UserTotal))
	case over(int64(q.UserPerDay), used.dayBytes+size):
		return matrix.Forbidden("you may upload %d bytes a day at most", int64(q.UserPerDay))
	}
	return nil
}
