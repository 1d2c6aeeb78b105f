package account

import (
	"context"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/store"
)

// NewUser is an account to be made.
type NewUser struct {
	ID         matrix.UserID
	Password   string // empty: no password logs in
	Kind       Kind
	Admin      bool
	AppService string
	// DisplayName is set in the profile where it is not empty.
	DisplayName string
	// Token is the registration token to be used up.
	Token string
	// Upgrade makes a user of the guest who has the ID.
	Upgrade bool
}

// NewDevice is a session to be made.
type NewDevice struct {
	ID      matrix.DeviceID // empty: the server chooses
	Name    string
	Refresh bool // the client can refresh tokens
}

// Registration tells who may make an account.
func (a *Accounts) Registration() config.Registration { return *a.reg.Load() }

// SetRegistration changes who may make an account.
func (a *Accounts) SetRegistration(r config.Registration) { a.reg.Store(&r) }

// Available says whether a new user could have the name, and gives the id they would have.
//
// Spec: Appendices "User Identifiers".
func (a *Accounts) Available(ctx context.Context, localpart string) (matrix.UserID, error) {
	user, err := matrix.ParseLocalpart(localpart, a.server)
	if err != nil {
		return "", err
	}
	if a.hooks.Reserved != nil && a.hooks.Reserved(user) {
		return "", matrix.E(matrix.CodeExclusive, "this username is reserved")
	}
	_, taken, err := a.User(ctx, user)
	if err == nil && taken {
		err = errTaken
	}
	return user, err
}

var errTaken = matrix.E(matrix.CodeUserInUse, "this username is taken")

// FreeName gives an id for a user who did not choose one.
func (a *Accounts) FreeName() matrix.UserID {
	return matrix.UserID("@" + randomText(lowerAlphabet, 12) + ":" + string(a.server))
}

// CreateUser makes an account.
func (a *Accounts) CreateUser(ctx context.Context, u NewUser) error {
	_, err := a.Register(ctx, u, nil)
	return err
}

// Register makes an account and, where d is given, a session of it, in one transaction.
func (a *Accounts) Register(ctx context.Context, u NewUser, d *NewDevice) (*Session, error) {
	account := User{ID: u.ID, Kind: u.Kind, Admin: u.Admin, Created: a.millis(), AppService: u.AppService}
	if u.Password != "" {
		hash, err := a.hasher.hash(ctx, u.Password)
		if err != nil {
			return nil, err
		}
		account.hash = hash
	}
	var s *Session
	err := a.db.Update(ctx, func(tx *store.Tx) (err error) {
		if err := a.claim(tx, &account, u.Upgrade); err != nil {
			return err
		}
		if u.Token != "" {
			if err := a.spendToken(tx, u.Token); err != nil {
				return err
			}
		}
		if u.DisplayName != "" {
			if err := a.changeProfile(tx, u.ID, fieldDisplayName, quoted(u.DisplayName)); err != nil {
				return err
			}
		}
		for _, follow := range a.hooks.Registered {
			if err := follow(tx, account); err != nil {
				return err
			}
		}
		if d != nil {
			s, err = a.newSession(tx, u.ID, *d)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// claim makes the row of a new account, or turns that of a guest into one.
func (a *Accounts) claim(tx *store.Tx, u *User, upgrade bool) error {
	claim := insertUser
	if upgrade {
		claim = upgradeGuest
		a.announceTokens(tx, u.ID) // the guest's sessions are the user's from now on
	}
	done, err := claim(tx, u)
	if err == nil && !done {
		err = errTaken
	}
	return err
}
