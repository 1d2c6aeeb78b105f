package peer

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/singleflight"

	"astrocyte/lru"
	"astrocyte/matrix"
	"astrocyte/store"
)

// KeysOptions are what a key ring needs.
type KeysOptions struct {
	DB     *store.DB
	Client *Client
	// Notaries are servers that are asked for keys of servers that do not answer.
	Notaries []matrix.ServerName
	// Old are keys that this server signed with before, beside those that it remembers itself.
	Old []OldKey
}

// OldKey is a key that is no longer signed with.
type OldKey struct {
	ID      matrix.KeyID
	Public  ed25519.PublicKey
	Expired time.Time
}

// Keys is the key ring: the keys of other servers, and what this one publishes of its own.
type Keys struct {
	db       *store.DB
	client   *Client
	log      *slog.Logger
	now      func() time.Time
	notaries []matrix.ServerName
	old      []OldKey
	// own are the keys that this server signs with or has signed with. Set by Open.
	own map[matrix.KeyID]knownKey

	known    *lru.Cache[keyName, knownKey]
	absent   *lru.Cache[matrix.ServerName, absence]
	fetching singleflight.Group
}

// keyName names a key among all.
type keyName struct {
	server matrix.ServerName
	id     matrix.KeyID
}

// knownKey is a key of another server.
type knownKey struct {
	public ed25519.PublicKey
	// validUntil is up to when it signs, by what its server said last; expired is since when it does not, or 0.
	// Both in milliseconds.
	validUntil, expired int64
}

// at says whether the key's signatures of a time count. 0 is any time.
//
// Spec: SS "Retrieving server keys", Room Version 5 "Signing key validity period"
func (k *knownKey) at(ms int64) bool {
	switch {
	case ms == anyTime:
		return true
	case k.expired != 0:
		return ms < k.expired
	}
	return ms <= k.validUntil
}

// anyTime is for room versions that do not look at the validity of keys.
const anyTime = 0

// absence is a server whose keys could not be had.
type absence struct {
	last     time.Time
	failures int  // in a row, in which it did not answer
	brief    bool // the last of them may be over in a moment
}

// wait is how long the server is left alone.
func (a absence) wait(p patience) time.Duration {
	doubled := min(max(a.failures-1, 0), 12)
	switch {
	case a.failures == 0: // it answers, and has not the key
		return absentLeast
	case p == eager:
		return min(absentBriefly<<doubled, absentLeast)
	case a.brief:
		return min(absentBriefly<<doubled, absentMost)
	}
	return min(absentLeast<<doubled, absentMost)
}

// wanted is a key that has to be valid at a time.
type wanted struct {
	server matrix.ServerName
	id     matrix.KeyID
	at     int64
}

func (w wanted) name() keyName { return keyName{w.server, w.id} }

const (
	maxKnownKeys = 50_000
	maxAbsences  = 50_000
	// mostValid is how long the word of a server counts.
	//
	// Spec: GET /_matrix/key/v2/server: "the lesser of this field and 7 days into the future"
	mostValid = 7 * 24 * time.Hour
	// absentLeast and absentMost bound how long a server without keys is left alone.
	absentLeast = 30 * time.Second
	absentMost  = time.Hour
	// absentBriefly is how soon a server is asked again that may just be starting: it is not there at once, without
	// letting anybody wait, or did not answer though a request says that it comes from it.
	absentBriefly = time.Second
)

// NewKeys makes a key ring.
func NewKeys(o KeysOptions) *Keys {
	k := &Keys{
		db: o.DB, client: o.Client, log: o.Client.log, now: o.Client.o.Now, notaries: o.Notaries, old: o.Old,
		known:  lru.New[keyName, knownKey](maxKnownKeys),
		absent: lru.New[matrix.ServerName, absence](maxAbsences),
	}
	o.Client.answered = k.sawAnswer
	return k
}

// patience is how soon a server that gave no keys is asked again.
type patience int

const (
	// patient waits longer each time.
	patient patience = iota
	// eager is for a server that seems to be there, since a request says that it comes from it.
	eager
)

// find finds keys: in memory, in the database, at their servers, at notaries. Those that cannot be had are
// missing from what it gives.
func (k *Keys) find(ctx context.Context, wants []wanted, p patience) (map[wanted]ed25519.PublicKey, error) {
	found := make(map[wanted]ed25519.PublicKey, len(wants))
	missing := k.fromMemory(wants, found)
	if len(missing) == 0 {
		return found, nil
	}
	if err := k.load(ctx, missing); err != nil {
		return nil, err
	}
	if missing = k.fromMemory(missing, found); len(missing) == 0 {
		return found, nil
	}
	if err := k.fetch(ctx, missing, p); err != nil {
		return nil, err
	}
	k.fromMemory(missing, found)
	return found, nil
}

// fromMemory notes the keys that are in memory and good, and gives the wants that are left.
func (k *Keys) fromMemory(wants []wanted, found map[wanted]ed25519.PublicKey) (missing []wanted) {
	for _, w := range wants {
		if w.server == k.client.o.Server {
			if key, ok := k.own[w.id]; ok && key.at(w.at) {
				found[w] = key.public
			}
			continue
		}
		if key, ok := k.known.Get(w.name()); ok && key.at(w.at) {
			found[w] = key.public
			continue
		}
		missing = append(missing, w)
	}
	return missing
}

// load brings keys from the database into memory.
func (k *Keys) load(ctx context.Context, wants []wanted) error {
	names := make(map[keyName]bool, len(wants))
	servers := make(map[matrix.ServerName]bool)
	for _, w := range wants {
		names[w.name()], servers[w.server] = true, true
	}
	return k.db.View(ctx, func(tx *store.Tx) error {
		found, err := readKeysOf(tx, slices.Collect(maps.Keys(servers)))
		if err != nil {
			return fmt.Errorf("read the keys of %d servers: %w", len(servers), err)
		}
		for name := range names {
			if key, ok := found[name]; ok {
				k.known.Put(name, key, 1)
			}
		}
		return nil
	})
}

// isAbsent says whether a server is to be left alone.
func (k *Keys) isAbsent(server matrix.ServerName, p patience) bool {
	a, found := k.absent.Get(server)
	return found && k.now().Before(a.last.Add(a.wait(p)))
}

// noteAbsent leaves a server alone for a while: longer each time that it does not answer. Who began to ask it before
// somebody else noted so waited for the same answer, which counts once.
func (k *Keys) noteAbsent(server matrix.ServerName, its answer, began time.Time) {
	a, _ := k.absent.Get(server)
	if !a.last.Before(began) {
		return
	}
	a.last, a.brief = k.now(), IsFleeting(its.err)
	if a.failures++; its.object != nil {
		a.failures = 0
	}
	k.absent.Put(server, a, 1)
}

// sawAlive ends what was thought of a server that has just sent something.
func (k *Keys) sawAlive(server matrix.ServerName) { k.absent.Delete(server) }

// sawAnswer ends the wait for a server that did not answer, since it does now. A key that it does not have stays
// missing.
func (k *Keys) sawAnswer(server matrix.ServerName) {
	if a, found := k.absent.Get(server); found && a.failures > 0 {
		k.absent.Delete(server)
	}
}
