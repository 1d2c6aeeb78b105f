package account

import (
	"context"
	"strings"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Login makes a session for a user who has a password.
//
// Spec: POST /_matrix/client/v3/login, "Password-based"
func (a *Accounts) Login(ctx context.Context, name, password string, d NewDevice) (*Session, error) {
	user, err := a.verifyPassword(ctx, name, password)
	if err != nil {
		return nil, err
	}
	return a.NewSession(ctx, user, d)
}

// NewSession makes a session for a user who has proven who they are.
func (a *Accounts) NewSession(ctx context.Context, user matrix.UserID, d NewDevice) (*Session, error) {
	var s *Session
	err := a.db.Update(ctx, func(tx *store.Tx) (err error) {
		if err := a.mustBeActive(tx, user); err != nil {
			return err
		}
		s, err = a.newSession(tx, user, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

var errWrongPassword = matrix.Forbidden("wrong username or password")

// verifyPassword finds the user who has a name and a password. What is wrong with them cannot be
// told from the answer, nor from the time it takes.
func (a *Accounts) verifyPassword(ctx context.Context, name, password string) (matrix.UserID, error) {
	u, err := a.named(ctx, name)
	if err != nil {
		return "", err
	}
	if err := a.failures.allow(u.ID, a.now()); err != nil {
		return "", err
	}
	right, stale, err := a.hasher.verify(ctx, u.hash, password)
	if err != nil {
		return "", err
	}
	if !right {
		a.failures.failed(u.ID, a.now())
		return "", errWrongPassword
	}
	if stale {
		a.rehash(ctx, u, password)
	}
	return u.ID, nil
}

// named finds the account that a name means. Where there is none the user has no hash, and no id
// either if it cannot be one of this server.
func (a *Accounts) named(ctx context.Context, name string) (User, error) {
	user, ok := a.identified(name)
	if !ok {
		return User{}, nil
	}
	u, found, err := a.User(ctx, user)
	if err != nil || found {
		return u, err
	}
	lower := matrix.UserID("@" + strings.ToLower(user.Localpart()) + ":" + string(a.server))
	if lower != user { // people write their names with a capital
		u, _, err = a.User(ctx, lower)
	}
	u.ID = lower
	return u, err
}

// rehash replaces a hash that was made at another cost. That it fails does not hurt: the old one is good.
func (a *Accounts) rehash(ctx context.Context, u User, password string) {
	done, err := a.hasher.turn(ctx)
	if err != nil {
		return
	}
	hash, err := a.hasher.make(password)
	done()
	if err == nil {
		err = a.db.Update(ctx, func(tx *store.Tx) error { return rewritePassword(tx, u.ID, u.hash, hash) })
	}
	if err != nil {
		a.log.Warn("store a password at its new cost", "user", u.ID, "error", err)
	}
}
