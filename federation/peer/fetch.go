package peer

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

const (
	// keyTime bounds asking one server for keys.
	keyTime = 15 * time.Second
	// directAtOnce is how many servers are asked at the same time.
	directAtOnce = 32
	// manyServers is from when on notaries are asked first: many keys of old rooms are of servers long gone.
	manyServers = 20
	// notaryBatch is how many servers a notary is asked about at a time.
	notaryBatch = 200
)

// fetch brings keys from other servers into memory and the database. Only the database's failures are errors.
func (k *Keys) fetch(ctx context.Context, wants []wanted, p patience) error {
	byServer := make(map[matrix.ServerName][]wanted)
	for _, w := range wants {
		if w.server != k.client.o.Server && isKeyID(w.id) && !k.isAbsent(w.server, p) {
			byServer[w.server] = append(byServer[w.server], w)
		}
	}
	began := k.now()
	var asked answers
	direct := func(ctx context.Context, byServer map[matrix.ServerName][]wanted) error {
		return k.fetchDirectly(ctx, byServer, &asked)
	}
	ways := []func(context.Context, map[matrix.ServerName][]wanted) error{direct, k.fetchFromNotaries}
	if len(byServer) > manyServers {
		slices.Reverse(ways)
	}
	for _, way := range ways {
		if len(byServer) == 0 {
			return nil
		}
		if err := way(ctx, byServer); err != nil {
			return err
		}
		k.dropFound(byServer)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for server := range byServer {
		k.noteAbsent(server, asked.of(server), began)
	}
	return nil
}

// answer is what came of asking a server for its keys: without an object and an error it was not asked.
type answer struct {
	object *keyObject
	err    error
}

// answers are those of several servers.
type answers struct {
	mu   sync.Mutex
	from map[matrix.ServerName]answer
}

func (a *answers) add(server matrix.ServerName, its answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.from == nil {
		a.from = make(map[matrix.ServerName]answer)
	}
	a.from[server] = its
}

func (a *answers) of(server matrix.ServerName) answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.from[server]
}

// dropFound leaves the wants that are not fulfilled yet.
func (k *Keys) dropFound(byServer map[matrix.ServerName][]wanted) {
	for server, wants := range byServer {
		left := slices.DeleteFunc(wants, func(w wanted) bool {
			key, ok := k.known.Get(w.name())
			return ok && key.at(w.at)
		})
		if byServer[server] = left; len(left) == 0 {
			delete(byServer, server)
		}
	}
}

// fetchDirectly asks servers for their own keys.
func (k *Keys) fetchDirectly(ctx context.Context, byServer map[matrix.ServerName][]wanted, asked *answers) error {
	var g errgroup.Group
	g.SetLimit(directAtOnce)
	for server, wants := range byServer {
		g.Go(func() error {
			its, err := k.direct(ctx, server, wants)
			asked.add(server, its)
			return err
		})
	}
	return g.Wait()
}

// direct asks a server for its keys, and keeps them. Who asks at the same time shares the answer. It is not asked where
// somebody else has brought what is wanted since it was found missing; no wants are for all keys.
func (k *Keys) direct(ctx context.Context, server matrix.ServerName, wants []wanted) (answer, error) {
	for {
		flight := k.fetching.DoChan(string(server), func() (any, error) {
			if k.has(wants) {
				return answer{}, nil
			}
			ctx := context.WithoutCancel(ctx) // others wait for it too
			o, err := k.askForKeys(ctx, server)
			if err != nil {
				keyFetches.WithLabelValues("direct", "failed").Inc()
				k.log.Debug("a server's keys were not had", "server", server, "error", err)
				return answer{err: err}, nil
			}
			keyFetches.WithLabelValues("direct", "got").Inc()
			return answer{object: o}, k.keep(ctx, o)
		})
		select {
		case got := <-flight:
			if its := got.Val.(answer); its != (answer{}) || k.has(wants) {
				return its, got.Err
			} // else somebody else had what they wanted
		case <-ctx.Done():
			return answer{}, ctx.Err()
		}
	}
}

// has says whether all of some keys are in memory.
func (k *Keys) has(wants []wanted) bool {
	return len(wants) > 0 && len(k.fromMemory(wants, make(map[wanted]ed25519.PublicKey))) == 0
}

