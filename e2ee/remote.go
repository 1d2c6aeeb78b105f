package e2ee

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Remote is how other servers are reached. Each function asks one server, and gives what it answered, which
// is checked here. None is called within a transaction but Waiting.
type Remote struct {
	// QueryKeys asks for the keys of users: POST /_matrix/federation/v1/user/keys/query.
	QueryKeys func(ctx context.Context, to matrix.ServerName, wanted Wanted) (*ServedKeys, error)
	// ClaimKeys asks for one-time keys: POST /_matrix/federation/v1/user/keys/claim.
	ClaimKeys func(ctx context.Context, to matrix.ServerName, claims Claims) (Claimed, error)
	// Devices asks for the whole list of a user: GET /_matrix/federation/v1/user/devices/{userId}.
	Devices func(ctx context.Context, user matrix.UserID) (*DeviceList, error)
	// Waiting is told, in the transaction that queues it, for which servers something waits.
	Waiting func(tx *store.Tx, servers []matrix.ServerName) error
}

// Reach gives the encryption its way to other servers. It is called before Run, or not at all: then only
// keys of this server's users are known.
func (e *Encryption) Reach(r Remote) { e.remote = r }

// Wanted are the devices of users whose keys are asked for; an empty list stands for all of a user's.
type Wanted map[matrix.UserID][]matrix.DeviceID

// ServedKeys are keys as servers tell them to each other.
//
// Spec: POST /_matrix/federation/v1/user/keys/query
type ServedKeys struct {
	Devices     map[matrix.UserID]map[matrix.DeviceID]json.RawMessage `json:"device_keys"`
	Master      map[matrix.UserID]json.RawMessage                     `json:"master_keys,omitempty"`
	SelfSigning map[matrix.UserID]json.RawMessage                     `json:"self_signing_keys,omitempty"`
}

// DeviceList is the whole list of a user's devices.
//
// Spec: GET /_matrix/federation/v1/user/devices/{userId}
type DeviceList struct {
	User        matrix.UserID   `json:"user_id"`
	StreamID    int64           `json:"stream_id"`
	Devices     []ListedDevice  `json:"devices"`
	Master      json.RawMessage `json:"master_key,omitempty"`
	SelfSigning json.RawMessage `json:"self_signing_key,omitempty"`
}

// ListedDevice is a device of a list.
type ListedDevice struct {
	ID   matrix.DeviceID `json:"device_id"`
	Keys json.RawMessage `json:"keys"`
	Name string          `json:"device_display_name,omitempty"`
}

const (
	// maxAtOnce bounds the servers that are asked at the same time for one request of a client.
	maxAtOnce = 16
	// patience is how long a server may take to answer where the client does not say, and maxPatience
	// whatever it says.
	patience    = 10 * time.Second
	maxPatience = 60 * time.Second
)

var (
	// notReached is said of servers that could not be asked. Why stands in the log.
	notReached = &Failure{matrix.CodeUnknown, "this server could not be reached"}
	// notFederating is said where no server can be asked.
	notFederating = &Failure{matrix.CodeUnrecognized, "this server does not federate"}
)

// byServer sorts what is asked for by the servers that know it.
func byServer[M ~map[matrix.UserID]V, V any](wanted M) map[matrix.ServerName]M {
	servers := make(map[matrix.ServerName]M)
	for user, v := range wanted {
		if servers[user.Server()] == nil {
			servers[user.Server()] = make(M)
		}
		servers[user.Server()][user] = v
	}
	return servers
}

// askAll asks each server for its part, some at the same time, as long as the client has patience. take gets
// the answers one after the other. Those that do not answer are among the failures.
func askAll[Q, A any](ctx context.Context, e *Encryption, wait time.Duration, parts map[matrix.ServerName]Q,
	ask func(context.Context, matrix.ServerName, Q) (A, error), take func(matrix.ServerName, A)) Failures {
	failures := make(Failures)
	if ask == nil {
		for to := range parts {
			failures[to] = notFederating
		}
		return failures
	}
	if wait <= 0 {
		wait = patience
	}
	ctx, cancel := context.WithTimeout(ctx, min(wait, maxPatience))
	defer cancel()
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(maxAtOnce)
	for to, part := range parts {
		g.Go(func() error {
			answer, err := ask(ctx, to, part)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				e.log.Info("ask another server for keys", "server", to, "error", err)
				failures[to] = notReached
				return nil
			}
			take(to, answer)
			return nil
		})
	}
	_ = g.Wait() // nothing fails as a whole
	return failures
}
