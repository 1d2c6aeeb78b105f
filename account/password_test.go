package account

import (
	"context"
	"errors"
	"strings"
	"testing"

	"astrocyte/config"
	"astrocyte/matrix"
)

// cheap is the least that argon2id can cost.
var cheap = config.Passwords{Argon2Memory: 8, Argon2Passes: 1}

func TestPasswordHashes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, cost := range map[string]config.Passwords{
		"argon2id": cheap,
		"bcrypt":   {Hash: "bcrypt", BcryptCost: 4},
	} {
		h := newHasher(cost)
		stored, err := h.hash(ctx, "correct horse")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, _ := h.hash(ctx, "correct horse")
		if again == stored {
			t.Errorf("%s: two hashes of a password are the same", name)
		}
		for password, want := range map[string]bool{"correct horse": true, "correct horsf": false, "": false} {
			right, stale, err := h.verify(ctx, stored, password)
			if err != nil || right != want || stale {
				t.Errorf("%s: %q is %t, stale %t, %v", name, password, right, stale, err)
			}
		}
		if right, _, err := h.verify(ctx, "", "correct horse"); right || err != nil {
			t.Errorf("%s: an unknown user logs in: %v", name, err)
		}
		dearer := cost
		dearer.Argon2Passes, dearer.BcryptCost = 2, 5
		if right, stale, _ := newHasher(dearer).verify(ctx, stored, "correct horse"); !right || !stale {
			t.Errorf("%s: a hash of another cost is right %t, stale %t", name, right, stale)
		}
	}
}

// Users that come from other servers keep their passwords; what cannot be read logs nobody in.
func TestForeignHashes(t *testing.T) {
	t.Parallel()
	h := newHasher(cheap)
	for _, c := range []struct {
		stored, password string
		want             bool
	}{
		{"$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe", "a", true}, // of the first Java bcrypt
		{"$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe", "b", false},
		{"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$not base64", "", false},
		{"$argon2id$v=19$m=x,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHQ", "", false},
		{"$argon2id$v=19$m=8,t=0,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA", "", false},
		{"plain", "plain", false},
	} {
		if right, _, _ := h.verify(t.Context(), c.stored, c.password); right != c.want {
			t.Errorf("%q as the password of %s: %t", c.password, c.stored, right)
		}
	}
}

func TestPasswordRules(t *testing.T) {
	t.Parallel()
	h := newHasher(cheap)
	for password, want := range map[string]matrix.Code{
		"1234567":                matrix.CodeWeakPassword,
		"äöüäöüä":                matrix.CodeWeakPassword, // seven characters, fourteen bytes
		"12345678":               "",
		strings.Repeat("x", 512): "",
		strings.Repeat("x", 513): matrix.CodeInvalidParam,
	} {
		var e *matrix.Error
		if errors.As(h.check(password), &e); (e == nil && want != "") || (e != nil && e.Code != want) {
			t.Errorf("%d bytes: %v, want %q", len(password), e, want)
		}
	}
	b := newHasher(config.Passwords{Hash: "bcrypt", BcryptCost: 4})
	if b.check(strings.Repeat("x", 73)) == nil {
		t.Error("bcrypt took more than it looks at")
	}
}

func TestHashingIsBounded(t *testing.T) {
	t.Parallel()
	h := newHasher(cheap)
	var done []func()
	for range cap(h.turns) {
		d, err := h.turn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.turn(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("one more than there are turns: %v", err)
	}
	h.waiting.Store(maxWaiting)
	var e *matrix.Error
	if _, err := h.turn(t.Context()); !errors.As(err, &e) || e.Code != matrix.CodeLimitExceeded {
		t.Errorf("one more than may wait: %v", err)
	}
	h.waiting.Store(0)
	for _, d := range done {
		d()
	}
	if d, err := h.turn(t.Context()); err != nil {
		t.Error(err)
	} else {
		d()
	}
}
