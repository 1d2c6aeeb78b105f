// Package remote acts on other servers for users of this one: asks them for profiles, keys, media and rooms, and
// joins, leaves and fills rooms that live elsewhere.
//
// Invariants:
//   - what another server answers is checked before anything is made of it; of what is not as it should be, the
//     user is told in words of this server;
//   - no transaction is open while another server is asked.
package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"astrocyte/egress"
	"astrocyte/federation/peer"
	"astrocyte/lru"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Options are what is needed to act on other servers.
type Options struct {
	DB     *store.DB
	Client *peer.Client
	Keys   *peer.Keys
	// Rooms are the rooms of this server.
	Rooms *roomserver.Rooms
	KeyID matrix.KeyID // of the server's signing key
	Key   ed25519.PrivateKey
	// Egress judges connections to what are no servers of the protocol, and CAs are trusted there.
	Egress *egress.Policy
	CAs    *x509.CertPool
	// Dir is where large rooms are kept while they are told; empty: where temporary files are.
	Dir string
	Log *slog.Logger
	Now func() time.Time
}

// Remote acts on other servers.
type Remote struct {
	db     *store.DB
	client *peer.Client
	keys   *peer.Keys
	rooms  *roomserver.Rooms
	keyID  matrix.KeyID
	key    ed25519.PrivateKey
	web    *http.Client
	spaces *lru.Cache[spaceKey, toldSpace]
	server matrix.ServerName
	dir    string
	log    *slog.Logger
	now    func() time.Time

	entering turns // who joins a room
	settle   func(ctx context.Context, server matrix.ServerName)
	filling  turns // who fills its history
	hopeless *lru.Cache[holeKey, time.Time]
	policing sync.Mutex // guards the making of what policies has
	policies *lru.Cache[matrix.ServerName, *policyServer]
}

// Behind tells what waits, for a while, for a server to take what is to be sent to it. It is called before use.
func (r *Remote) Behind(settle func(ctx context.Context, server matrix.ServerName)) {
	r.settle = settle
}

// New makes what acts on other servers.
func New(o Options) *Remote {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Remote{
		settle: func(context.Context, matrix.ServerName) {},
		db:     o.DB, client: o.Client, keys: o.Keys, rooms: o.Rooms, keyID: o.KeyID, key: o.Key, server: o.Client.Server(), dir: o.Dir,
		log: o.Log, now: o.Now,
		web:      webClient(o),
		spaces:   lru.New[spaceKey, toldSpace](spacesMemory),
		hopeless: lru.New[holeKey, time.Time](backfillHopeless),
		policies: newPolicies(),
	}
}

// spacesMemory bounds what is remembered of spaces of other servers, in bytes.
const spacesMemory = 16 << 20

// userTime is how long a user waits for another server.
const userTime = 20 * time.Second

// toldUser makes of what went wrong with another server what a user is told: its refusal in its own words, and
// else that it cannot be reached.
func toldUser(server matrix.ServerName, err error) error {
	var refused *peer.Refused
	switch {
	case errors.As(err, &refused) && refused.Status >= 400 && refused.Status < 500 && refused.Status != http.StatusUnauthorized:
		told := matrix.E(refused.Fault.Code, "%s says: %s", server, refused.Fault.Message).WithStatus(refused.Status)
		if version, is := refused.Fault.Fields["room_version"].(string); is && told.Code == matrix.CodeIncompatibleRoomVersion {
			told = told.With("room_version", version)
		}
		return told
	case errors.As(err, &refused):
		return matrix.E(matrix.CodeUnknown, "%s answers with an error", server).WithStatus(http.StatusBadGateway)
	case errors.Is(err, peer.ErrNotAdmitted):
		return matrix.Forbidden("this server does not speak with %s", server)
	case errors.Is(err, context.DeadlineExceeded):
		return matrix.E(matrix.CodeUnknown, "%s did not answer in time", server).WithStatus(http.StatusGatewayTimeout)
	}
	return matrix.E(matrix.CodeUnknown, "%s cannot be reached", server).WithStatus(http.StatusBadGateway)
}

// Alone makes what acts on no other server, for a server that stands alone.
func Alone(server matrix.ServerName, rooms *roomserver.Rooms) *Remote {
	nowhere := egress.New(egress.Options{})
	return New(Options{Rooms: rooms, Egress: nowhere, Client: peer.New(peer.Options{
		Server: server, Egress: nowhere, Admission: peer.Admission{None: true},
	})})
}
