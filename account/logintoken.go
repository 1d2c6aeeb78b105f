package account

import (
	"context"
	"fmt"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

// loginPrefix tells tokens that log somebody in.
const loginPrefix = "astro_l_"

// loginTokenLifetime is how long such a token is good.
const loginTokenLifetime = 2 * time.Minute

// LoginTokens says whether users can make tokens that log in their other devices.
func (a *Accounts) LoginTokens() bool { return a.tokens }

// LoginToken makes a token by which another device of a user logs in, once.
//
// Spec: POST /_matrix/client/v1/login/get_token
func (a *Accounts) LoginToken(ctx context.Context, user matrix.UserID) (token string, lifetime time.Duration, err error) {
	token, s := newToken(loginPrefix, user.Shard())
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		if err := a.mustBeActive(tx, user); err != nil {
			return err
		}
		return insertLoginToken(tx, s, user, a.millis()+loginTokenLifetime.Milliseconds())
	})
	if err != nil {
		return "", 0, fmt.Errorf("store a login token: %w", err)
	}
	return token, loginTokenLifetime, nil
}

var errWrongLoginToken = matrix.Forbidden("the login token is not known, was used, or is too old")

// LoginByToken makes a session for whoever has a login token, which is used up by it.
//
// Spec: POST /_matrix/client/v3/login, "Token-based"
func (a *Accounts) LoginByToken(ctx context.Context, token string, d NewDevice) (*Session, error) {
	key, ok := parseToken(loginPrefix, token)
	if !ok {
		return nil, errWrongLoginToken
	}
	var s *Session
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		user, found, err := takeLoginToken(tx, key, a.millis())
		if err != nil {
			return err
		}
		if !found {
			return errWrongLoginToken
		}
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
