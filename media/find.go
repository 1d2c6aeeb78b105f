package media

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/store"
)

// FetchFunc asks another server for a file. A *matrix.Error tells the caller why there is none.
type FetchFunc func(ctx context.Context, id ID) (*Fetched, error)

// Fetched is the answer of another server; its body is closed by who asked.
type Fetched struct {
	Body        io.ReadCloser
	ContentType string
	Name        string
	Size        int64 // -1 where it does not say
}

// The bounds of what a client may wait for a file that is not yet uploaded.
const (
	maxWait  = time.Minute
	lookEach = 500 * time.Millisecond
)

// Find looks up what a URI stands for, and waits for a file that was announced, but not yet uploaded. With
// remote, other servers are asked for theirs.
func (r *Repository) Find(ctx context.Context, id ID, wait time.Duration, remote bool) (*File, error) {
	f, err := r.lookUp(ctx, id, min(wait, maxWait))
	if err != nil || f != nil {
		return f, err
	}
	if id.Origin == r.server || !remote || r.fetch == nil {
		return nil, errUnknown
	}
	found, err, _ := r.fetches.Do(id.String(), func() (any, error) { return r.fetchRemote(context.WithoutCancel(ctx), id) })
	if err != nil {
		return nil, err
	}
	return found.(*File), nil
}

// lookUp finds a file in the database; nil where there is none.
func (r *Repository) lookUp(ctx context.Context, id ID, wait time.Duration) (*File, error) {
	until := time.Now().Add(wait)
	for {
		f, found, err := r.file(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case !found || !f.arrived && f.expires <= r.millis():
			return nil, nil
		case f.arrived:
			return r.given(ctx, f)
		}
		left := time.Until(until)
		if left <= 0 {
			return nil, matrix.E(matrix.CodeNotYetUploaded, "this media has not been uploaded yet")
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-httpapi.Stopping(ctx):
			until = time.Now()
		case <-time.After(min(left, lookEach)):
		}
	}
}

// file reads a file with the place of its bytes. Those of a blocked file are not given.
func (r *Repository) file(ctx context.Context, id ID) (f *File, found bool, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		f, found, err = mediaOf(tx, id)
		if err != nil || !found || !f.arrived {
			return err
		}
		b, _, err := blobOf(tx, f.Hash)
		if err != nil {
			return err
		}
		f.place = b.place
		blocked, err := isBlocked(tx, f.Hash)
		f.quarantined = f.quarantined || blocked
		return err
	})
	return f, found, err
}

// accessStep is how exactly it is known when a file was last asked for.
const accessStep = 24 * time.Hour

// given refuses what is given to nobody, and notes that a file was asked for.
func (r *Repository) given(ctx context.Context, f *File) (*File, error) {
	if f.quarantined {
		return nil, errUnknown
	}
	if now := r.millis(); now-f.accessed > accessStep.Milliseconds() {
		err := r.db.Update(ctx, func(tx *store.Tx) error { return touchMedia(tx, f.ID, now) })
		if err != nil {
			r.log.Warn("the access to a file was not noted", "media", f.ID.String(), "error", err)
		}
	}
	return f, nil
}

// fetchTime bounds a fetch from another server.
const fetchTime = 5 * time.Minute

// fetchRemote brings a file of another server here.
func (r *Repository) fetchRemote(ctx context.Context, id ID) (*File, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	if f, err := r.lookUp(ctx, id, 0); err != nil || f != nil {
		return f, err // it came between
	}
	got, err := r.fetch(ctx, id)
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	limit := int64(r.c.MaxRemote)
	if got.Size > limit {
		return nil, tooLargeFor(limit).WithStatus(http.StatusBadGateway)
	}
	s, err := r.stage(ctx, got.Body, limit)
	if err != nil {
		return nil, remoteFault(err)
	}
	defer s.drop()
	f := r.fileOf(id, s, Upload{Name: got.Name, ContentType: got.ContentType})
	err = r.keep(ctx, s, func(tx *store.Tx) error {
		if _, found, err := mediaOf(tx, id); err != nil || found {
			return err // another node was faster
		}
		return insertMedia(tx, f)
	}, "")
	if err != nil {
		return nil, err
	}
	return r.lookUp(ctx, id, 0)
}

// remoteFault makes of what went wrong with another server what a client is told.
func remoteFault(err error) error {
	var fault *matrix.Error
	switch {
	case errors.As(err, &fault) && fault.Code == matrix.CodeTooLarge:
		return fault.WithStatus(http.StatusBadGateway)
	case errors.Is(err, errSource):
		return matrix.E(matrix.CodeUnknown, "the other server broke off").WithStatus(http.StatusBadGateway)
	}
	return err
}
