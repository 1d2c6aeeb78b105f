package account

import (
	"context"
	"fmt"
	"time"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/store"
)

// Session is what a client gets when it logs in or refreshes its token.
type Session struct {
	User         matrix.UserID
	Device       matrix.DeviceID
	AccessToken  string
	RefreshToken string        // empty where the client cannot refresh
	ExpiresIn    time.Duration // 0: never
}

// maxSuccessors bounds the pairs of tokens that may wait for their first use: a client that loses the
// answer to a refresh asks again.
const maxSuccessors = 4

// TokensChanged tells nodes to forget what they know of a user's tokens; the key is the user's id.
const TokensChanged bus.Kind = "tokens"

// newSession makes tokens for a device, which is made as well if it is new. A device that is there
// loses the tokens it had.
//
// Spec: CS "Relationship between access tokens and devices".
func (a *Accounts) newSession(tx *store.Tx, user matrix.UserID, d NewDevice) (*Session, error) {
	if d.ID == "" {
		d.ID = matrix.DeviceID(randomText(upperAlphabet, 10))
	}
	fresh, err := insertDevice(tx, user, d.ID, d.Name, a.millis())
	if err != nil {
		return nil, err
	}
	if !fresh {
		if err := lockDevice(tx, user, d.ID); err != nil {
			return nil, err
		}
		if err := deleteDeviceTokens(tx, user, d.ID); err != nil {
			return nil, err
		}
		a.announceTokens(tx, user)
	}
	return a.issue(tx, user, d, "")
}

// issue makes a pair of tokens: the first of a device, or a successor of the pair prior.
func (a *Accounts) issue(tx *store.Tx, user matrix.UserID, d NewDevice, prior string) (*Session, error) {
	s := &Session{User: user, Device: d.ID}
	row := tokenRow{User: user, Device: d.ID, Pair: randomText(lowerAlphabet, 16), Prior: prior, created: a.millis()}
	token, key := newToken(accessPrefix, user.Shard())
	s.AccessToken = token
	if d.Refresh {
		s.ExpiresIn = a.access
		row.Expires = a.now().Add(a.access).UnixMilli()
	}
	if err := insertToken(tx, kindAccess, key, row); err != nil || !d.Refresh {
		return s, err
	}
	token, key = newToken(refreshPrefix, user.Shard())
	s.RefreshToken, row.Expires = token, 0
	if a.refresh > 0 {
		row.Expires = a.now().Add(a.refresh).UnixMilli()
	}
	return s, insertToken(tx, kindRefresh, key, row)
}

// Refresh gives a new pair of tokens for a refresh token. The old pair stays good until the new one is
// used, so that an answer that is lost costs nothing.
//
// Spec: POST /_matrix/client/v3/refresh
func (a *Accounts) Refresh(ctx context.Context, token string) (*Session, error) {
	key, ok := parseToken(refreshPrefix, token)
	if !ok {
		return nil, errUnknownToken
	}
	var s *Session
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		row, err := a.useToken(tx, kindRefresh, key)
		if err != nil {
			return err
		}
		if err := pruneSuccessors(tx, row, maxSuccessors-1); err != nil {
			return err
		}
		s, err = a.issue(tx, row.User, NewDevice{ID: row.Device, Refresh: true}, row.Pair)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// useToken reads a token for its use. The first use of a pair ends the pair before it and its other
// successors. Access tokens of the pair before are kept as expired, because requests that are under
// way with them must be told to refresh, and not that the session is gone.
func (a *Accounts) useToken(tx *store.Tx, kind int64, key secret) (row tokenRow, err error) {
	for range 2 { // once to know the device, once with the device locked
		var found bool
		if row, found, err = readToken(tx, kind, key); err != nil {
			return row, err
		}
		if !found {
			return row, errUnknownToken
		}
		if err := lockDevice(tx, row.User, row.Device); err != nil {
			return row, err
		}
	}
	if err := a.refusal(row); err != nil || row.Prior == "" {
		return row, err
	}
	if err := settlePair(tx, row, a.millis()); err != nil {
		return row, fmt.Errorf("use new tokens of %s: %w", row.User, err)
	}
	a.announceTokens(tx, row.User)
	return row, nil
}

// refusal tells why a token that is known is not good.
func (a *Accounts) refusal(row tokenRow) error {
	switch {
	case row.Deactivated:
		return errUnknownToken
	case row.Expires != 0 && row.Expires <= a.millis():
		return errSoftLogout
	}
	return nil
}

var (
	errUnknownToken = matrix.E(matrix.CodeUnknownToken, "the token is not known")
	errSoftLogout   = matrix.E(matrix.CodeUnknownToken, "the token has expired").With("soft_logout", true)
)

// Logout ends a session: its device goes with it.
func (a *Accounts) Logout(ctx context.Context, user matrix.UserID, device matrix.DeviceID) error {
	return a.DeleteDevices(ctx, user, []matrix.DeviceID{device})
}

// LogoutAll ends all sessions of a user.
func (a *Accounts) LogoutAll(ctx context.Context, user matrix.UserID) error {
	return a.db.Update(ctx, func(tx *store.Tx) error { return a.removeAllDevices(tx, user, "") })
}

// announceTokens makes this node forget the user's tokens before the caller is answered, and the others
// when the change arrives.
func (a *Accounts) announceTokens(tx *store.Tx, user matrix.UserID) {
	tx.AfterCommit(func() { a.sessions.forget(user) })
	tx.Announce(bus.Change{Kind: TokensChanged, Key: string(user)})
}

// heed forgets what a change from the bus makes stale.
func (a *Accounts) heed(c bus.Change) {
	if c.Kind == TokensChanged {
		a.sessions.forget(matrix.UserID(c.Key))
		return
	}
	a.sessions.forgetAll() // changes were lost
}
