package e2ee_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"astrocyte/e2ee"
	"astrocyte/matrix"
	"astrocyte/store"
	"astrocyte/testkit"
)

func TestKeysAreGivenInTheOrderOfUploads(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, "")
		k := newKey(t)
		w.device(alice, "A")
		w.upload(alice, "A", e2ee.Upload{DeviceKeys: k.identity(t, alice, "A"), OneTime: k.oneTime(t, alice, "A", 5, 1)})
		w.upload(alice, "A", e2ee.Upload{OneTime: k.oneTime(t, alice, "A", 9, 1), Fallback: map[string]json.RawMessage{
			"signed_curve25519:F": k.sign(t, alice, "A", map[string]any{"key": k.public, "fallback": true}),
		}})
		counts := w.upload(alice, "A", e2ee.Upload{OneTime: k.oneTime(t, alice, "A", 1, 1)})
		if counts["signed_curve25519"] != 3 {
			t.Errorf("counts are %v", counts)
		}
		if n := w.news(alice, "A", 0, 0); n.OneTimeKeys["signed_curve25519"] != 3 || !slices.Equal(n.UnusedFallback, []string{"signed_curve25519"}) {
			t.Errorf("a sync tells %+v", n)
		}
		for _, want := range []string{"K00005", "K00009", "K00001", "F", "F"} {
			if got := w.mustClaim(alice, "A"); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		n := w.news(alice, "A", 0, 0)
		if count, told := n.OneTimeKeys["signed_curve25519"]; !told || count != 0 || len(n.UnusedFallback) != 0 {
			t.Errorf("when all is used a sync tells %+v", n)
		}
	})
}

func TestIdentityOfADeviceStays(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, "")
		w.device(alice, "A")
		unsigned := func() json.RawMessage {
			raw, _ := json.Marshal(map[string]any{
				"user_id": alice, "device_id": "A", "algorithms": []string{}, "signatures": map[string]any{},
				"keys": map[string]string{"ed25519:A": newKey(t).public},
			})
			return raw
		}
		w.upload(alice, "A", e2ee.Upload{DeviceKeys: unsigned()})
		w.upload(alice, "A", e2ee.Upload{DeviceKeys: unsigned()}) // what the device has not signed is nobody's identity
		k := newKey(t)
		keys := k.identity(t, alice, "A")
		for range 2 {
			w.upload(alice, "A", e2ee.Upload{DeviceKeys: keys})
		}
		for name, other := range map[string]json.RawMessage{"another": newKey(t).identity(t, alice, "A"), "unsigned": unsigned()} {
			_, err := w.Upload(t.Context(), alice, "A", e2ee.Upload{DeviceKeys: other})
			if err == nil {
				t.Errorf("%s identity was taken", name)
			}
			refused(t, err, matrix.CodeInvalidParam)
		}
		_, err := w.Upload(t.Context(), alice, "A", e2ee.Upload{OneTime: newKey(t).oneTime(t, alice, "A", 1, 1)})
		refused(t, err, matrix.CodeInvalidSignature)
		one := k.oneTime(t, alice, "A", 1, 1)
		w.upload(alice, "A", e2ee.Upload{OneTime: one})
		w.upload(alice, "A", e2ee.Upload{OneTime: one})
		_, err = w.Upload(t.Context(), alice, "A", e2ee.Upload{OneTime: k.oneTime(t, alice, "A", 1, 1)})
		refused(t, err, matrix.CodeInvalidParam)
		got, err := w.Query(t.Context(), bob, e2ee.Wanted{alice: nil, "@x:elsewhere.org": nil}, 0)
		if err != nil {
			t.Fatal(err)
		}
		var stored, sent map[string]any
		if json.Unmarshal(got.Devices[alice]["A"], &stored) != nil || json.Unmarshal(keys, &sent) != nil {
			t.Fatalf("the answer is %s", got.Devices)
		}
		delete(stored, "unsigned")
		if a, b := jsonOf(stored), jsonOf(sent); a != b {
			t.Errorf("%s was uploaded, %s is told", b, a)
		}
		if got.Failures["elsewhere.org"] == nil {
			t.Errorf("the failures are %v", got.Failures)
		}
	})
}

