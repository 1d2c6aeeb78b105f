package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"time"
)

const (
	// checkpointLook is how often the length of the log is looked at.
	checkpointLook = 250 * time.Millisecond
	// checkpointFrames is how many pages of the log may wait to be copied into the database file.
	checkpointFrames = 2000
)

// run copies SQLite's log into the database file while others write, so that the writer, who does it itself
// when the log is at wal_autocheckpoint, seldom has to: that would keep all waiting for 100 ms and more.
func (s *sqliteDB) run(ctx context.Context) error {
	c, err := s.connect(false)
	if err != nil {
		return fmt.Errorf("run the database: %w", err)
	}
	defer c.close()
	for waitFor(ctx, checkpointLook) {
		if s.logged() < checkpointFrames {
			continue
		}
		// Its row, (busy, frames, copied), says nothing that the next look does not.
		if err := c.each(ctx, func(Row) error { return nil }, "PRAGMA wal_checkpoint(PASSIVE)", nil); err != nil && ctx.Err() == nil {
			s.log.Warn("store: checkpoint", "err", err)
			waitFor(ctx, 10*time.Second)
		}
	}
	return nil
}

// logged is how many pages of the log are not copied yet. It reads the index of the log, whose form is
// documented (sqlite.org/walformat.html, "The WAL-Index Header"). A wrong answer costs nothing but time.
func (s *sqliteDB) logged() uint32 {
	f, err := os.Open(s.path + "-shm")
	if err != nil {
		return 0
	}
	defer f.Close()
	var head [100]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return 0
	}
	frames, copied := binary.NativeEndian.Uint32(head[16:]), binary.NativeEndian.Uint32(head[96:])
	return frames - min(copied, frames)
}
