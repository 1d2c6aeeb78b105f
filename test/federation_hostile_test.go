package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// besieged runs a story of a server in whose room is a user of a foreign one.
func besieged(t *testing.T, tell func(t *testing.T, hs *story.Server, alice *story.User, f *story.Foreign, room *story.ForeignRoom)) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), dsn)
		f := story.NewForeign(t)
		f.Handle("PUT /_matrix/federation/v1/send/{txn}", func(w http.ResponseWriter, _ *http.Request) {
			f.Answers(w, 200, map[string]any{"pdus": map[string]any{}})
		})
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		tell(t, hs, alice, f, f.Joins(hs, "mallory", room))
	})
}

// sends sends a transaction that must be answered.
func sends(t *testing.T, f *story.Foreign, hs *story.Server, txn string, pdus []any, edus ...any) story.JSON {
	t.Helper()
	answer, err := f.Sends(hs, txn, pdus, edus)
	if err != nil {
		t.Fatal(err)
	}
	return answer.At("pdus")
}

func TestTransactionOfAForeignServer(t *testing.T) {
	t.Parallel()
	besieged(t, func(t *testing.T, hs *story.Server, alice *story.User, f *story.Foreign, room *story.ForeignRoom) {
		id := string(room.ID)
		first, second := room.Says("first"), room.Says("second")
		results := sends(t, f, hs, "t1", []any{second, first, second}) // in no order
		for _, e := range []*rules.Event{first, second} {
			if !results.Has(string(e.ID())) || results.At(string(e.ID())).Has("error") {
				t.Errorf("the answer is %s", results)
			}
		}
		alice.Sees(id, "first")
		alice.Sees(id, "second")
		third := room.Says("third")
		if again := sends(t, f, hs, "t1", []any{third}); again.String() != results.String() {
			t.Errorf("a repeated transaction was answered %s, before %s", again, results)
		}
		sends(t, f, hs, "t2", []any{first, third}) // what came before does not come twice
		alice.Sees(id, "third")
		n := 0
		for _, e := range alice.Timeline(id) {
			if e.At("content", "body").Text() == "first" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("alice sees the first event %d times", n)
		}
	})
}

func TestBadEventsOfAForeignServer(t *testing.T) {
	t.Parallel()
	besieged(t, func(t *testing.T, hs *story.Server, alice *story.User, f *story.Foreign, room *story.ForeignRoom) {
		message := func(body string) *rules.Proto {
			return room.Proto("m.room.message", map[string]any{"msgtype": "m.text", "body": body})
		}
		forged := message("of somebody else")
		forged.Sender = matrix.UserID(alice.ID)
		unsigned := room.Makes(message("changed signature")).Bytes()
		unsigned = bytes.Replace(unsigned, []byte(`"ed25519:foreign":"`), []byte(`"ed25519:foreign":"AAAA`), 1)
		changed := bytes.Replace(room.Makes(message("changed content")).Bytes(), []byte("changed content"), []byte("changed contents"), 1)
		elsewhere := message("elsewhere")
		elsewhere.RoomID = "!" + matrix.RoomID(strings.Repeat("A", 43))
		unbound := room.Makes(message("no auth events"))
		state := room.Proto("m.room.name", map[string]any{"name": "mine"})
		state.StateKey = new(string)
		named := room.Makes(state)

		for name, bad := range map[string]any{
			"forged": room.Makes(forged), "unsigned": json.RawMessage(unsigned), "elsewhere": room.Makes(elsewhere),
			"no event": json.RawMessage(`{"room_id":` + fmt.Sprintf("%q", room.ID) + `}`), "nothing": json.RawMessage(`null`), "text": json.RawMessage(`"text"`),
		} {
			answer, err := f.Sends(hs, "bad "+name, []any{bad}, nil)
			var refused *peer.Refused
			if err != nil && !(errors.As(err, &refused) && refused.Status == 400) {
				t.Errorf("%s: %v", name, err)
			}
			for _, id := range answer.At("pdus").Keys() {
				if !answer.At("pdus", id).Has("error") {
					t.Errorf("%s: the answer is %s", name, answer)
				}
			}
		}
		sends(t, f, hs, "more", []any{json.RawMessage(changed), named, unbound})
		sends(t, f, hs, "good", []any{room.Says("good")})
		alice.Sees(string(room.ID), "good")
		alice.Sees(string(room.ID), "no auth events")
		for _, e := range alice.Timeline(string(room.ID)) {
			if body := e.At("content", "body").Text(); body != "" && body != "good" && body != "no auth events" {
				t.Errorf("alice sees %q", body)
			}
		}
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("rooms", string(room.ID), "state", "m.room.name", ""), nil)
	})
}

func TestBoundsOfTransactions(t *testing.T) {
	t.Parallel()
	besieged(t, func(t *testing.T, hs *story.Server, alice *story.User, f *story.Foreign, room *story.ForeignRoom) {
		refused := func(what string, status int, pdus, edus []any) {
			t.Helper()
			_, err := f.Sends(hs, what, pdus, edus)
			var r *peer.Refused
			if !errors.As(err, &r) || r.Status != status {
				t.Errorf("%s: %v, want status %d", what, err, status)
			}
		}
		e := room.Says("too many")
		many := make([]any, 101)
		for i := range many {
			many[i] = e
		}
		edus := make([]any, 101)
		for i := range edus {
			edus[i] = map[string]any{"edu_type": "m.nothing", "content": map[string]any{}}
		}
		refused("pdus", 400, many[:51], nil)
		refused("edus", 400, nil, edus)
		refused("size", 413, nil, []any{map[string]any{"edu_type": strings.Repeat("x", 13<<20), "content": map[string]any{}}})
		refused(strings.Repeat("x", 300), 400, nil, nil)
		sends(t, f, hs, "all", many[:50], edus[:100]...)
		alice.Sees(string(room.ID), "too many")
	})
}