func jsonOf(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func TestBadUploadsAreRefused(t *testing.T) {
	t.Parallel()
	w := start(t, testkit.SQLite(t), "")
	w.device(alice, "A")
	k := newKey(t)
	good := k.identity(t, alice, "A")
	with := func(member string, value any) json.RawMessage {
		var object map[string]any
		if err := json.Unmarshal(good, &object); err != nil {
			t.Fatal(err)
		}
		delete(object, member)
		if value != nil {
			object[member] = value
		}
		return json.RawMessage(jsonOf(object))
	}
	one := func(name, raw string) e2ee.Upload {
		return e2ee.Upload{OneTime: map[string]json.RawMessage{name: json.RawMessage(raw)}}
	}
	keys := func(raw json.RawMessage) e2ee.Upload { return e2ee.Upload{DeviceKeys: raw} }
	long := strings.Repeat("x", 300)
	many := func(first, n int) map[string]json.RawMessage {
		all := make(map[string]json.RawMessage, n)
		for i := range n {
			all[fmt.Sprintf("org.example.new:%d", first+i)] = json.RawMessage(`"a key of which nothing is known"`)
		}
		return all
	}
	signers := func(n int) map[string]string {
		all := make(map[string]string, n)
		for i := range n {
			all[fmt.Sprintf("ed25519:%d", i)] = "x"
		}
		return all
	}
	for name, c := range map[string]struct {
		upload e2ee.Upload
		code   matrix.Code
	}{
		"no object":            {keys(json.RawMessage(`[]`)), matrix.CodeBadJSON},
		"no algorithms":        {keys(with("algorithms", nil)), matrix.CodeBadJSON},
		"no keys":              {keys(with("keys", nil)), matrix.CodeBadJSON},
		"no signatures":        {keys(with("signatures", nil)), matrix.CodeBadJSON},
		"keys of a wrong type": {keys(with("keys", []string{"x"})), matrix.CodeBadJSON},
		"user of another":      {keys(with("user_id", bob)), matrix.CodeInvalidParam},
		"no user":              {keys(with("user_id", nil)), matrix.CodeInvalidParam},
		"device of another":    {keys(with("device_id", "B")), matrix.CodeInvalidParam},
		"user in other case":   {keys(json.RawMessage(strings.Replace(string(good), `"user_id"`, `"User_id"`, 1))), matrix.CodeInvalidParam},
		"changed when signed":  {keys(with("extra", 1)), matrix.CodeInvalidSignature},
		"a key for another":    {keys(with("keys", map[string]string{"ed25519:B": k.public})), matrix.CodeInvalidParam},
		"a key that is none":   {keys(with("keys", map[string]string{"ed25519:A": "abc"})), matrix.CodeInvalidParam},
		"a signer of no form":  {keys(with("signatures", map[string]any{"alice": map[string]string{}})), matrix.CodeInvalidParam},
		"too large":            {keys(with("extra", strings.Repeat("x", 17000))), matrix.CodeInvalidParam},
		"a key without a name": {one("signed_curve25519", `{}`), matrix.CodeInvalidParam},
		"no algorithm":         {one(":A", `{}`), matrix.CodeInvalidParam},
		"a long name":          {one("signed_curve25519:"+long, `{}`), matrix.CodeInvalidParam},
		"a key that is text":   {one("signed_curve25519:A", `"`+k.public+`"`), matrix.CodeBadJSON},
		"a key that is a list": {one("signed_curve25519:A", `[]`), matrix.CodeBadJSON},
		"a key not signed":     {one("signed_curve25519:A", `{"key":"`+k.public+`"}`), matrix.CodeBadJSON},
		"a key of no length":   {one("signed_curve25519:A", `{"key":"abc","signatures":{}}`), matrix.CodeInvalidParam},
		"two fallback keys": {e2ee.Upload{Fallback: map[string]json.RawMessage{
			"signed_curve25519:A": k.sign(t, alice, "A", map[string]any{"key": k.public}),
			"signed_curve25519:B": k.sign(t, alice, "A", map[string]any{"key": k.public}),
		}}, matrix.CodeInvalidParam},
		"a key of megabytes":      {one("signed_curve25519:A", `{"key":"`+strings.Repeat("A", 3<<20)+`","signatures":{}}`), matrix.CodeInvalidParam},
		"more than a thousand":    {e2ee.Upload{OneTime: many(0, 1001)}, matrix.CodeInvalidParam},
		"too many signatures":     {keys(with("signatures", map[string]any{string(alice): signers(101)})), matrix.CodeInvalidParam},
		"too many algorithms":     {keys(with("algorithms", slices.Repeat([]string{"m.a"}, 101))), matrix.CodeInvalidParam},
		"an algorithm of no form": {keys(with("algorithms", []string{"with space"})), matrix.CodeInvalidParam},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.Upload(t.Context(), alice, "A", c.upload)
			refused(t, err, c.code)
		})
	}
	// What is not known yet may be uploaded, but not without bounds.
	for first := 0; first < 5000; first += 1000 {
		w.upload(alice, "A", e2ee.Upload{OneTime: many(first, 1000)})
	}
	_, tooMany := w.Upload(t.Context(), alice, "A", e2ee.Upload{OneTime: many(5000, 1)})
	refused(t, tooMany, matrix.CodeInvalidParam)
	if got := w.upload(alice, "A", e2ee.Upload{})["org.example.new"]; got != 5000 {
		t.Errorf("%d keys wait, want 5000", got)
	}
	_, err := w.Upload(t.Context(), alice, "gone", e2ee.Upload{OneTime: k.oneTime(t, alice, "gone", 1, 1)})
	refused(t, err, matrix.CodeUnknownToken)
}

