package account

import (
	"context"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

// RegistrationToken lets people make accounts.
//
// Spec: CS "Token-authenticated registration".
type RegistrationToken struct {
	Token       string
	UsesAllowed int64 // -1: any number
	UsesDone    int64
	Created     int64
	Expires     int64 // milliseconds, 0: never
}

// Valid says whether somebody could register with the token at a time.
func (t RegistrationToken) Valid(now time.Time) bool {
	return (t.UsesAllowed < 0 || t.UsesDone < t.UsesAllowed) && (t.Expires == 0 || t.Expires > now.UnixMilli())
}

// CreateRegistrationToken makes a registration token. An empty one is chosen by the server; uses below
// 0 are any number, and a zero time is never.
func (a *Accounts) CreateRegistrationToken(ctx context.Context, token string, uses int64, expires time.Time) (RegistrationToken, error) {
	if token == "" {
		token = randomText(mixedAlphabet, 16)
	}
	t := RegistrationToken{Token: token, UsesAllowed: max(uses, -1), Created: a.millis()}
	if !expires.IsZero() {
		t.Expires = expires.UnixMilli()
	}
	if !validRegistrationToken(token) {
		return t, matrix.InvalidParam("a registration token has 1 to 64 of the characters A-Z, a-z, 0-9, and ._~-")
	}
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		fresh, err := insertRegistrationToken(tx, t)
		if err == nil && !fresh {
			return matrix.InvalidParam("there is such a registration token already")
		}
		return err
	})
	return t, err
}

// ListRegistrationTokens lists all registration tokens.
func (a *Accounts) ListRegistrationTokens(ctx context.Context) (tokens []RegistrationToken, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		tokens, err = readRegistrationTokens(tx)
		return err
	})
	return tokens, err
}

// RegistrationToken finds a registration token.
func (a *Accounts) RegistrationToken(ctx context.Context, token string) (t RegistrationToken, found bool, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		t, found, err = readRegistrationToken(tx, token)
		return err
	})
	return t, found, err
}

// ChangeRegistrationToken sets how often a token may be used (below 0: any number) and until when (0:
// always), where these are not nil; false where there is no such token.
func (a *Accounts) ChangeRegistrationToken(ctx context.Context, token string, uses, expires *int64) (t RegistrationToken, found bool, err error) {
	err = a.db.Update(ctx, func(tx *store.Tx) (err error) {
		if t, found, err = readRegistrationToken(tx, token); err != nil || !found {
			return err
		}
		if uses != nil {
			t.UsesAllowed = max(*uses, -1)
		}
		if expires != nil {
			t.Expires = *expires
		}
		return writeRegistrationToken(tx, t)
	})
	return t, found, err
}

// DeleteRegistrationToken removes a registration token; false where there is none.
func (a *Accounts) DeleteRegistrationToken(ctx context.Context, token string) (found bool, err error) {
	err = a.db.Update(ctx, func(tx *store.Tx) (err error) {
		found, err = deleteRegistrationToken(tx, token)
		return err
	})
	return found, err
}

// RegistrationTokenValid says whether somebody could register with a token now.
func (a *Accounts) RegistrationTokenValid(ctx context.Context, token string) (valid bool, err error) {
	if !validRegistrationToken(token) {
		return false, nil
	}
	err = a.db.View(ctx, func(tx *store.Tx) error {
		t, found, err := readRegistrationToken(tx, token)
		valid = found && t.Valid(a.now())
		return err
	})
	return valid, err
}

// spendToken counts a use of a token, in the transaction that makes the account.
func (a *Accounts) spendToken(tx *store.Tx, token string) error {
	used, err := useRegistrationToken(tx, token, a.millis())
	if err == nil && !used {
		return matrix.Forbidden("the registration token is used up")
	}
	return err
}

func validRegistrationToken(token string) bool {
	if token == "" || len(token) > 64 {
		return false
	}
	for _, c := range []byte(token) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '~', c == '-':
		default:
			return false
		}
	}
	return true
}