func (k *Keys) askForKeys(ctx context.Context, server matrix.ServerName) (*keyObject, error) {
	var raw json.RawMessage
	err := k.client.Do(ctx, server, Request{
		Method: "GET", Path: "/_matrix/key/v2/server", Into: &raw, Limit: maxKeyAnswer, Timeout: keyTime, Unsigned: true,
	})
	if err != nil {
		return nil, err
	}
	o, err := readKeys(raw, k.now().UnixMilli())
	if err == nil && o.server != server {
		err = fmt.Errorf("it says that it is %s", o.server)
	}
	return o, err
}

// fetchFromNotaries asks notaries for the keys of servers.
func (k *Keys) fetchFromNotaries(ctx context.Context, byServer map[matrix.ServerName][]wanted) error {
	for _, notary := range k.notaries {
		if notary == k.client.o.Server || len(byServer) == 0 {
			continue
		}
		if err := k.askNotary(ctx, notary, byServer); err != nil {
			return err
		}
		k.dropFound(byServer)
	}
	return nil
}

// askNotary asks one notary, in batches.
func (k *Keys) askNotary(ctx context.Context, notary matrix.ServerName, byServer map[matrix.ServerName][]wanted) error {
	batch := make(map[matrix.ServerName]KeyCriteria)
	ask := func() error {
		if len(batch) == 0 {
			return nil
		}
		defer clear(batch)
		objects, err := k.askBatch(ctx, notary, batch)
		if err != nil {
			keyFetches.WithLabelValues("notary", "failed").Inc()
			k.log.Debug("a notary gave no keys", "notary", notary, "error", err)
			return nil
		}
		keyFetches.WithLabelValues("notary", "got").Inc()
		return k.keep(ctx, objects...)
	}
	for server, wants := range byServer {
		criteria := make(KeyCriteria, len(wants))
		for _, w := range wants {
			criteria[w.id] = KeyCriterion{MinimumValidUntil: max(criteria[w.id].MinimumValidUntil, w.at)}
		}
		if batch[server] = criteria; len(batch) == notaryBatch {
			if err := ask(); err != nil {
				return err
			}
		}
	}
	return ask()
}

// keyAnswer is the answer of a notary.
type keyAnswer struct {
	Keys []json.RawMessage `json:"server_keys"`
}

var errNotary = errors.New("the notary has not signed its answer")

// askBatch asks a notary about some servers. Objects that the notary or the server itself has not signed, or
// that were not asked for, are dropped.
func (k *Keys) askBatch(ctx context.Context, notary matrix.ServerName, batch map[matrix.ServerName]KeyCriteria) ([]*keyObject, error) {
	its, err := k.direct(ctx, notary, nil)
	if err != nil {
		return nil, err
	}
	if its.object == nil {
		return nil, errNoKey
	}
	var told keyAnswer
	err = k.client.Do(ctx, notary, Request{
		Method: "POST", Path: "/_matrix/key/v2/query", Body: keyQuery{batch}, Into: &told,
		Limit: int64(len(batch)+1) * maxKeyAnswer / 4, Timeout: 2 * keyTime, Unsigned: true,
	})
	if err != nil {
		return nil, err
	}
	var all []*keyObject
	for _, raw := range told.Keys[:min(len(told.Keys), 4*len(batch))] {
		o, err := readKeys(raw, k.now().UnixMilli())
		if err == nil && !signedBy(raw, notary, its.object) {
			err = errNotary
		}
		if err != nil {
			k.log.Debug("a notary's answer is not taken", "notary", notary, "error", err)
			continue
		}
		if _, asked := batch[o.server]; asked {
			all = append(all, o)
		}
	}
	return all, nil
}

// signedBy says whether a present key of a server has signed an object.
func signedBy(raw []byte, server matrix.ServerName, its *keyObject) bool {
	for id, key := range its.keys {
		if key.expired == 0 && canonicaljson.Verify(raw, string(server), string(id), key.public) == nil {
			return true
		}
	}
	return false
}

// keep writes keys down, and takes into memory what then holds.
func (k *Keys) keep(ctx context.Context, objects ...*keyObject) error {
	now := k.now().UnixMilli()
	return k.db.Update(ctx, func(tx *store.Tx) error {
		for _, o := range objects {
			if err := writeKeys(tx, o, now); err != nil {
				return fmt.Errorf("keep the keys of %s: %w", o.server, err)
			}
			for id := range o.keys {
				name := keyName{o.server, id}
				key, found, err := readKey(tx, name)
				if err != nil {
					return err
				}
				if found {
					tx.AfterCommit(func() { k.known.Put(name, key, 1) })
				}
			}
		}
		return nil
	})
}
