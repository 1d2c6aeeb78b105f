package account

import (
	"context"
	"fmt"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

// openIDPrefix tells tokens by which a user proves who they are to a third party.
const openIDPrefix = "astro_o_"

// openIDLifetime is how long such a token is good.
const openIDLifetime = time.Hour

// OpenIDToken makes a token by which a user proves to a third party, such as a call service, who they
// are. It gives no access to the account.
//
// Spec: POST /_matrix/client/v3/user/{userId}/openid/request_token
func (a *Accounts) OpenIDToken(ctx context.Context, user matrix.UserID) (token string, lifetime time.Duration, err error) {
	token, s := newToken(openIDPrefix, user.Shard())
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		return insertOpenID(tx, s, user, a.millis()+openIDLifetime.Milliseconds())
	})
	if err != nil {
		return "", 0, fmt.Errorf("store an OpenID token: %w", err)
	}
	return token, openIDLifetime, nil
}

// OpenIDUser tells who made an OpenID token; false if it is none, or is over.
//
// Spec: GET /_matrix/federation/v1/openid/userinfo
func (a *Accounts) OpenIDUser(ctx context.Context, token string) (user matrix.UserID, ok bool, err error) {
	s, ok := parseToken(openIDPrefix, token)
	if !ok {
		return "", false, nil
	}
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		user, ok, err = readOpenID(tx, s, a.millis())
		return err
	})
	return user, ok, err
}
