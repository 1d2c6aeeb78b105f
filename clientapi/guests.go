package clientapi

import (
	"context"

	"astrocyte/account"
	"astrocyte/matrix"
)

// registerGuest makes an account for somebody who wants to look around. They choose nothing but the name of
// their device.
//
// Spec: CS "Guest Access".
func (a *API) registerGuest(ctx context.Context, q *registerRequest) (*sessionResponse, error) {
	if !a.accounts.Registration().Guests {
		return nil, matrix.E(matrix.CodeGuestAccessForbidden, "this server has no guests")
	}
	d := account.NewDevice{Name: q.DeviceName}
	if err := account.CheckDevice("", d.Name); err != nil {
		return nil, err
	}
	s, err := a.accounts.Register(ctx, account.NewUser{ID: a.accounts.FreeName(), Kind: account.Guest}, &d)
	if err != nil {
		return nil, err
	}
	return newSession(s), nil
}

// guestOf finds the guest who wants to become a user, by the token of their session. They keep their name, which
// they may leave out.
func (a *API) guestOf(ctx context.Context, token, name string) (matrix.UserID, error) {
	c, err := a.accounts.Holder(ctx, token)
	switch {
	case err != nil:
		return "", err
	case !c.Guest:
		return "", matrix.Forbidden("guest_access_token is not the token of a guest")
	case name != "" && name != c.User.Localpart():
		return "", matrix.InvalidParam("a guest who becomes a user keeps the name %s", c.User.Localpart())
	}
	return c.User, nil
}
