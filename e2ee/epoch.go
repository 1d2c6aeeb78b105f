package e2ee

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"astrocyte/store"
)

// A database that was restored from a backup does not know which one-time keys it gave out since. It is told
// by two files in the data folder:
//
//   - keys.epoch has a random mark, new at each start, and the position at which a one-time key was given out
//     last. Both are in the database, too. They are committed first, then written to the file, and only then
//     is the key told. So the file is never ahead of the database, unless the database is older. It also has
//     how far the stream has come, noted every second, since clients keep positions;
//   - keys.place is never written again. The database knows when that file came into being. If the whole
//     folder was copied and put back, it is another file.
const (
	epochFile = "keys.epoch"
	placeFile = "keys.place"
)

const (
	// epochsKept is for how long a node may be off without its folder being taken for that of another database.
	epochsKept = 365 * 24 * 60 * 60 * 1000
	// restoredJump is by how much the stream jumps in a restored database: further than it can have come since
	// the backup. So no position is used twice, of which clients and other servers keep some.
	restoredJump = 1 << 32
)

// epoch is what this node has noted in its folder.
type epoch struct {
	folder string // empty: nothing is noted
	mark   string
	wanted atomic.Int64 // the last position that is to be in the file

	mu      sync.Mutex // (file) held over its writing
	written int64      // the last position in the file at which a key was given out
	reached int64      // how far the stream has come, by the file
}

// record is what a database knows of a mark.
type record struct {
	given int64
	place string
}

// openEpoch compares the data folder with the database, forgets the one-time keys of a restored one, and
// makes a new mark.
func (e *Encryption) openEpoch(ctx context.Context) error {
	if e.epoch.folder == "" {
		return nil
	}
	was, err := e.epoch.read()
	if err != nil {
		return err
	}
	place, err := placeOf(filepath.Join(e.epoch.folder, placeFile))
	if err != nil {
		return fmt.Errorf("find the birth of %s: %w", placeFile, err)
	}
	fresh := rand.Text()
	restored := false
	err = e.db.Update(ctx, func(tx *store.Tx) error {
		restored = false
		if was.mark != "" {
			known, found, err := readEpoch(tx, was.mark)
			if err != nil {
				return err
			}
			pos, err := tx.Pos()
			if err != nil {
				return err
			}
			restored = !found || known.given < was.given || pos < was.reached || known.place != "" && place != "" && known.place != place
		}
		if restored {
			if err := e.forgetGiven(tx); err != nil {
				return err
			}
		}
		return writeEpoch(tx, fresh, place, e.millis(), epochsKept)
	})
	if err != nil {
		return err
	}
	if restored {
		e.log.Warn("the database is older than the data folder, or the folder is a copy: a backup was restored. All one-time keys " +
			"were dropped, clients upload new ones, and all device lists are told again")
	}
	e.epoch.mark, e.epoch.written, e.epoch.reached = fresh, 0, 0
	return e.epoch.write(0, 0)
}

// noteEvery is how often it is noted how far the stream has come.
const noteEvery = time.Second

// noteReached notes in the folder how far the stream has come, where that is further than before.
func (e *Encryption) noteReached(ctx context.Context) error {
	if e.epoch.folder == "" {
		return nil
	}
	pos, known := e.db.Newest()
	if !known {
		err := e.db.View(ctx, func(tx *store.Tx) (err error) { pos, err = tx.Pos(); return err })
		if err != nil {
			return fmt.Errorf("read how far the stream has come: %w", err)
		}
	}
	return e.epoch.comes(pos)
}

// forgetGiven drops all one-time keys, and tells all device lists again: to clients, and to other servers,
// whose lists are read anew.
func (e *Encryption) forgetGiven(tx *store.Tx) error {
	if err := deleteAllOneTimeKeys(tx); err != nil {
		return fmt.Errorf("drop the one-time keys: %w", err)
	}
	pos, err := tx.NextPos(restoredJump)
	if err != nil {
		return err
	}
	if err := changeAllLists(tx, pos); err != nil {
		return fmt.Errorf("tell all device lists again: %w", err)
	}
	if err := e.askAllLists(tx); err != nil {
		return fmt.Errorf("read all lists of other servers anew: %w", err)
	}
	return e.queueAllLists(tx)
}

// askAllLists reads all lists of users of other servers anew.
func (e *Encryption) askAllLists(tx *store.Tx) error {
	users, err := readAllKept(tx)
	if err != nil {
		return err
	}
	for _, user := range users {
		if err := askList(tx, user); err != nil {
			return err
		}
	}
	return nil
}

// queueAllLists tells other servers of all devices again.
func (e *Encryption) queueAllLists(tx *store.Tx) error {
	devices, err := readAllDevices(tx)
	if err != nil {
		return err
	}
	for user, ids := range devices {
		rooms, err := roomsOf(tx, user)
		if err != nil {
			return err
		}
		servers, err := serversIn(tx, rooms, e.server)
		if err != nil {
			return err
		}
		if len(servers) == 0 {
			continue
		}
		what := append(ids, crossSigning)
		last, err := tx.NextPos(int64(len(what)))
		if err != nil {
			return err
		}
		if err := queueLists(tx, servers, user, what, last-int64(len(what))+1); err != nil {
			return err
		}
		if err := e.waits(tx, servers); err != nil {
			return err
		}
	}
	return nil
}

// gave notes in the folder that a one-time key was given out at a position, which is committed.
func (p *epoch) gave(pos int64) error {
	if p.folder == "" {
		return nil
	}
	for old := p.wanted.Load(); old < pos && !p.wanted.CompareAndSwap(old, pos); old = p.wanted.Load() {
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.written >= pos { // another has written it along
		return nil
	}
	return p.write(p.wanted.Load(), p.reached)
}

// comes notes that the stream has come to a position, which is committed.
func (p *epoch) comes(pos int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reached >= pos {
		return nil
	}
	return p.write(p.written, pos)
}

// noted is what the file says.
type noted struct {
	mark           string
	given, reached int64
}

// read reads the file: nothing, where there is none yet.
func (p *epoch) read() (n noted, err error) {
	text, err := os.ReadFile(filepath.Join(p.folder, epochFile))
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		return n, fmt.Errorf("read the epoch: %w", err)
	}
	words := strings.Fields(string(text))
	for i, into := range []*int64{&n.given, &n.reached} {
		if len(words) < i+2 {
			break
		}
		if *into, err = strconv.ParseInt(words[i+1], 10, 64); err != nil {
			return noted{}, fmt.Errorf("read the epoch: %s has no position but %q", epochFile, words[i+1])
		}
	}
	if len(words) > 0 {
		n.mark = words[0]
	}
	return n, nil
}

// write replaces the file: after a crash it is the old one or the new one.
func (p *epoch) write(given, reached int64) error {
	name := filepath.Join(p.folder, epochFile)
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write the epoch: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s %d %d\n", p.mark, given, reached)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		return fmt.Errorf("write the epoch: %w", err)
	}
	p.written, p.reached = given, reached
	return nil
}
