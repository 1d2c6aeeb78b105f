package test

import (
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// crossSigning are the keys of a user.
type crossSigning struct{ master, self, user *signer }

func newCrossSigning(t *testing.T, u *story.User) *crossSigning {
	return &crossSigning{newSigner(t, u, ""), newSigner(t, u, ""), newSigner(t, u, "")}
}

// upload is the body of an upload.
func (c *crossSigning) upload() map[string]any {
	return map[string]any{
		"master_key":       c.master.cross("master"),
		"self_signing_key": c.master.signs(c.self.cross("self_signing")),
		"user_signing_key": c.master.signs(c.user.cross("user_signing")),
	}
}

const crossPath = "/keys/device_signing/upload"

func TestCrossSigning(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		bob.Syncs()
		device := hasDevice(t, alice)
		first := newCrossSigning(t, alice)
		for range 2 { // the first keys need no password, nor do the same ones again
			alice.Must("POST", crossPath, first.upload())
		}
		bob.Waits("alice's keys", lists("changed", alice.ID))
		if a := queries(bob, alice.ID); !a.At("master_keys", alice.ID, "keys").Has(first.master.id()) ||
			!a.At("self_signing_keys").Has(alice.ID) || a.At("user_signing_keys").Has(alice.ID) {
			t.Errorf("bob sees %s", a)
		}
		if a := queries(alice, alice.ID); !a.At("user_signing_keys", alice.ID, "keys").Has(first.user.id()) {
			t.Errorf("alice sees %s", a)
		}

		signed := func(u *story.User, of, key string, object story.JSON) story.JSON {
			return u.Must("POST", "/keys/signatures/upload", map[string]any{of: map[string]any{key: object}}).At("failures")
		}
		none := func(failures story.JSON) {
			t.Helper()
			if len(failures.Keys()) > 0 {
				t.Errorf("failures: %s", failures)
			}
		}
		none(signed(alice, alice.ID, alice.Device, first.self.signs(device.unsignedDevice())))
		none(signed(alice, alice.ID, first.master.name, device.signs(first.master.cross("master"))))
		bob.Waits("alice's signatures", lists("changed", alice.ID))
		bobs := newCrossSigning(t, bob)
		bob.Must("POST", crossPath, bobs.upload())
		none(signed(bob, alice.ID, first.master.name, bobs.user.signs(first.master.cross("master"))))
		bob.Waits("his signature", lists("changed", alice.ID))

		seen := queries(bob, alice.ID)
		if !seen.At("device_keys", alice.ID, alice.Device, "signatures", alice.ID).Has(first.self.id()) ||
			!seen.At("device_keys", alice.ID, alice.Device, "signatures", alice.ID).Has(device.id()) {
			t.Errorf("bob does not see the signatures of alice's device: %s", seen)
		}
		if by := seen.At("master_keys", alice.ID, "signatures"); !by.At(alice.ID).Has(device.id()) || !by.At(bob.ID).Has(bobs.user.id()) {
			t.Errorf("bob sees the signatures %s", by)
		}
		if by := queries(alice, alice.ID).At("master_keys", alice.ID, "signatures"); by.Has(bob.ID) {
			t.Errorf("alice sees whom bob trusts: %s", by)
		}
		eve := hs.User("eve")
		for name, c := range map[string]struct {
			failures story.JSON
			of, key  string
			code     matrix.Code
		}{
			"a wrong signature":    {signed(alice, alice.ID, alice.Device, newSigner(t, alice, first.self.name).signs(device.unsignedDevice())), alice.ID, alice.Device, matrix.CodeInvalidSignature},
			"an unknown key":       {signed(alice, alice.ID, alice.Device, newSigner(t, alice, "").signs(device.unsignedDevice())), alice.ID, alice.Device, matrix.CodeInvalidSignature},
			"a key of no device":   {signed(alice, alice.ID, "GONE", first.self.signs(device.unsignedDevice())), alice.ID, "GONE", matrix.CodeNotFound},
			"another's device":     {signed(bob, alice.ID, alice.Device, bobs.user.signs(device.unsignedDevice())), alice.ID, alice.Device, matrix.CodeNotFound},
			"another object":       {signed(bob, alice.ID, first.master.name, bobs.user.signs(first.master.cross("self_signing"))), alice.ID, first.master.name, matrix.CodeInvalidParam},
			"a user without keys":  {signed(bob, eve.ID, "x", bobs.user.signs(first.master.cross("master"))), eve.ID, "x", matrix.CodeNotFound},
			"signed by a stranger": {signed(eve, alice.ID, first.master.name, bobs.user.signs(first.master.cross("master"))), alice.ID, first.master.name, matrix.CodeInvalidSignature},
		} {
			if got := c.failures.At(c.of, c.key, "errcode").Text(); got != string(c.code) {
				t.Errorf("%s: %s, want %s", name, c.failures, c.code)
			}
		}
		alice.IsRefused(matrix.CodeBadJSON, 400, "POST", "/keys/signatures/upload", `{"@alice:localhost":[]}`)
	})
}