func TestRestoredDatabaseIsTold(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		folder := t.TempDir()
		w := start(t, dsn, folder)
		k := newKey(t)
		w.device(alice, "A")
		w.upload(alice, "A", e2ee.Upload{DeviceKeys: k.identity(t, alice, "A"), OneTime: k.oneTime(t, alice, "A", 1, 3)})
		if err := w.Open(t.Context()); err != nil { // started again: nothing was restored
			t.Fatal(err)
		}
		if got := w.mustClaim(alice, "A"); got != "K00001" {
			t.Errorf("after a start the key %q is given", got)
		}
		var before int64
		pos := func() (n int64) {
			if err := w.db.View(t.Context(), func(tx *store.Tx) (err error) { n, err = tx.Pos(); return err }); err != nil {
				t.Fatal(err)
			}
			return n
		}
		before = pos()
		// The file has a mark that the database does not know: it is older.
		if err := os.WriteFile(filepath.Join(folder, "keys.epoch"), []byte("LATER\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.mustClaim(alice, "A"); got != "" {
			t.Errorf("a restored database gives out the key %s", got)
		}
		l := w.lists(alice, before, e2ee.Sharing{})
		if !slices.Equal(l.Changed, []matrix.UserID{alice}) {
			t.Errorf("after a restore the changed lists are %v", l.Changed)
		}
		if err := w.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.upload(alice, "A", e2ee.Upload{OneTime: k.oneTime(t, alice, "A", 7, 1)})
		if got := w.mustClaim(alice, "A"); got != "K00007" {
			t.Errorf("a key uploaded after the restore: got %q", got)
		}
	})
}

// TestRestoredDatabaseIsToldWithoutKeys: no one-time key was given out since the backup, but clients know positions that
// came after it.
func TestRestoredDatabaseIsToldWithoutKeys(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, t.TempDir())
		moves := func(n int64) (pos int64) {
			if err := w.db.Update(t.Context(), func(tx *store.Tx) (err error) { pos, err = tx.NextPos(n); return err }); err != nil {
				t.Fatal(err)
			}
			return pos
		}
		backup := moves(5)
		told := moves(3)
		if err := w.NoteReached(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		if pos := moves(1); pos != told+1 {
			t.Errorf("after a start the stream goes on at %d, not %d", pos, told+1)
		}
		told++
		if err := w.NoteReached(t.Context()); err != nil {
			t.Fatal(err)
		}
		moves(backup - told) // as if a backup had been put back
		if err := w.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		if pos := moves(1); pos <= told+1 {
			t.Errorf("a restored database goes on at %d, though clients know %d", pos, told)
		}
	})
}

func (w *world) lists(user matrix.UserID, since int64, s e2ee.Sharing) (l e2ee.Lists) {
	w.t.Helper()
	err := w.db.View(w.t.Context(), func(tx *store.Tx) (err error) {
		l, err = w.Lists(tx, user, since, s)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func TestDeviceTakesItsKeysWithIt(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, "")
		k := newKey(t)
		w.device(alice, "A", "B")
		for _, d := range []matrix.DeviceID{"A", "B"} {
			w.upload(alice, d, e2ee.Upload{DeviceKeys: k.identity(t, alice, d), OneTime: k.oneTime(t, alice, d, 1, 2)})
		}
		version, err := w.CreateBackup(t.Context(), alice, "m.megolm_backup.v1.curve25519-aes-sha2", json.RawMessage(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.accounts.DeleteDevices(t.Context(), alice, []matrix.DeviceID{"A"}); err != nil {
			t.Fatal(err)
		}
		if got := w.mustClaim(alice, "A"); got != "" {
			t.Errorf("a key of a deleted device is given: %s", got)
		}
		q, err := w.Query(t.Context(), alice, e2ee.Wanted{alice: nil}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Collect(maps.Keys(q.Devices[alice])); !slices.Equal(got, []matrix.DeviceID{"B"}) {
			t.Errorf("the devices are %v", got)
		}
		if got := w.mustClaim(alice, "B"); got == "" {
			t.Error("the other device lost its keys")
		}
		if _, err := w.Backup(t.Context(), alice, version); err != nil {
			t.Errorf("the backup: %v", err)
		}
		w.device(alice, "A")
		w.upload(alice, "A", e2ee.Upload{DeviceKeys: newKey(t).identity(t, alice, "A")}) // another device of that id
	})
}