// TestFloodOfTransactions has one server send more at a time than it may, while users go on.
func TestFloodOfTransactions(t *testing.T) {
	t.Parallel()
	besieged(t, func(t *testing.T, hs *story.Server, alice *story.User, f *story.Foreign, room *story.ForeignRoom) {
		const n = 60
		events := make([]*rules.Event, n)
		for i := range events {
			events[i] = room.Says(fmt.Sprint("flood ", i))
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		taken, limited := 0, 0
		for i, e := range events {
			wg.Go(func() {
				_, err := f.Sends(hs, fmt.Sprint(i), []any{e}, nil)
				var refused *peer.Refused
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					taken++
				case errors.As(err, &refused) && refused.Status == 429 && refused.RetryAfter > 0:
					limited++
				default:
					t.Error(err)
				}
			})
		}
		alice.Says(string(room.ID), "meanwhile")
		alice.Sees(string(room.ID), "meanwhile")
		wg.Wait()
		if taken == 0 || taken+limited != n {
			t.Errorf("%d transactions were taken, %d refused", taken, limited)
		}
		for i, e := range events { // as a good server does: again, one after the other
			sends(t, f, hs, fmt.Sprint("again ", i), []any{e})
		}
		alice.Sees(string(room.ID), fmt.Sprint("flood ", n-1))
	})
}

func TestEDUsForUsersOfOthers(t *testing.T) {
	t.Parallel()
	besieged(t, func(t *testing.T, hs *story.Server, alice *story.User, f *story.Foreign, room *story.ForeignRoom) {
		id := string(room.ID)
		bob := hs.User("bob")
		bob.Joins(id)
		event := alice.Says(id, "to be read")
		edu := func(kind string, content any) any { return map[string]any{"edu_type": kind, "content": content} }
		typing := func(user string) any {
			return edu("m.typing", map[string]any{"room_id": id, "user_id": user, "typing": true})
		}
		receipt := func(user string) any {
			return edu("m.receipt", map[string]any{id: map[string]any{"m.read": map[string]any{user: map[string]any{
				"event_ids": []string{event}, "data": map[string]any{"ts": 1},
			}}}})
		}
		stranger := "@stranger:" + string(f.Name)
		sends(t, f, hs, "edus", nil,
			typing(bob.ID), typing(stranger), receipt(bob.ID), receipt(stranger),
			edu("m.typing", "nothing"), edu("m.receipt", []any{}), "no EDU", map[string]any{}, edu("m.presence", map[string]any{"push": 1}),
			edu("m.direct_to_device", map[string]any{
				"sender": bob.ID, "type": "org.example", "message_id": "m1", "messages": map[string]any{alice.ID: map[string]any{"*": map[string]any{"from": "bob"}}},
			}),
			edu("m.direct_to_device", map[string]any{
				"sender": room.User, "type": "org.example", "message_id": "m2", "messages": map[string]any{alice.ID: map[string]any{"*": map[string]any{"from": "mallory"}}},
			}),
			typing(string(room.User)), receipt(string(room.User)),
		)
		seen := map[string]bool{}
		alice.Waits("what mallory may tell", func(a story.JSON) bool {
			if users := ephemeral(a, id, "m.typing").At("user_ids").Texts(); len(users) == 1 && users[0] == string(room.User) {
				seen["typing"] = true
			} else if len(users) > 0 {
				t.Errorf("%v type", users)
			}
			readers := ephemeral(a, id, "m.receipt").At(event, "m.read")
			if readers.Has(string(room.User)) {
				seen["receipt"] = true
			}
			if readers.Has(bob.ID) || readers.Has(stranger) {
				t.Errorf("the receipts are %s", readers)
			}
			for _, m := range a.At("to_device", "events").List() {
				if seen["message"] = m.At("content", "from").Text() == "mallory"; !seen["message"] {
					t.Errorf("alice's device got %s", m)
				}
			}
			return len(seen) == 3
		})
	})
}

func TestServerThatTheRoomKeepsOut(t *testing.T) {
	t.Parallel()
	besieged(t, func(t *testing.T, hs *story.Server, alice *story.User, f *story.Foreign, room *story.ForeignRoom) {
		id := string(room.ID)
		alice.Must("PUT", story.Path("rooms", id, "state", "m.room.server_acl", ""), map[string]any{
			"allow": []string{"*"}, "deny": []string{string(f.Name)}, "allow_ip_literals": true,
		})
		e := room.Says("let me in")
		if results := sends(t, f, hs, "t1", []any{e}, map[string]any{"edu_type": "m.typing", "content": map[string]any{
			"room_id": id, "user_id": room.User, "typing": true,
		}}); !results.At(string(e.ID())).Has("error") {
			t.Errorf("the answer is %s", results)
		}
		alice.Says(id, "end")
		alice.Waits("her own message", func(a story.JSON) bool {
			if len(ephemeral(a, id, "m.typing").At("user_ids").Texts()) > 0 {
				t.Error("who is kept out types")
			}
			return true
		})
		alice.DoesNotSee(id, "let me in")
	})
}
