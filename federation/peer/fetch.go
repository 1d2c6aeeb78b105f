package peer

import (
	"context"
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
	var answered answering
	direct := func(ctx context.Context, byServer map[matrix.ServerName][]wanted) error {
		return k.fetchDirectly(ctx, byServer, &answered)
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
		k.noteAbsent(server, answered.has(server))
	}
	return nil
}

// answering are the servers that have given keys, though not those that were wanted.
type answering struct {
	mu      sync.Mutex
	servers map[matrix.ServerName]bool
}

func (a *answering) add(server matrix.ServerName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.servers == nil {
		a.servers = make(map[matrix.ServerName]bool)
	}
	a.servers[server] = true
}

func (a *answering) has(server matrix.ServerName) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.servers[server]
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
func (k *Keys) fetchDirectly(ctx context.Context, byServer map[matrix.ServerName][]wanted, answered *answering) error {
	var g errgroup.Group
	g.SetLimit(directAtOnce)
	for server := range byServer {
		g.Go(func() error {
			o, err := k.direct(ctx, server)
			if o != nil {
				answered.add(server)
			}
			return err
		})
	}
	return g.Wait()
}

// direct asks a server for its keys, and keeps them. Who asks at the same time shares the answer; it is nil
// where there is none.
func (k *Keys) direct(ctx context.Context, server matrix.ServerName) (*keyObject, error) {
	asked := k.fetching.DoChan(string(server), func() (any, error) {
		ctx := context.WithoutCancel(ctx) // others wait for it too
		o, err := k.askForKeys(ctx, server)
		if err != nil {
			keyFetches.WithLabelValues("direct", "failed").Inc()
			k.log.Debug("a server's keys were not had", "server", server, "error", err)
			return (*keyObject)(nil), nil
		}
		keyFetches.WithLabelValues("direct", "got").Inc()
		return o, k.keep(ctx, o)
	})
	select {
	case got := <-asked:
		return got.Val.(*keyObject), got.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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
	its, err := k.direct(ctx, notary)
	if err != nil {
		return nil, err
	}
	if its == nil {
		return nil, errNoKey
	}
	var answer keyAnswer
	err = k.client.Do(ctx, notary, Request{
		Method: "POST", Path: "/_matrix/key/v2/query", Body: keyQuery{batch}, Into: &answer,
		Limit: int64(len(batch)+1) * maxKeyAnswer / 4, Timeout: 2 * keyTime, Unsigned: true,
	})
	if err != nil {
		return nil, err
	}
	var all []*keyObject
	for _, raw := range answer.Keys[:min(len(answer.Keys), 4*len(batch))] {
		o, err := readKeys(raw, k.now().UnixMilli())
		if err == nil && !signedBy(raw, notary, its) {
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
