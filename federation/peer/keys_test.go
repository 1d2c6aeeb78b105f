package peer_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"astrocyte/egress"
	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func nowhere() *egress.Policy { return egress.New(egress.Options{}) }

// ring is a key ring of a server, with a clock of its own.
type ring struct {
	*peer.Keys
	client *peer.Client
	t      *testing.T
	server matrix.ServerName
	now    time.Time
	db     *store.DB
}

func newRing(t *testing.T, dsn string, notaries ...matrix.ServerName) *ring {
	t.Helper()
	return newRingOn(t, testkit.DB(t, dsn), notaries...)
}

func newRingOn(t *testing.T, db *store.DB, notaries ...matrix.ServerName) *ring {
	t.Helper()
	r := &ring{t: t, server: "here.example", now: time.Now(), db: db}
	_, key, _ := ed25519.GenerateKey(nil)
	r.open("ed25519:here", key, notaries)
	return r
}

func (r *ring) open(id matrix.KeyID, key ed25519.PrivateKey, notaries []matrix.ServerName) {
	r.t.Helper()
	r.client = peer.New(peer.Options{
		Server: r.server, KeyID: id, Key: key, CAs: story.AuthorityPool(r.t),
		Egress: egress.New(egress.Options{AllowPrivate: true}), Now: func() time.Time { return r.now },
	})
	r.t.Cleanup(r.client.Close)
	r.Keys = peer.NewKeys(peer.KeysOptions{DB: r.db, Client: r.client, Notaries: notaries})
	if err := r.Open(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// signedBy is an event of a server, signed with a key at a time.
func signedBy(t *testing.T, version matrix.RoomVersion, server matrix.ServerName, id matrix.KeyID, key ed25519.PrivateKey, at time.Time) *rules.Event {
	t.Helper()
	v, _ := rules.ByID(version)
	p := &rules.Proto{
		RoomID: "!room:example.org", Sender: matrix.UserID("@alice:" + server), Type: "m.room.message",
		Content: json.RawMessage(`{"body":"hello"}`), OriginServerTS: at.UnixMilli(), Depth: 1,
	}
	if v.EventIDInside {
		p.EventID = matrix.EventID("$one:" + server)
	}
	e, err := rules.Build(v, p)
	if err != nil {
		t.Fatal(err)
	}
	return e.Sign(server, id, key)
}

func (r *ring) verifies(e *rules.Event) error {
	r.t.Helper()
	return r.VerifyEvents(r.t.Context(), []*rules.Event{e})[0].Err
}

func TestEventsAreVerified(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		f, r := story.NewForeign(t), newRing(t, dsn)
		good := signedBy(t, "11", f.Name, f.KeyID, f.Key, r.now)
		_, other, _ := ed25519.GenerateKey(nil)
		v, _ := rules.ByID("11")
		changed, err := rules.Read(v, []byte(strings.Replace(string(good.Bytes()), "hello", "bye!!", 1)))
		if err != nil {
			t.Fatal(err)
		}
		forged, err := rules.Read(v, []byte(strings.Replace(string(good.Bytes()), "m.room.message", "m.room.massage", 1)))
		if err != nil {
			t.Fatal(err)
		}
		events := []*rules.Event{
			good,
			signedBy(t, "11", f.Name, f.KeyID, other, r.now),
			signedBy(t, "11", f.Name, "ed25519:unknown", f.Key, r.now),
			signedBy(t, "11", f.Name, "rsa:1", f.Key, r.now),
			changed,
			forged,
			signedBy(t, "11", f.Name, f.KeyID, f.Key, r.now.Add(2*time.Hour)), // the key is published for an hour
			signedBy(t, "4", f.Name, f.KeyID, f.Key, r.now.Add(2*time.Hour)),  // where nobody looks at that
			signedBy(t, "2", f.Name, f.KeyID, f.Key, r.now),
		}
		for i, wants := range []bool{true, false, false, false, true, false, false, true, true} {
			got := r.VerifyEvents(t.Context(), events)[i]
			if (got.Err == nil) != wants {
				t.Errorf("event %d: %v", i, got.Err)
			}
			if i == 4 && (string(got.Event.Content()) != "{}" || got.Event.ID() != good.ID()) {
				t.Errorf("an event of which the content was changed is %s", got.Event.Bytes())
			}
			if missing := i == 2 || i == 6; missing != peer.IsMissingKey(got.Err) {
				t.Errorf("event %d: %v", i, got.Err)
			}
		}
	})
}

