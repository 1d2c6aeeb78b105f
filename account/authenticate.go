package account

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/store"
)

const (
	// cacheTTL bounds how long a node may take a token for good whose end it was not told of.
	cacheTTL = 15 * time.Second
	// cachePerShard bounds the sessions that are kept in memory, for each of the 256 shards.
	cachePerShard = 512
)

// Authenticate finds the caller of an access token. A session that is in use is found in memory.
//
// Spec: CS "Using access tokens", "Soft logout".
func (a *Accounts) Authenticate(ctx context.Context, token string, r *http.Request) (*httpapi.Caller, error) {
	key, ok := parseToken(accessPrefix, token)
	if !ok {
		return nil, errUnknownToken
	}
	now := a.now()
	s := a.sessions.find(key, now)
	if s == nil {
		var err error
		if s, err = a.loadSession(ctx, key, now); err != nil {
			return nil, err
		}
	}
	if err := a.refusal(s.tokenRow); err != nil {
		return nil, err
	}
	a.noteSeen(s, r, now.UnixMilli())
	return &httpapi.Caller{
		User: s.User, Device: s.Device, TokenHash: key.hash[:],
		Guest: s.Kind == Guest, Admin: s.Admin, Locked: s.Locked, Suspended: s.Suspended, Shadowed: s.Shadowed,
		Unlimited: s.Limit.Rate == 0, Messages: s.Limit.Messages(),
	}, nil
}

// Holder finds who has an access token that stands in a body.
func (a *Accounts) Holder(ctx context.Context, token string) (*httpapi.Caller, error) {
	key, ok := parseToken(accessPrefix, token)
	if !ok {
		return nil, errUnknownToken
	}
	row, err := a.viewToken(ctx, key)
	if err != nil {
		return nil, err
	}
	return &httpapi.Caller{User: row.User, Device: row.Device, Guest: row.Kind == Guest}, a.refusal(row)
}

// loadSession reads a session, and settles its tokens where this is their first use.
func (a *Accounts) loadSession(ctx context.Context, key secret, now time.Time) (*session, error) {
	stamp := a.sessions.stamp(key.shard)
	row, err := a.viewToken(ctx, key)
	if err != nil {
		return nil, err
	}
	if row.Prior != "" && a.refusal(row) == nil {
		err := a.db.Update(ctx, func(tx *store.Tx) error {
			_, err := a.useToken(tx, kindAccess, key)
			return err
		})
		if err != nil {
			return nil, err
		}
		stamp = a.sessions.stamp(key.shard)
		if row, err = a.viewToken(ctx, key); err != nil {
			return nil, err
		}
	}
	s := &session{tokenRow: row, read: now}
	s.seen.Store(row.Seen)
	a.sessions.keep(key, s, stamp)
	return s, nil
}

func (a *Accounts) viewToken(ctx context.Context, key secret) (row tokenRow, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) error {
		var found bool
		row, found, err = readToken(tx, kindAccess, key)
		if err == nil && !found {
			err = errUnknownToken
		}
		return err
	})
	return row, err
}

// session is an access token in memory.
type session struct {
	tokenRow
	read time.Time
	seen atomic.Int64 // when its device was last seen, as far as that was noted
}

// sessionCache holds the sessions in use. A token names its shard, so that all sessions of a user are
// in one of the parts, and forgetting them looks through that only.
type sessionCache struct {
	parts [256]cachePart
}

type cachePart struct {
	mu       sync.Mutex
	sessions map[[32]byte]*session
	forgets  uint64 // how often something was forgotten
}

func newSessionCache() *sessionCache {
	c := new(sessionCache)
	for i := range c.parts {
		c.parts[i].sessions = map[[32]byte]*session{}
	}
	return c
}

func (c *sessionCache) find(key secret, now time.Time) *session {
	p := &c.parts[key.shard]
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sessions[key.hash]
	if s == nil || now.Sub(s.read) > cacheTTL {
		delete(p.sessions, key.hash)
		return nil
	}
	return s
}

// stamp is taken before a session is read from the database: it is not kept if something of its shard
// was forgotten meanwhile, because then it may have been read before it ended.
func (c *sessionCache) stamp(shard int64) uint64 {
	p := &c.parts[shard]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.forgets
}

func (c *sessionCache) keep(key secret, s *session, stamp uint64) {
	p := &c.parts[key.shard]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.forgets != stamp {
		return
	}
	if len(p.sessions) >= cachePerShard {
		for other := range p.sessions { // any of them
			delete(p.sessions, other)
			break
		}
	}
	p.sessions[key.hash] = s
}

func (c *sessionCache) forget(user matrix.UserID) {
	p := &c.parts[user.Shard()]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgets++
	for hash, s := range p.sessions {
		if s.User == user {
			delete(p.sessions, hash)
		}
	}
}

func (c *sessionCache) forgetAll() {
	for i := range c.parts {
		p := &c.parts[i]
		p.mu.Lock()
		p.forgets++
		clear(p.sessions)
		p.mu.Unlock()
	}
}
