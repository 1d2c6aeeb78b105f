package test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver/rules"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// guard is a policy server: a foreign one that signs all events but those with the word spam in them.
type guard struct {
	*story.Foreign
	key ed25519.PrivateKey

	mu    sync.Mutex
	asked map[matrix.EventID]int // and answered
	busy  map[matrix.EventID]int // and told to come again
	mood  string                 // how it answers: "" as it should, "away" not at all, "busy" later, "stranger" by another key, "mute" with nothing
}

func startGuard(t *testing.T, path string) *guard {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	g := &guard{Foreign: story.NewForeign(t), key: key, asked: map[matrix.EventID]int{}, busy: map[matrix.EventID]int{}}
	g.Handle("PUT /_matrix/federation/v1/send/{txn}", func(w http.ResponseWriter, _ *http.Request) {
		g.Answers(w, 200, map[string]any{"pdus": map[string]any{}})
	})
	g.Handle("POST "+path, g.sign)
	g.Handle("/_matrix/policy/", func(w http.ResponseWriter, _ *http.Request) {
		g.Answers(w, 404, map[string]any{"errcode": "M_UNRECOGNIZED", "error": "there is no such endpoint"})
	})
	return g
}

func (g *guard) sign(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	v, _ := rules.ByID("12")
	ev, malformed := rules.Read(v, body)
	if err != nil || malformed != nil || !strings.HasPrefix(r.Header.Get("Authorization"), "X-Matrix ") {
		g.Answers(w, 400, map[string]any{"errcode": "M_BAD_JSON", "error": "that is no event"})
		return
	}
	g.mu.Lock()
	mood := g.mood
	switch mood {
	case "away":
	case "busy":
		g.busy[ev.ID()]++
	default:
		g.asked[ev.ID()]++
	}
	g.mu.Unlock()
	key := g.key
	switch {
	case mood == "away":
		g.Answers(w, 503, map[string]any{})
		return
	case mood == "busy":
		g.Answers(w, 429, map[string]any{"errcode": "M_LIMIT_EXCEEDED", "error": "too much", "retry_after_ms": 50})
		return
	case mood == "mute":
		g.Answers(w, 200, map[string]any{})
		return
	case mood == "stranger":
		key = g.Key
	case bytes.Contains(ev.Content(), []byte("spam")):
		g.Answers(w, 400, map[string]any{"errcode": "M_FORBIDDEN", "error": "This smells of spam", "org.example.hint": 7})
		return
	}
	var signed struct {
		Signatures json.RawMessage `json:"signatures"`
	}
	signedEvent := ev.Sign(g.Name, rules.PolicyKeyID, key)
	if json.Unmarshal(signedEvent.Bytes(), &signed) != nil {
		panic("an event without signatures")
	}
	own, _ := canonicaljson.Field(signed.Signatures, string(g.Name))
	g.Answers(w, 200, map[string]json.RawMessage{string(g.Name): own})
}

// is changes how the policy server answers.
func (g *guard) is(mood string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mood = mood
}

// times says how often it was asked about an event.
func (g *guard) times(id string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked[matrix.EventID(id)]
}

// putsOff says how often it was asked about an event, and told who asked to come again.
func (g *guard) putsOff(id string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.busy[matrix.EventID(id)]
}

// policy is the content of the state event that names it.
func (g *guard) policy() map[string]any {
	key := canonicaljson.Base64(g.key.Public().(ed25519.PublicKey))
	return map[string]any{"via": g.Name, "public_keys": map[string]any{"ed25519": key}}
}

const signPath = "/_matrix/policy/v1/sign"