// TestKeysAreFetchedOnce: whoever needs a server's keys at the same time waits for one fetch; later the database
// has them, also when the server is gone.
func TestKeysAreFetchedOnce(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		f, r := story.NewFugitive(t), newRing(t, dsn)
		var asked atomic.Int64
		f.Handle("GET /_matrix/key/v2/server", func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			f.Answers(w, 200, json.RawMessage(f.Keys(time.Now().Add(time.Hour))))
		})
		e := signedBy(t, "11", f.Name, f.KeyID, f.Key, r.now)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := r.VerifyEvents(t.Context(), []*rules.Event{e, e})[0].Err; err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		again := newRingOn(t, r.db)
		if err := again.verifies(e); err != nil {
			t.Error(err)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("the server was asked %d times", n)
		}
	})
}

// TestKeysThatOthersBroughtAreNotFetched: somebody has looked for keys in vain, and asks for them after others have had them.
func TestKeysThatOthersBroughtAreNotFetched(t *testing.T) {
	t.Parallel()
	f, r := story.NewFugitive(t), newRing(t, testkit.SQLite(t))
	var asked atomic.Int64
	f.Handle("GET /_matrix/key/v2/server", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		f.Answers(w, 200, json.RawMessage(f.Keys(r.now.Add(time.Hour))))
	})
	for range 2 {
		if err := r.FetchKey(t.Context(), f.Name, f.KeyID, r.now); err != nil {
			t.Error(err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the server was asked %d times", n)
	}
}

// TestAFailureCountsOnce: of many who wait for one server at the same time, its silence is one.
func TestAFailureCountsOnce(t *testing.T) {
	t.Parallel()
	f, r := story.NewFugitive(t), newRing(t, testkit.SQLite(t))
	var asked atomic.Int64
	f.Handle("GET /_matrix/key/v2/server", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.NotFound(w, nil)
	})
	e := signedBy(t, "11", f.Name, f.KeyID, f.Key, r.now)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := r.verifies(e); !peer.IsMissingKey(err) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	before := asked.Load()
	r.now = r.now.Add(31 * time.Second)
	if err := r.verifies(e); !peer.IsMissingKey(err) || asked.Load() != before+1 {
		t.Errorf("%v, and after half a minute it was asked %d times, before %d times", err, asked.Load(), before)
	}
}

// TestServerThatIsAwayForAMomentIsAskedAgain: whoever needs its keys, soon, and each time for longer.
func TestServerThatIsAwayForAMomentIsAskedAgain(t *testing.T) {
	t.Parallel()
	f, r := story.NewFugitive(t), newRing(t, testkit.SQLite(t))
	var asked atomic.Int64
	f.Handle("GET /_matrix/key/v2/server", func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			http.Error(w, "not yet", http.StatusBadGateway)
			return
		}
		f.Answers(w, 200, json.RawMessage(f.Keys(r.now.Add(time.Hour))))
	})
	e := signedBy(t, "11", f.Name, f.KeyID, f.Key, r.now)
	for i, step := range []struct {
		after time.Duration
		asked int64
	}{{0, 1}, {900 * time.Millisecond, 1}, {200 * time.Millisecond, 2}, {1500 * time.Millisecond, 2}, {time.Second, 3}} {
		r.now = r.now.Add(step.after)
		if err := r.verifies(e); (err == nil) != (step.asked == 3) {
			t.Errorf("step %d: %v", i, err)
		}
		if n := asked.Load(); n != step.asked {
			t.Errorf("step %d: the server was asked %d times, not %d", i, n, step.asked)
		}
	}
}

