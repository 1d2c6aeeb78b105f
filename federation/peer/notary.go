package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/store"
)

// KeyCriteria are which keys of a server are wanted. The empty key stands for all; so does no key.
type KeyCriteria map[matrix.KeyID]KeyCriterion

// KeyCriterion says up to when a key should be valid, in milliseconds; 0 is now.
type KeyCriterion struct {
	MinimumValidUntil int64 `json:"minimum_valid_until_ts,omitempty"`
}

// keyQuery is the body of a question to a notary.
type keyQuery struct {
	Servers map[matrix.ServerName]KeyCriteria `json:"server_keys"`
}

const (
	// maxNotarized bounds the servers that are asked about at a time.
	maxNotarized = 100
	// askedAgain is after how long what a server told is asked for anew, where it does not say enough.
	askedAgain = 60_000 // milliseconds
)

// Notarize gives what servers told of their keys, signed by this server too. Servers that give none are missing.
//
// Spec: POST /_matrix/key/v2/query
func (k *Keys) Notarize(ctx context.Context, wanted map[matrix.ServerName]KeyCriteria) ([]json.RawMessage, error) {
	if len(wanted) > maxNotarized {
		return nil, matrix.InvalidParam("more than %d servers at once", maxNotarized)
	}
	all := make([]json.RawMessage, 0, len(wanted))
	for server := range wanted {
		if _, err := matrix.ParseServerName(string(server)); err != nil {
			return nil, err
		}
		if server == k.client.o.Server {
			own, err := k.Own()
			if err != nil {
				return nil, err
			}
			all = append(all, own)
		}
	}
	known, err := k.objectsOf(ctx, wanted)
	if err != nil {
		return nil, err
	}
	if stale := k.staleOf(wanted, known); len(stale) > 0 {
		if err := k.refresh(ctx, stale); err != nil {
			return nil, err
		}
		if known, err = k.objectsOf(ctx, wanted); err != nil {
			return nil, err
		}
	}
	for server, objects := range known {
		signed, err := k.signObjects(objects, wanted[server])
		if err != nil {
			return nil, err
		}
		all = append(all, signed...)
	}
	return all, nil
}

// objectsOf reads what is known of servers.
func (k *Keys) objectsOf(ctx context.Context, wanted map[matrix.ServerName]KeyCriteria) (map[matrix.ServerName][]storedObject, error) {
	known := make(map[matrix.ServerName][]storedObject)
	err := k.db.View(ctx, func(tx *store.Tx) error {
		for server := range wanted {
			objects, err := readObjects(tx, server)
			if err != nil {
				return fmt.Errorf("read the keys of %s: %w", server, err)
			}
			if len(objects) > 0 {
				known[server] = objects
			}
		}
		return nil
	})
	return known, err
}

// staleOf lists the servers of which not enough is known.
func (k *Keys) staleOf(wanted map[matrix.ServerName]KeyCriteria, known map[matrix.ServerName][]storedObject) []matrix.ServerName {
	now := k.now().UnixMilli()
	var stale []matrix.ServerName
	for server, criteria := range wanted {
		if server == k.client.o.Server || k.isAbsent(server, patient) {
			continue
		}
		enough := len(known[server]) > 0
		if len(criteria) == 0 {
			criteria = KeyCriteria{"": {}}
		}
		for id, c := range criteria {
			until := max(c.MinimumValidUntil, 0)
			if until == 0 {
				until = now
			}
			enough = enough && slices.ContainsFunc(known[server], func(o storedObject) bool {
				return (id == "" || id == o.key) && (o.stated >= until || o.expired || o.fetched > now-askedAgain)
			})
		}
		if !enough {
			stale = append(stale, server)
		}
	}
	return stale
}

// refresh asks servers for their keys.
func (k *Keys) refresh(ctx context.Context, servers []matrix.ServerName) error {
	byServer := make(map[matrix.ServerName][]wanted, len(servers))
	for _, server := range servers {
		byServer[server] = nil
	}
	began := k.now()
	var asked answers
	if err := k.fetchDirectly(ctx, byServer, &asked); err != nil {
		return err
	}
	for _, server := range servers {
		if its := asked.of(server); its.object == nil {
			k.noteAbsent(server, its, began)
		}
	}
	return nil
}

// signObjects signs what told the wanted keys, each once.
func (k *Keys) signObjects(objects []storedObject, criteria KeyCriteria) ([]json.RawMessage, error) {
	_, all := criteria[""]
	all = all || len(criteria) == 0
	var signed []json.RawMessage
	seen := make(map[string]bool)
	for _, o := range objects {
		if _, asked := criteria[o.key]; !asked && !all || seen[string(o.raw)] {
			continue
		}
		seen[string(o.raw)] = true
		object, err := k.signObject(o.raw)
		if err != nil {
			return nil, err
		}
		signed = append(signed, object)
	}
	return signed, nil
}
