package e2ee

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"astrocyte/store"
)

// A database that was restored from a backup does not know which one-time keys it gave out since. It is
// told by its epochs: random marks, of which it makes a new one at each start, and every few seconds while
// keys are given out. Each is committed first, and then written to a file in the data folder. So the file
// never has a mark that the database has not, unless the database is older than the file.

// epochFile is the file, one line.
const epochFile = "keys.epoch"

const (
	// markEvery is how often a new mark is made while keys are given out: what is given out between the
	// last mark before a backup and its restoring cannot be told.
	markEvery = 5 * time.Second
	// epochsKept is for how long a node may be off without its file being taken for that of another database.
	epochsKept = 365 * 24 * time.Hour
)

// claimCount counts the keys that were given out and for which no mark was made yet.
type claimCount struct{ n atomic.Int64 }

func (c *claimCount) add(n int) { c.n.Add(int64(n)) }

// openEpoch compares the data folder with the database, forgets the one-time keys of a restored one, and
// makes a new mark.
func (e *Encryption) openEpoch(ctx context.Context) error {
	if e.folder == "" {
		return nil
	}
	seen, err := os.ReadFile(filepath.Join(e.folder, epochFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the epoch: %w", err)
	}
	fresh := rand.Text()
	restored := false
	err = e.db.Update(ctx, func(tx *store.Tx) error {
		restored = false
		if mark := strings.TrimSpace(string(seen)); mark != "" {
			known, err := hasEpoch(tx, mark)
			if err != nil {
				return err
			}
			if restored = !known; restored {
				if err := e.forgetGiven(tx); err != nil {
					return err
				}
			}
		}
		return writeEpoch(tx, fresh, e.millis(), epochsKept.Milliseconds())
	})
	if err != nil {
		return err
	}
	if restored {
		e.log.Warn("the database is older than the data folder: it was restored from a backup. All one-time keys " +
			"were dropped, clients upload new ones, and all device lists are told again")
	}
	return e.writeEpochFile(fresh)
}

// forgetGiven drops all one-time keys, and tells all device lists again.
func (e *Encryption) forgetGiven(tx *store.Tx) error {
	if err := deleteAllOneTimeKeys(tx); err != nil {
		return fmt.Errorf("drop the one-time keys: %w", err)
	}
	pos, err := tx.NextPos(1)
	if err != nil {
		return err
	}
	return changeAllLists(tx, pos)
}

// markClaims makes a new mark, if keys were given out since the last one.
func (e *Encryption) markClaims(ctx context.Context) error {
	if e.folder == "" || e.claims.n.Swap(0) == 0 {
		return nil
	}
	fresh := rand.Text()
	err := e.db.Update(ctx, func(tx *store.Tx) error {
		return writeEpoch(tx, fresh, e.millis(), epochsKept.Milliseconds())
	})
	if err != nil {
		e.claims.add(1) // so that it is tried again
		return fmt.Errorf("mark the database: %w", err)
	}
	return e.writeEpochFile(fresh)
}

// writeEpochFile replaces the file: it has the old mark or the new one, also after a crash.
func (e *Encryption) writeEpochFile(mark string) error {
	name := filepath.Join(e.folder, epochFile)
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write the epoch: %w", err)
	}
	_, err = f.WriteString(mark + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		return fmt.Errorf("write the epoch: %w", err)
	}
	return nil
}