func TestPolicyServerSignsWhatIsSent(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob, g := a.User("alice"), b.User("bob"), startGuard(t, signPath)
		room := alice.CreatesRoom()
		alice.SetsState(room, "m.room.policy", "", g.policy())
		early := alice.Says(room, "nobody is asked: the policy server is not in the room")
		g.Joins(a, "guard", room)
		entrance := story.Path("join", room) + "?via=" + string(a.ServerName())
		bob.IsRefused(matrix.CodeForbidden, 400, "POST", entrance, `{"reason":"to spam"}`) // by alice's server
		bob.Must("POST", entrance, `{}`)
		carol := b.User("carol")
		alice.IsRefused(matrix.CodeForbidden, 400, "POST", story.Path("rooms", room, "invite"), map[string]any{"user_id": carol.ID, "reason": "spam"})
		alice.Invites(room, carol)
		carol.SeesInvite(room)
		id := alice.Says(room, "hello, Bob")
		bob.Sees(room, "hello, Bob")
		answer := bob.Says(room, "hello, Alice")
		alice.Sees(room, "hello, Alice")
		if g.times(early) != 0 || g.times(id) != 1 || g.times(answer) != 1 {
			t.Errorf("the policy server was asked %d, %d and %d times", g.times(early), g.times(id), g.times(answer))
		}
		refused := bob.IsRefused(matrix.CodeForbidden, 400, "PUT", story.Path("rooms", room, "send", "m.room.message", bob.Txn()), `{"msgtype":"m.text","body":"spam"}`)
		if refused.At("error").Text() != "This smells of spam" || refused.At("org.example.hint").Int() != 7 {
			t.Errorf("bob is told %s", refused)
		}
		name := alice.SetsState(room, "m.room.name", "", map[string]any{"name": "Guarded"})
		bob.SeesEvent(room, "the name", func(e story.JSON) bool { return e.At("event_id").Text() == name })
		first := alice.Sends(room, "once", "only once")
		if again := alice.Sends(room, "once", "only once"); again != first || g.times(first) != 1 {
			t.Errorf("a repeated message is %s, and was %s", again, first)
		}
		bob.Says(room, "the last")
		alice.Sees(room, "the last")
		for _, e := range alice.History(room) {
			if e.At("content", "body").Text() == "spam" {
				t.Error("alice sees spam")
			}
		}
	})
}

func TestPolicyServerThatIsAway(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob, g := a.User("alice"), b.User("bob"), startGuard(t, signPath)
		room, other := alice.CreatesRoom(), alice.CreatesRoom()
		alice.SetsState(room, "m.room.policy", "", g.policy())
		g.Joins(a, "guard", room)
		bob.Must("POST", story.Path("join", room)+"?via="+string(a.ServerName()), `{}`)
		message := func(u *story.User) string { return story.Path("rooms", room, "send", "m.room.message", u.Txn()) }
		text := `{"msgtype":"m.text","body":"anybody?"}`
		g.is("stranger")
		alice.IsRefused(matrix.CodeForbidden, 403, "PUT", message(alice), text)
		g.is("mute")
		alice.IsRefused(matrix.CodeForbidden, 403, "PUT", message(alice), text)
		g.is("away")
		alice.IsRefused(matrix.CodeUnknown, 502, "PUT", message(alice), text)
		alice.Says(other, "where nobody has to be asked")
		bob.Leaves(room) // nobody is kept
		alice.SetsState(room, "m.room.policy", "", map[string]any{})
		alice.Says(room, "free again")
		alice.Sees(room, "free again")
	})
}

// TestUnsignedEvents is about a server that has never heard of policy servers.
func TestUnsignedEvents(t *testing.T) {
	t.Parallel()
	besieged(t, func(t *testing.T, hs *story.Server, alice *story.User, f *story.Foreign, room *story.ForeignRoom) {
		id := string(room.ID)
		g := startGuard(t, signPath)
		g.Joins(hs, "guard", id)
		alice.SetsState(id, "m.room.policy", "", g.policy())
		good := room.Says("harmless")
		sends(t, f, hs, "t1", []any{good})
		alice.Sees(id, "harmless")
		bad := room.Makes(room.Proto("m.room.message", map[string]any{"msgtype": "m.text", "body": "spam"}))
		signed := room.Makes(room.Proto("m.room.message", map[string]any{"msgtype": "m.text", "body": "signed before"})).Sign(g.Name, rules.PolicyKeyID, g.key)
		sends(t, f, hs, "t2", []any{bad, signed})
		alice.Sees(id, "signed before")
		room.Knows(signed)
		g.is("away") // for a moment: what is not signed waits
		wrong := room.Says("signed by a stranger").Sign(g.Name, rules.PolicyKeyID, g.Key)
		sends(t, f, hs, "t3", []any{wrong})
		g.is("")
		alice.Sees(id, "signed by a stranger")
		for end := time.Now().Add(time.Minute); g.times(string(bad.ID())) == 0 && time.Now().Before(end); { // what is not shown is not seen to be done
			time.Sleep(10 * time.Millisecond)
		}
		if g.times(string(good.ID())) != 1 || g.times(string(bad.ID())) != 1 || g.times(string(signed.ID())) != 0 {
			t.Errorf("the policy server was asked %d, %d and %d times", g.times(string(good.ID())), g.times(string(bad.ID())), g.times(string(signed.ID())))
		}
		for _, e := range alice.History(id) {
			if e.At("content", "body").Text() == "spam" {
				t.Error("alice sees spam")
			}
		}
		kept, err := f.Asks(hs, "GET", "/_matrix/federation/v1/event/"+string(good.ID()), nil)
		if err != nil || !kept.At("pdus", 0, "signatures", string(g.Name)).Has(string(rules.PolicyKeyID)) {
			t.Errorf("the signature was not kept: %s, %v", kept, err)
		}
	})
}