// TestServerWithoutKeysIsLeftAlone: each time for longer, but not when it seems to be there itself.
func TestServerWithoutKeysIsLeftAlone(t *testing.T) {
	t.Parallel()
	f, r := story.NewFugitive(t), newRing(t, testkit.SQLite(t))
	var asked atomic.Int64
	f.Handle("GET /_matrix/key/v2/server", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.NotFound(w, nil)
	})
	e := signedBy(t, "11", f.Name, f.KeyID, f.Key, r.now)
	for i, step := range []struct {
		after time.Duration
		asked int64
	}{{0, 1}, {25 * time.Second, 1}, {40 * time.Second, 2}, {40 * time.Second, 2}, {40 * time.Second, 3}, {100 * time.Second, 3}} {
		r.now = r.now.Add(step.after)
		if err := r.verifies(e); !peer.IsMissingKey(err) {
			t.Errorf("step %d: %v", i, err)
		}
		if n := asked.Load(); n != step.asked {
			t.Errorf("step %d: the server was asked %d times, not %d", i, n, step.asked)
		}
	}
	if err := r.isAskedBy(f); err == nil || asked.Load() != 4 {
		t.Errorf("a request: %v, and the server was asked %d times", err, asked.Load())
	}
}

// isAskedBy is a request that says that it comes from a server, with a signature that is none.
func (r *ring) isAskedBy(f *story.Foreign) error {
	req, _ := http.NewRequest("GET", "/x", nil)
	req.RequestURI = "/x"
	req.Header.Set("Authorization", fmt.Sprintf(`X-Matrix origin="%s",key="%s",sig="%s"`, f.Name, f.KeyID, canonicaljson.Base64(make([]byte, 64))))
	_, err := r.VerifyRequest(req, func() ([]byte, error) { return nil, nil })
	return err
}

// TestServerThatStartsIsAskedAgain: who sends requests is asked for keys soon again, and at once when it has answered.
func TestServerThatStartsIsAskedAgain(t *testing.T) {
	t.Parallel()
	f, r := story.NewFugitive(t), newRing(t, testkit.SQLite(t))
	var asked atomic.Int64
	f.Handle("GET /_matrix/key/v2/server", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.Error(w, "not yet", http.StatusServiceUnavailable)
	})
	f.Handle("GET /x", func(w http.ResponseWriter, _ *http.Request) { f.Answers(w, 200, map[string]any{}) })
	answers := func(time.Duration) {
		if err := r.client.Do(t.Context(), f.Name, peer.Request{Method: "GET", Path: "/x"}); err != nil {
			t.Fatal(err)
		}
	}
	wait := func(d time.Duration) { r.now = r.now.Add(d) }
	for i, step := range []struct {
		first func(time.Duration)
		after time.Duration
		asked int64
	}{{wait, 0, 1}, {wait, 900 * time.Millisecond, 1}, {wait, 200 * time.Millisecond, 2}, {wait, 1500 * time.Millisecond, 2}, {wait, time.Second, 3}, {answers, 0, 4}, {wait, 0, 4}} {
		step.first(step.after)
		if err := r.isAskedBy(f); err == nil {
			t.Errorf("step %d: a signature that is none is taken", i)
		}
		if n := asked.Load(); n != step.asked {
			t.Errorf("step %d: the server was asked %d times, not %d", i, n, step.asked)
		}
	}
}

