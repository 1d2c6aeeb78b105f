// Package roomserver keeps the rooms: every event enters a room here, through one committer a node.
//
// A draft (of a client of ours) or a received event waits in a queue. While one batch commits, the
// next gathers; a batch runs as one function, in one transaction: lock the rooms, answer repeated
// requests, authorize each event on the room's cached state, give it its place, write in bulk, take
// positions, commit, wake and acknowledge.
//
// Invariants:
//   - what was acknowledged is committed; what was refused left nothing;
//   - the timeline holds exactly the events that clients may see: seq rises by one an event, and jumps
//     only over a gap of the DAG (a row in room_gaps); pos is the order of commits;
//   - a room's row (head, extremities, state) is read and written only under its lock;
//   - members, user_rooms and room_servers follow from the current state, in the same transaction;
//   - no network: what the room server lacks it tells as a *Gap. What it has other servers asked, by who
//     was given to it for that (Reach), is asked while no transaction is open.
package roomserver

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"astrocyte/lru"
	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// RoomNID is a room's number in this database. Its low eight bits are the room's shard.
type RoomNID int64

// Shard is the first column of the room's rows.
func (r RoomNID) Shard() int64 { return int64(r) & 0xff }

// String is the key of the room's changes on the bus.
func (r RoomNID) String() string { return strconv.FormatInt(int64(r), 10) }

// Options are what Rooms need.
type Options struct {
	DB     *store.DB
	Server matrix.ServerName
	KeyID  matrix.KeyID       // of the server's signing key
	Key    ed25519.PrivateKey // signs our events
	// Notices is the user whose invites cannot be refused; empty: there is none.
	Notices matrix.UserID
	// MayInvite refuses invites that their target, a user of ours, does not want; nil: none is refused.
	MayInvite func(ctx context.Context, inviter, target matrix.UserID) error
	// Erased says whether a user of ours wanted to be erased when their account ended; nil: nobody did.
	Erased func(tx *store.Tx, user matrix.UserID) (bool, error)
	Memory int64 // bytes that the caches may hold
	// KeepRedacted is how long what a redaction takes from an event stays in the database; 0: for ever.
	KeepRedacted time.Duration
	Now          func() time.Time
	Log          *slog.Logger
}

// Rooms are the rooms that this server takes part in.
type Rooms struct {
	db           *store.DB
	server       matrix.ServerName
	keyID        matrix.KeyID
	key          ed25519.PrivateKey
	notices      matrix.UserID
	now          func() time.Time
	log          *slog.Logger
	states       *state.States
	nids         *lru.Cache[matrix.RoomID, RoomNID]
	events       *lru.Cache[int64, *Event]
	graphs       *state.Graphs
	parked       chan struct{} // who resolves a state over the budget
	queue        chan *wish
	invites      func(ctx context.Context, inviter, target matrix.UserID) error
	erased       func(tx *store.Tx, user matrix.UserID) (bool, error)
	remote       Remote
	tellOutside  func(tx *store.Tx, at Passed, o *Outside) error
	keepRedacted time.Duration
	purge        PurgeHooks
	process      string       // who holds the leases of followers
	created      atomic.Int64 // the time of the newest room that was made here
}

// queueMost bounds the wishes that wait for the committer. Whoever finds it full waits to enter.
const queueMost = 4096

// New makes the rooms. Nothing can be written before Run runs.
func New(o Options) *Rooms {
	return &Rooms{
		db: o.DB, process: processName(o.DB), server: o.Server, keyID: o.KeyID, key: o.Key, notices: o.Notices, now: o.Now, log: o.Log,
		states: state.New(o.DB, o.Memory/2),
		graphs: state.NewGraphs(o.Memory / 8),
		parked: make(chan struct{}, 1),
		nids:   lru.New[matrix.RoomID, RoomNID](o.Memory / 16),
		events: lru.New[int64, *Event](o.Memory * 5 / 16),
		queue:  make(chan *wish, queueMost), keepRedacted: o.KeepRedacted, invites: o.MayInvite, erased: o.Erased,
		remote: alone(), tellOutside: func(*store.Tx, Passed, *Outside) error { return nil },
	}
}

// Run commits what is wished, and forgets what is old, until the context ends.
func (r *Rooms) Run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error {
		r.commitLoop(ctx)
		return nil
	})
	g.Go(func() error { return r.sweep(ctx) })
	return g.Wait()
}

// Notices is the user whose invites cannot be refused; empty: there is none.
func (r *Rooms) Notices() matrix.UserID { return r.notices }

// Server is the name of this server.
func (r *Rooms) Server() matrix.ServerName { return r.server }

// NID finds the number of a room; false if this server has never heard of it.
func (r *Rooms) NID(tx *store.Tx, id matrix.RoomID) (RoomNID, bool, error) {
	if nid, ok := r.nids.Get(id); ok {
		return nid, true, nil
	}
	nid, ok, err := roomNID(tx, id)
	if ok {
		tx.AfterCommit(func() { r.nids.Put(id, nid, int64(len(id))+100) })
	}
	return nid, ok, err
}

// known finds the number of a room, or tells that there is none.
func (r *Rooms) known(tx *store.Tx, id matrix.RoomID) (RoomNID, error) {
	nid, ok, err := r.NID(tx, id)
	if err == nil && !ok {
		err = matrix.NotFound("this server does not know the room %s", id)
	}
	return nid, err
}

func version(id string) (*rules.Version, error) {
	v, ok := rules.ByID(matrix.RoomVersion(id))
	if !ok {
		return nil, matrix.E(matrix.CodeUnsupportedRoomVersion, "this server does not support room version %s", id)
	}
	return v, nil
}
