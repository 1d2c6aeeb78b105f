package account

import (
	"context"
	"fmt"
	"strings"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/store"
)

// Kind is what an account is for.
type Kind int64

// The kinds of accounts.
const (
	Person Kind = iota
	Guest
	Bridged // made by an application service
)

// User is an account.
type User struct {
	ID          matrix.UserID
	Kind        Kind
	Admin       bool
	Locked      bool
	Suspended   bool
	Shadowed    bool  // what they send reaches nobody, and they are not told
	Limit       Limit // for messages
	Erased      bool
	Created     int64 // milliseconds
	Deactivated int64 // milliseconds, 0 for accounts in use
	AppService  string
	hash        string
}

// Limit is how many messages a second a user may send, in place of what the settings say, and how many at once.
type Limit struct {
	Rate, Burst int64 // Rate 0: without limit; less: as the settings say
}

// NoLimit leaves the limit of a user to the settings.
var NoLimit = Limit{Rate: -1}

// Set says whether the user has a limit of their own, which may be none at all.
func (l Limit) Set() bool { return l.Rate >= 0 }

// Messages is the limit as the HTTP layer has it; the zero rate: as the settings say.
func (l Limit) Messages() httpapi.Rate {
	if l.Rate <= 0 {
		return httpapi.Rate{}
	}
	return httpapi.Rate{PerSecond: float64(l.Rate), Burst: int(l.Burst)}
}

// SetLimit sets the limit of a user, on all nodes.
func (a *Accounts) SetLimit(ctx context.Context, user matrix.UserID, l Limit) error {
	return a.db.Update(ctx, func(tx *store.Tx) error {
		found, err := writeLimit(tx, user, l)
		if err == nil && !found {
			err = matrix.NotFound("there is no user %s", user)
		}
		if err != nil {
			return err
		}
		a.announceTokens(tx, user)
		return nil
	})
}

// HasPassword says whether the user can log in by a password.
func (u User) HasPassword() bool { return u.hash != "" }

// User finds an account of this server.
func (a *Accounts) User(ctx context.Context, user matrix.UserID) (u User, found bool, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		u, found, err = readUser(tx, user)
		return err
	})
	return u, found, err
}

// Exists says whether a user of this server exists and is not deactivated.
func (a *Accounts) Exists(tx *store.Tx, user matrix.UserID) (bool, error) {
	u, found, err := readUser(tx, user)
	return found && u.Deactivated == 0, err
}

// GuestsAmong finds those of some users who are guests.
func (a *Accounts) GuestsAmong(ctx context.Context, users []matrix.UserID) (guests []matrix.UserID, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		guests, err = guestsAmong(tx, users)
		return err
	})
	return guests, err
}

// ListUsers reads accounts in the order of their ids, from the one that follows after.
func (a *Accounts) ListUsers(ctx context.Context, after matrix.UserID, limit int) (users []User, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		users, err = readUsers(tx, after, limit)
		return err
	})
	return users, err
}

// SetPassword sets a user's password without asking for the old one, and ends all sessions but keep,
// or none where logoutOthers is not set.
func (a *Accounts) SetPassword(ctx context.Context, user matrix.UserID, password string, logoutOthers bool, keep matrix.DeviceID) error {
	hash, err := a.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	return a.db.Update(ctx, func(tx *store.Tx) error {
		if err := a.mustBeActive(tx, user); err != nil {
			return err
		}
		if err := writePassword(tx, user, hash); err != nil {
			return err
		}
		if !logoutOthers {
			return nil
		}
		return a.removeAllDevices(tx, user, keep)
	})
}

// CheckPassword says whether a new password would be accepted.
func (a *Accounts) CheckPassword(password string) error { return a.hasher.check(password) }

func (a *Accounts) mustBeActive(tx *store.Tx, user matrix.UserID) error {
	u, found, err := lockUser(tx, user)
	switch {
	case err != nil:
		return err
	case !found:
		return matrix.NotFound("there is no user %s", user)
	case u.Deactivated != 0:
		return matrix.E(matrix.CodeUserDeactivated, "%s is deactivated", user)
	}
	return nil
}

// Deactivate ends an account for good: no log-in, no sessions, no profile. With erase its account data
// goes as well, and its events are shown redacted to those who come later.
func (a *Accounts) Deactivate(ctx context.Context, user matrix.UserID, erase bool) error {
	return a.db.Update(ctx, func(tx *store.Tx) error {
		u, found, err := lockUser(tx, user)
		switch {
		case err != nil:
			return err
		case !found:
			return matrix.NotFound("there is no user %s", user)
		}
		if err := a.removeAllDevices(tx, user, ""); err != nil {
			return err
		}
		if err := writeDeactivated(tx, user, a.millis(), erase || u.Erased); err != nil {
			return err
		}
		for _, follow := range a.hooks.Deactivated {
			if err := follow(tx, user, erase); err != nil {
				return fmt.Errorf("deactivate %s: %w", user, err)
			}
		}
		return nil
	})
}

// Erased says whether a user of this server wanted to be erased when their account ended.
func (a *Accounts) Erased(tx *store.Tx, user matrix.UserID) (bool, error) {
	u, _, err := readUser(tx, user)
	return u.Erased, err
}

// Flag is something an administrator sets on an account.
type Flag string

// The flags of accounts.
const (
	Admin     Flag = "admin"
	Locked    Flag = "locked"
	Suspended Flag = "suspended"
	Shadowed  Flag = "shadow_banned"
)

// SetFlag sets or clears a flag of an account; its sessions know at once.
func (a *Accounts) SetFlag(ctx context.Context, user matrix.UserID, flag Flag, on bool) error {
	return a.db.Update(ctx, func(tx *store.Tx) error {
		found, err := writeFlag(tx, user, flag, on)
		if err != nil {
			return err
		}
		if !found {
			return matrix.NotFound("there is no user %s", user)
		}
		a.announceTokens(tx, user)
		return nil
	})
}

// identified turns what a user calls themselves at log-in, a full id or a localpart, into an id of this
// server; false where it cannot be one.
func (a *Accounts) identified(name string) (matrix.UserID, bool) {
	if !strings.HasPrefix(name, "@") {
		name = "@" + name + ":" + string(a.server)
	}
	user, err := matrix.ParseUserID(name)
	if err != nil || user.Server() != a.server {
		return "", false
	}
	return user, true
}