func TestCrossSigningIsResetWithAPassword(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		device := hasDevice(t, alice)
		first := newCrossSigning(t, alice)
		alice.Must("POST", crossPath, first.upload())
		alice.Must("POST", "/keys/signatures/upload", map[string]any{alice.ID: map[string]any{alice.Device: first.self.signs(device.unsignedDevice())}})

		second := newCrossSigning(t, alice)
		body := second.upload()
		challenge := alice.Does("POST", crossPath, body)
		if challenge.Status != 401 || len(challenge.At("flows").List()) == 0 {
			t.Fatalf("a reset without a password: %d %s", challenge.Status, challenge)
		}
		if a := queries(alice, alice.ID); !a.At("master_keys", alice.ID, "keys").Has(first.master.id()) {
			t.Errorf("the refused reset has changed the keys: %s", a)
		}
		body["auth"] = map[string]any{
			"type": "m.login.password", "session": challenge.At("session").Text(), "password": alice.Password,
			"identifier": map[string]string{"type": "m.id.user", "user": alice.ID},
		}
		alice.Must("POST", crossPath, body)
		a := queries(alice, alice.ID)
		if !a.At("master_keys", alice.ID, "keys").Has(second.master.id()) {
			t.Errorf("after the reset: %s", a)
		}
		if a.At("device_keys", alice.ID, alice.Device, "signatures", alice.ID).Has(first.self.id()) {
			t.Errorf("the device still has the signature of the old key: %s", a)
		}
	})
}

func TestBadCrossSigningKeysAreRefused(t *testing.T) {
	t.Parallel()
	hs := story.Start(t, testkit.SQLite(t))
	alice, bob := hs.User("alice"), hs.User("bob")
	c, others := newCrossSigning(t, alice), newCrossSigning(t, bob)
	two := c.master.cross("master")
	two["keys"] = map[string]string{c.master.id(): c.master.public, c.self.id(): c.self.public}
	for name, k := range map[string]struct {
		body   map[string]any
		code   matrix.Code
		status int
	}{
		"nothing":                {map[string]any{}, matrix.CodeMissingParam, 400},
		"no master key":          {map[string]any{"self_signing_key": c.master.signs(c.self.cross("self_signing"))}, matrix.CodeMissingParam, 400},
		"a key of another":       {map[string]any{"master_key": others.master.cross("master")}, matrix.CodeInvalidParam, 400},
		"a wrong usage":          {map[string]any{"master_key": c.master.cross("self_signing")}, matrix.CodeInvalidParam, 400},
		"two public keys":        {map[string]any{"master_key": two}, matrix.CodeInvalidParam, 400},
		"a key that is text":     {map[string]any{"master_key": "x"}, matrix.CodeBadJSON, 400},
		"a key without members":  {map[string]any{"master_key": map[string]any{}}, matrix.CodeBadJSON, 400},
		"not signed":             {map[string]any{"master_key": c.master.cross("master"), "self_signing_key": c.self.cross("self_signing")}, matrix.CodeInvalidSignature, 400},
		"signed by another key":  {map[string]any{"master_key": c.master.cross("master"), "user_signing_key": c.self.signs(c.user.cross("user_signing"))}, matrix.CodeInvalidSignature, 400},
		"signed in another name": {map[string]any{"master_key": c.master.cross("master"), "user_signing_key": newSigner(t, alice, c.master.name).signs(c.user.cross("user_signing"))}, matrix.CodeInvalidSignature, 400},
	} {
		t.Run(name, func(t *testing.T) { alice.IsRefused(k.code, k.status, "POST", crossPath, k.body) })
	}
	if a := queries(alice, alice.ID); a.At("master_keys").Has(alice.ID) {
		t.Errorf("a refused upload has stored %s", a)
	}
}