// TestUnsignedEventsWaitForABusyPolicyServer: as long as it says that it has too much to do, nothing is given up.
func TestUnsignedEventsWaitForABusyPolicyServer(t *testing.T) {
	t.Parallel()
	besieged(t, func(t *testing.T, hs *story.Server, alice *story.User, f *story.Foreign, room *story.ForeignRoom) {
		id := string(room.ID)
		g := startGuard(t, signPath)
		g.Joins(hs, "guard", id)
		alice.SetsState(id, "m.room.policy", "", g.policy())
		g.is("busy")
		first, second := room.Says("patience"), room.Says("more of it")
		sends(t, f, hs, "t1", []any{first, second})
		told := alice.IsRefused(matrix.CodeLimitExceeded, 429, "PUT", story.Path("rooms", id, "send", "m.room.message", alice.Txn()), `{"msgtype":"m.text","body":"now"}`)
		if ms := told.At("retry_after_ms").Int(); ms <= 0 || ms > 50 {
			t.Errorf("alice is told %s", told)
		}
		for end := time.Now().Add(time.Minute); g.putsOff(string(first.ID())) < 12; {
			if time.Now().After(end) {
				t.Fatalf("it was asked %d times", g.putsOff(string(first.ID())))
			}
			time.Sleep(10 * time.Millisecond)
		}
		g.is("")
		alice.Sees(id, "patience")
		alice.Sees(id, "more of it")
	})
}

func TestPolicyServerFromBeforeTheSpecification(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), dsn)
		alice, g := hs.User("alice"), startGuard(t, "/_matrix/policy/unstable/org.matrix.msc4284/sign")
		room := alice.CreatesRoom()
		g.Joins(hs, "guard", room)
		key := canonicaljson.Base64(g.key.Public().(ed25519.PublicKey))
		alice.SetsState(room, "org.matrix.msc4284.policy", "", map[string]any{"via": g.Name, "public_key": key})
		if id := alice.Says(room, "hello"); g.times(id) != 1 {
			t.Errorf("the policy server was asked %d times", g.times(id))
		}
		alice.SetsState(room, "m.room.policy", "", g.policy()) // its server knows the old path alone
		if id := alice.Says(room, "again"); g.times(id) != 1 {
			t.Errorf("the policy server was asked %d times", g.times(id))
		}
		alice.IsRefused(matrix.CodeForbidden, 400, "PUT", story.Path("rooms", room, "send", "m.room.message", alice.Txn()), `{"msgtype":"m.text","body":"spam"}`)
	})
}

// TestManyAtOnceBeforeAPolicyServer has events of one room signed at the same time: each has its place, none is lost.
func TestManyAtOnceBeforeAPolicyServer(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), dsn)
		alice, g := hs.User("alice"), startGuard(t, signPath)
		room := alice.CreatesRoom()
		g.Joins(hs, "guard", room)
		alice.SetsState(room, "m.room.policy", "", g.policy())
		var wg sync.WaitGroup
		var users []*story.User
		for i := range 8 {
			users = append(users, hs.User(fmt.Sprintf("bob%d", i)))
		}
		for i, u := range users {
			wg.Go(func() {
				u.Joins(room)
				for range 3 {
					u.Says(room, "in a crowd")
				}
				if i%2 == 0 {
					u.Leaves(room)
				}
			})
		}
		wg.Wait()
		alice.Says(room, "quiet again")
		said := 0
		for _, e := range alice.History(room) {
			if e.At("content", "body").Text() == "in a crowd" {
				said++
			}
		}
		members := alice.Reads(story.Path("rooms", room, "joined_members")).At("joined").Keys()
		if said != 24 || len(members) != 6 {
			t.Errorf("%d messages and %d members are here", said, len(members))
		}
	})
}
