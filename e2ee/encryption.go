package e2ee

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/lru"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Options are what encryption needs.
type Options struct {
	DB       *store.DB
	Server   matrix.ServerName
	Accounts *account.Accounts
	Rooms    *roomserver.Rooms
	Bus      bus.Bus
	// Folder is where it is noted which database this node has seen last; empty: nowhere.
	Folder string
	// TellNames tells other servers the names of devices.
	TellNames bool
	Log       *slog.Logger
	Now       func() time.Time
}

// Encryption keeps keys, and messages to devices.
type Encryption struct {
	db        *store.DB
	server    matrix.ServerName
	accounts  *account.Accounts
	rooms     *roomserver.Rooms
	bus       bus.Bus
	log       *slog.Logger
	now       func() time.Time
	devices   *lru.Cache[deviceID, deviceState]
	epoch     epoch
	remote    Remote
	tellNames bool // of devices, to other servers
}

// New makes the encryption of a server.
func New(o Options) *Encryption {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Encryption{
		db: o.DB, server: o.Server, accounts: o.Accounts, rooms: o.Rooms, bus: o.Bus, epoch: epoch{folder: o.Folder}, tellNames: o.TellNames, log: o.Log, now: o.Now,
		devices: lru.New[deviceID, deviceState](maxDeviceStates),
	}
}

// Open finds out whether the database was restored from a backup, before anybody is served.
func (e *Encryption) Open(ctx context.Context) error {
	if err := e.openEpoch(ctx); err != nil {
		return fmt.Errorf("find out whether the database was restored: %w", err)
	}
	return nil
}

const (
	sweepEvery = 10 * time.Minute
	// txnsKept is how long the transaction ids of messages to devices are remembered.
	txnsKept = 7 * 24 * time.Hour
	// inboundKept is how long those of other servers are: longer than these try.
	inboundKept = 30 * 24 * time.Hour
)

// Run removes what has expired, and keeps the lists of devices of users of other servers, until ctx ends.
func (e *Encryption) Run(ctx context.Context) error {
	jobs, err := store.NewJobs(e.db, store.JobHandler{
		Kind: jobList, Parallel: maxAtOnce, Patience: maxPatience,
		Do: func(ctx context.Context, j store.Job) error { return e.refresh(ctx, matrix.UserID(j.Key)) },
	})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.keep(ctx) })
	g.Go(func() error { return jobs.Run(ctx) })
	g.Go(func() error { return e.rooms.Follow(ctx, e.bus, e.lists()) })
	return g.Wait()
}

// keep does what is done now and then.
func (e *Encryption) keep(ctx context.Context) error {
	sweep, note := time.NewTicker(sweepEvery), time.NewTicker(noteEvery)
	defer sweep.Stop()
	defer note.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-note.C:
			if err := e.noteReached(ctx); err != nil && ctx.Err() == nil {
				e.log.Error("note how far the stream has come", "error", err)
			}
		case <-sweep.C:
			if err := e.sweep(ctx); err != nil && ctx.Err() == nil {
				e.log.Error("remove what has expired", "error", err)
			}
		}
	}
}

// sweep removes what is remembered for a while, and what is too much of the queues.
func (e *Encryption) sweep(ctx context.Context) error {
	if err := e.boundQueues(ctx, maxQueue); err != nil {
		return err
	}
	now := e.millis()
	return e.db.Update(ctx, func(tx *store.Tx) error {
		if err := deleteOldGrants(tx, now); err != nil {
			return err
		}
		if err := deleteOldTxns(tx, now-txnsKept.Milliseconds()); err != nil {
			return err
		}
		return deleteOldInbound(tx, now-inboundKept.Milliseconds())
	})
}

func (e *Encryption) millis() int64 { return e.now().UnixMilli() }

func (e *Encryption) ours(user matrix.UserID) bool { return user.Server() == e.server }

// DeviceRenamed notes that a device has another name, where others are told of it.
func (e *Encryption) DeviceRenamed(tx *store.Tx, user matrix.UserID, device matrix.DeviceID) error {
	if !e.tellNames {
		return nil
	}
	known, err := withKeys(tx, user, []matrix.DeviceID{device})
	if err != nil || len(known) == 0 {
		return err
	}
	return e.listChanged(tx, user, device)
}

// DevicesGone removes what belongs to devices that are deleted.
func (e *Encryption) DevicesGone(tx *store.Tx, user matrix.UserID, devices []matrix.DeviceID) error {
	known, err := withKeys(tx, user, devices)
	if err != nil {
		return err
	}
	if err := deleteOfDevices(tx, user, devices); err != nil {
		return fmt.Errorf("delete the keys of devices of %s: %w", user, err)
	}
	if len(known) > 0 {
		if err := e.listChanged(tx, user, known...); err != nil {
			return err
		}
	}
	pos, err := tx.NextPos(1)
	if err != nil {
		return err
	}
	return noteKeys(tx, pos, user)
}

// Deactivated removes the keys and backups of a user whose account ends. Their devices are gone already.
func (e *Encryption) Deactivated(tx *store.Tx, user matrix.UserID, _ bool) error {
	if err := deleteOfUser(tx, user); err != nil {
		return fmt.Errorf("delete the keys of %s: %w", user, err)
	}
	return e.listChanged(tx, user, crossSigning)
}
