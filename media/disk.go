package media

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// disk keeps files in a folder, by the first letters of their hashes.
type disk struct{ root string }

func newDisk(root string) *disk { return &disk{root} }

func (d *disk) path(h Hash) string { return filepath.Join(d.root, filepath.FromSlash(h.key())) }

// Put moves a file of the same file system to its place.
func (d *disk) Put(_ context.Context, h Hash, file string) error {
	path := d.path(h)
	if err := makeDurable(filepath.Dir(path), 2); err != nil {
		return fmt.Errorf("store a file: %w", err)
	}
	if err := os.Rename(file, path); err != nil {
		return fmt.Errorf("store a file: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// makeDurable makes a folder and those above it, as many as there may be new ones, and makes sure that they stay.
func makeDurable(dir string, levels int) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for range levels {
		dir = filepath.Dir(dir)
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// Open opens a file.
func (d *disk) Open(_ context.Context, h Hash) (Blob, error) {
	f, err := os.Open(d.path(h))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoBlob
	}
	if err != nil {
		return nil, fmt.Errorf("open a file: %w", err)
	}
	return f, nil
}

// Delete removes a file.
func (d *disk) Delete(_ context.Context, h Hash) error {
	err := os.Remove(d.path(h))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete a file: %w", err)
	}
	return nil
}

// Link gives none: only this server can read the folder.
func (d *disk) Link(context.Context, Hash, Served, time.Duration) (string, error) { return "", nil }

// Check makes the folder.
func (d *disk) Check(context.Context) error {
	if err := os.MkdirAll(d.root, 0o700); err != nil {
		return fmt.Errorf("make the folder of the media: %w", err)
	}
	return nil
}
