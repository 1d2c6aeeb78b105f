package media

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"astrocyte/matrix"
)

// staged is a file that has arrived whole, and that nobody sees yet.
type staged struct {
	path string
	hash Hash
	size int64
	head []byte // its first bytes, by which its type is known
}

// headSize is how much of a file is looked at to know its type.
const headSize = 512

// errSource marks what went wrong as the fault of where the bytes came from.
var errSource = errors.New("the file did not arrive whole")

// stage takes a file in, of limit bytes at most. Nothing is left of one that does not arrive whole.
func (r *Repository) stage(ctx context.Context, body io.Reader, limit int64) (_ *staged, err error) {
	if !r.arriving.TryAcquire(1) {
		return nil, matrix.TooMany("media.arriving", 5*time.Second, "too many files arrive at the same time")
	}
	defer r.arriving.Release(1)
	dir := r.incoming()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("stage a file: %w", err)
	}
	f, err := os.CreateTemp(dir, "*.part")
	if err != nil {
		return nil, fmt.Errorf("stage a file: %w", err)
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	s := &staged{path: f.Name()}
	sum := sha256.New()
	s.size, err = copyBounded(io.MultiWriter(f, sum, &headWriter{s}), body, limit)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	sum.Sum(s.hash[:0])
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("stage a file: %w", err)
	}
	return s, nil
}

// copyBounded copies and tells reading faults, which are the sender's, from writing ones.
func copyBounded(w io.Writer, body io.Reader, limit int64) (int64, error) {
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{&sourceReader{io.LimitReader(body, limit+1)}}, make([]byte, 64<<10))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge), err == nil && n > limit:
		return n, tooLargeFor(limit)
	case errors.Is(err, errSource):
		return n, err
	case err != nil:
		return n, fmt.Errorf("stage a file: %w", err)
	}
	return n, nil
}

func tooLargeFor(limit int64) *matrix.Error {
	return matrix.E(matrix.CodeTooLarge, "files may have %d bytes at most", limit)
}

// sourceReader marks the errors of its reader.
type sourceReader struct{ r io.Reader }

func (s *sourceReader) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errSource, err)
	}
	return n, err
}

// headWriter keeps the first bytes.
type headWriter struct{ s *staged }

func (h *headWriter) Write(b []byte) (int, error) {
	if room := headSize - len(h.s.head); room > 0 {
		h.s.head = append(h.s.head, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

// drop removes what was not moved to its place.
func (s *staged) drop() { _ = os.Remove(s.path) }

func (r *Repository) incoming() string { return filepath.Join(r.folder, "incoming") }

// staleAfter is when a file that arrives is taken for one whose server was killed.
const staleAfter = 24 * time.Hour

// dropStale removes what was arriving when a server was killed.
func (r *Repository) dropStale() error {
	entries, err := os.ReadDir(r.incoming())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasSuffix(e.Name(), ".part") || time.Since(info.ModTime()) < staleAfter {
			continue
		}
		if err := os.Remove(filepath.Join(r.incoming(), e.Name())); err != nil {
			return err
		}
	}
	return nil
}