// TestKeyAnswersThatAreNone: what is not signed by itself, speaks for another server, or is too much.
func TestKeyAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	r := newRing(t, testkit.SQLite(t))
	for name, answer := range map[string]func(f *story.Foreign, good []byte) string{
		"not signed":     func(_ *story.Foreign, good []byte) string { return without(t, good, "signatures") },
		"by another key": func(f *story.Foreign, good []byte) string { return strings.Replace(string(good), `"sig`, `"gis`, 1) },
		"changed": func(_ *story.Foreign, good []byte) string {
			return strings.Replace(string(good), "verify_keys\":{\"ed", "verify_keys\":{ \"xx", 1)
		},
		"large":  func(_ *story.Foreign, good []byte) string { return string(good) + strings.Repeat(" ", 1<<20) },
		"a list": func(*story.Foreign, []byte) string { return `[]` },
		"deep": func(*story.Foreign, []byte) string {
			return strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
		},
		"twice": func(_ *story.Foreign, good []byte) string {
			return strings.Replace(string(good), `{`, `{"server_name":"x.org",`, 1)
		},
	} {
		f := story.NewFugitive(t)
		f.Handle("GET /_matrix/key/v2/server", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, answer(f, f.Keys(time.Now().Add(time.Hour))))
		})
		if err := r.verifies(signedBy(t, "11", f.Name, f.KeyID, f.Key, r.now)); !peer.IsMissingKey(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One server answers with the keys of another, which are good.
	f, thief := story.NewForeign(t), story.NewFugitive(t)
	thief.Handle("GET /_matrix/key/v2/server", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(f.Keys(time.Now().Add(time.Hour)))
	})
	if err := r.verifies(signedBy(t, "11", thief.Name, f.KeyID, f.Key, r.now)); !peer.IsMissingKey(err) {
		t.Errorf("keys of another: %v", err)
	}
}

func without(t *testing.T, object []byte, member string) string {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal(object, &all); err != nil {
		t.Fatal(err)
	}
	delete(all, member)
	out, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestKeysLastSevenDays: whatever a server says, its keys are asked for again after seven days.
func TestKeysLastSevenDays(t *testing.T) {
	t.Parallel()
	f, r := story.NewFugitive(t), newRing(t, testkit.SQLite(t))
	f.Handle("GET /_matrix/key/v2/server", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(f.Keys(time.Now().Add(1000 * time.Hour)))
	})
	if err := r.verifies(signedBy(t, "11", f.Name, f.KeyID, f.Key, r.now.Add(167*time.Hour))); err != nil {
		t.Error(err)
	}
	if err := r.verifies(signedBy(t, "11", f.Name, f.KeyID, f.Key, r.now.Add(169*time.Hour))); !peer.IsMissingKey(err) {
		t.Errorf("after a week: %v", err)
	}
}

// TestOldKeys: an old key counts for what was signed before it expired.
func TestOldKeys(t *testing.T) {
	t.Parallel()
	f, r := story.NewFugitive(t), newRing(t, testkit.SQLite(t))
	public, old, _ := ed25519.GenerateKey(nil)
	expired := r.now.Add(-time.Hour)
	f.Handle("GET /_matrix/key/v2/server", func(w http.ResponseWriter, _ *http.Request) {
		object := strings.Replace(without(t, f.Keys(r.now.Add(time.Hour)), "signatures"), `"old_verify_keys":{}`,
			fmt.Sprintf(`"old_verify_keys":{"ed25519:old":{"expired_ts":%d,"key":%q}}`, expired.UnixMilli(), canonicaljson.Base64(public)), 1)
		_, _ = w.Write(f.Signs([]byte(object)))
	})
	if err := r.verifies(signedBy(t, "11", f.Name, "ed25519:old", old, expired.Add(-time.Minute))); err != nil {
		t.Error(err)
	}
	if err := r.verifies(signedBy(t, "11", f.Name, "ed25519:old", old, expired.Add(time.Minute))); !peer.IsMissingKey(err) {
		t.Errorf("after it expired: %v", err)
	}
	if err := r.verifies(signedBy(t, "4", f.Name, "ed25519:old", old, expired.Add(time.Minute))); err != nil {
		t.Errorf("where nobody looks at that: %v", err)
	}
}

