package account

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"astrocyte/bus"
	"astrocyte/config"
	"astrocyte/httpapi"
	"astrocyte/lru"
	"astrocyte/matrix"
	"astrocyte/store"
)

// Options are what accounts need. Of the settings, the zero values are the defaults.
type Options struct {
	DB     *store.DB
	Bus    bus.Bus
	Log    *slog.Logger
	Server matrix.ServerName
	Now    func() time.Time

	Registration config.Registration
	Passwords    config.Passwords
	Sessions     config.Sessions
	// FailedLogins is how many wrong passwords an account takes: 10, then one in 20 seconds, by default.
	FailedLogins httpapi.Rate
	// ClientAddress tells the address of a request, where there are proxies to be trusted.
	ClientAddress func(*http.Request) netip.Addr

	Hooks
}

// Hooks are what other packages do when an account changes. Those with a transaction are a part of the
// change; the others follow it, and are not run again where the server stops in between.
type Hooks struct {
	// DevicesGone removes what belongs to devices that are deleted: keys, messages, pushers.
	DevicesGone []func(tx *store.Tx, user matrix.UserID, devices []matrix.DeviceID) error
	// DeviceRenamed notes, in the transaction that renames it, that a device has another name.
	DeviceRenamed func(tx *store.Tx, user matrix.UserID, device matrix.DeviceID) error
	// Deactivated removes what belongs to a user whose account ends, in the same transaction.
	Deactivated []func(tx *store.Tx, user matrix.UserID, erase bool) error
	// ProfileChanged notes, in the transaction that changes a profile field, that rooms must be told of it.
	ProfileChanged func(tx *store.Tx, user matrix.UserID, field string) error
	// Registered notes, in the transaction that makes it, that there is a new account.
	Registered []func(tx *store.Tx, u User) error
	// Profile carries the change into rooms, after the commit.
	Profile func(ctx context.Context, user matrix.UserID, field string) error
	// Reserved says that a user id belongs to somebody else, such as an application service: M_EXCLUSIVE.
	Reserved func(user matrix.UserID) bool
}

// Accounts keeps the users of a server.
type Accounts struct {
	db       *store.DB
	bus      bus.Bus
	log      *slog.Logger
	server   matrix.ServerName
	now      func() time.Time
	reg      atomic.Pointer[config.Registration]
	hooks    Hooks
	address  func(*http.Request) netip.Addr
	access   time.Duration
	refresh  time.Duration
	tokens   bool // sessions can make login tokens
	hasher   *hasher
	sessions *sessionCache
	seen     *seenDevices
	failures *failures
}

// New makes the accounts of a server.
func New(o Options) *Accounts {
	a := &Accounts{
		db: o.DB, bus: o.Bus, log: o.Log, server: o.Server, now: o.Now, hooks: o.Hooks, address: o.ClientAddress,
		access:  time.Duration(cmp.Or(o.Sessions.AccessTokenLifetime, config.Default().Sessions.AccessTokenLifetime)),
		refresh: time.Duration(o.Sessions.RefreshTokenLifetime), tokens: o.Sessions.LoginTokens,
		hasher: newHasher(o.Passwords), sessions: newSessionCache(), seen: newSeenDevices(),
	}
	a.SetRegistration(o.Registration)
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.address == nil {
		a.address = peerAddress
	}
	if o.FailedLogins.PerSecond == 0 {
		o.FailedLogins = httpapi.Rate{PerSecond: 0.05, Burst: 10}
	}
	a.failures = &failures{rate: o.FailedLogins, full: lru.New[matrix.UserID, time.Time](maxFailing)}
	return a
}

// Use sets what is done when accounts change, for parts that are made after them; before Run.
func (a *Accounts) Use(add func(*Hooks)) { add(&a.hooks) }

// Server is the name of the server whose users these are.
func (a *Accounts) Server() matrix.ServerName { return a.server }

// Run forgets revoked tokens that other nodes tell of, writes when devices were last seen, and removes
// what has expired, until ctx ends.
func (a *Accounts) Run(ctx context.Context) error {
	sub := a.bus.Subscribe(TokensChanged)
	defer sub.Close()
	flush := time.NewTicker(flushSeenEvery)
	defer flush.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			a.flushSeen(last)
			return nil
		case c := <-sub.C:
			a.heed(c)
		case <-flush.C:
			a.flushSeen(ctx)
		case <-sweep.C:
			a.sweep(ctx)
		}
	}
}

const sweepEvery = 5 * time.Minute

// sweep removes authentications that nobody finished.
func (a *Accounts) sweep(ctx context.Context) {
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		if err := deleteExpiredUIA(tx, a.millis()); err != nil {
			return err
		}
		if err := deleteExpiredLoginTokens(tx, a.millis()); err != nil {
			return err
		}
		return deleteExpiredOpenID(tx, a.millis())
	})
	if err != nil && ctx.Err() == nil {
		a.log.Error("remove expired authentications and tokens", "error", err)
	}
}

// millis is the time in milliseconds, as the database has it.
func (a *Accounts) millis() int64 { return a.now().UnixMilli() }

func peerAddress(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