// TestNotaries tell the keys of servers that are gone, and are believed only where they have signed.
func TestNotaries(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		gone := story.NewFugitive(t)
		keys := gone.Keys(time.Now().Add(time.Hour))
		liar, honest := story.NewForeign(t), story.NewForeign(t)
		told := func(by, signs *story.Foreign) {
			by.Handle("POST /_matrix/key/v2/query", func(w http.ResponseWriter, _ *http.Request) {
				by.Answers(w, 200, map[string]any{"server_keys": []json.RawMessage{signs.Signs(keys)}})
			})
		}
		told(liar, gone) // signed by the server itself alone
		told(honest, honest)
		e := signedBy(t, "11", gone.Name, gone.KeyID, gone.Key, time.Now())
		r := newRing(t, dsn, liar.Name)
		if err := r.verifies(e); !peer.IsMissingKey(err) {
			t.Errorf("a notary that has not signed is believed: %v", err)
		}
		r = newRingOn(t, r.db, liar.Name, honest.Name)
		if err := r.verifies(e); err != nil {
			t.Errorf("the keys of a server that is gone: %v", err)
		}
	})
}

// TestKeyRotation: with another key, the one before is published as an old one, and events signed by it stay good.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		r := newRing(t, dsn)
		_, first, _ := ed25519.GenerateKey(nil)
		_, second, _ := ed25519.GenerateKey(nil)
		r.open("ed25519:first", first, nil)
		before := signedBy(t, "11", r.server, "ed25519:first", first, r.now)
		r.now = r.now.Add(time.Hour)
		r.open("ed25519:second", second, nil)
		for range 2 { // a restart changes nothing
			raw, err := r.Own()
			if err != nil {
				t.Fatal(err)
			}
			own, err := story.ParseJSON(raw)
			if err != nil {
				t.Fatal(err)
			}
			if err := canonicaljson.Verify(raw, "here.example", "ed25519:second", second.Public().(ed25519.PublicKey)); err != nil {
				t.Error(err)
			}
			old := own.At("old_verify_keys", "ed25519:first")
			if len(own.At("verify_keys").Keys()) != 1 || old.At("key").Text() != canonicaljson.Base64(first.Public().(ed25519.PublicKey)) || old.At("expired_ts").Int() == 0 {
				t.Errorf("published are %s", own)
			}
			if err := r.verifies(before); err != nil {
				t.Error(err)
			}
			r.now = r.now.Add(time.Hour)
			r.open("ed25519:second", second, nil)
		}
		late := signedBy(t, "11", r.server, "ed25519:first", first, r.now)
		if err := r.verifies(late); err == nil {
			t.Error("an old key of this server signs on")
		}
	})
}

func TestNotarize(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		f, r, gone := story.NewForeign(t), newRing(t, dsn), matrix.ServerName(story.OwnAddress(t))
		for range 2 { // fetched, and then known
			told, err := r.Notarize(t.Context(), map[matrix.ServerName]peer.KeyCriteria{f.Name: {}, gone: {}, r.server: {}})
			if err != nil || len(told) != 2 {
				t.Fatalf("%d objects, %v", len(told), err)
			}
			for _, raw := range told {
				object, err := story.ParseJSON(raw)
				if err != nil || !object.At("signatures").Has(string(r.server)) {
					t.Errorf("%s, %v", raw, err)
				}
				if name := object.At("server_name").Text(); !object.At("signatures").Has(name) {
					t.Errorf("the signature of %s itself is lost: %s", name, raw)
				}
			}
		}
		if told, err := r.Notarize(t.Context(), map[matrix.ServerName]peer.KeyCriteria{f.Name: {"ed25519:other": {}}}); err != nil || len(told) != 0 {
			t.Errorf("a key that is not there: %s, %v", told, err)
		}
		if _, err := r.Notarize(t.Context(), map[matrix.ServerName]peer.KeyCriteria{"not a name": {}}); err == nil {
			t.Error("a name that is none is taken")
		}
	})
}
