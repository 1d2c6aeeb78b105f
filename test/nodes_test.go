package test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// ofTwoNodes runs a test with two nodes over one database, which PostgreSQL alone can be.
func ofTwoNodes(t *testing.T, test func(t *testing.T, one, two *story.Server)) {
	t.Helper()
	t.Parallel()
	one := story.Start(t, testkit.Postgres(t))
	test(t, one, one.Node())
}

func TestNodesAreOneServer(t *testing.T) {
	ofTwoNodes(t, func(t *testing.T, one, two *story.Server) {
		alice, bob := one.User("alice"), two.User("bob")
		room := alice.CreatesRoom(map[string]any{"name": "Kitchen"})
		bob.Joins(room)
		bob.Syncs()
		for i := range 10 {
			alice.Says(room, fmt.Sprint("question ", i))
			bob.Sees(room, fmt.Sprint("question ", i))
			bob.Says(room, fmt.Sprint("answer ", i))
			alice.Sees(room, fmt.Sprint("answer ", i))
		}
		bob.Must("PUT", story.Path("rooms", room, "typing", bob.ID), `{"typing":true,"timeout":30000}`)
		alice.Waits("bob to type", func(a story.JSON) bool {
			return ephemeral(a, room, "m.typing").At("user_ids").String() == `["`+bob.ID+`"]`
		})
		read := alice.Says(room, "read this")
		bob.Must("POST", story.Path("rooms", room, "receipt", "m.read", read), `{}`)
		alice.Waits("bob's receipt", hasReceipt(room, read, "m.read", bob.ID))
		if a := alice.Through(two).Reads("/account/whoami"); a.At("user_id").Text() != alice.ID {
			t.Errorf("on the other node alice is %s", a)
		}
	})
}

func TestTransactionIDsHoldOnEveryNode(t *testing.T) {
	ofTwoNodes(t, func(t *testing.T, one, two *story.Server) {
		alice := one.User("alice")
		room := alice.CreatesRoom()
		other := alice.Through(two)
		for i := range 10 { // the same request at both nodes at once
			txn := fmt.Sprint("t", i)
			var ids [2]string
			var both sync.WaitGroup
			for n, u := range []*story.User{alice, other} {
				both.Go(func() { ids[n] = u.Sends(room, txn, "once") })
			}
			both.Wait()
			if ids[0] != ids[1] {
				t.Errorf("transaction ID %s made %s on one node and %s on the other", txn, ids[0], ids[1])
			}
		}
		if n := len(bodies(alice.History(room))); n != 10 {
			t.Errorf("the room has %d messages, want 10", n)
		}
	})
}

func TestATokenOfOneNodeGoesOnAtAnother(t *testing.T) {
	ofTwoNodes(t, func(t *testing.T, one, two *story.Server) {
		alice, bob := one.User("alice"), one.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		bob.Syncs()
		bob.Must("PUT", story.Path("rooms", room, "typing", bob.ID), `{"typing":true,"timeout":30000}`)
		sent := alice.Says(room, "told by the other node")
		one.Stop()
		bob = bob.Through(two)
		joined := bob.Syncs().At("rooms", "join", room)
		if got := joined.At("timeline", "events").Texts("event_id"); !slices.Equal(got, []string{sent}) {
			t.Errorf("the second node goes on with %v, want %s", got, sent)
		}
		alice.Through(two).Says(room, "and on")
		bob.Sees(room, "and on")
	})
}

func TestALogoutHoldsOnEveryNode(t *testing.T) {
	ofTwoNodes(t, func(t *testing.T, one, two *story.Server) {
		alice := one.User("alice")
		phone := alice.LogsIn()
		elsewhere := phone.Through(two)
		elsewhere.Reads("/account/whoami") // so that the node knows the token
		socket := elsewhere.Listens()
		phone.Must("POST", "/logout", `{}`)
		if code := socket.IsClosed(); code != 4401 {
			t.Errorf("the socket at the other node is closed with %d", code)
		}
		elsewhere.IsRefused(matrix.CodeUnknownToken, 401, "GET", "/account/whoami", nil)
	})
}

func TestCrowdAgreesOverTwoNodes(t *testing.T) {
	ofTwoNodes(t, func(t *testing.T, one, two *story.Server) { crowdAgrees(t, one, two) })
}

// TestModerationHoldsOnEveryNode sets what administrators set on accounts by one node, and finds it on the other.
func TestModerationHoldsOnEveryNode(t *testing.T) {
	t.Parallel()
	one := story.Start(t, testkit.Postgres(t), withSecret, func(c *config.Config) {
		c.RateLimits = config.RateLimits{Enabled: true, Message: config.LimitClass{Account: config.Rate{PerSecond: 0.001, Burst: 1}}}
	})
	root, alice, bob := administrator(t, one, "root"), one.User("alice"), one.User("bob")
	room := alice.CreatesRoom()
	bob.Joins(room)
	there := alice.Through(one.Node())
	send := func(txn string) *story.Answer {
		t.Helper()
		return there.Does("PUT", story.Path("rooms", room, "send", "m.room.message", txn), `{"msgtype":"m.text","body":"hi"}`)
	}
	send("first") // the other node knows the session now, and its limit is met
	if a := send("second"); a.Status != 429 {
		t.Fatalf("the limit of the settings is answered by %d %s", a.Status, a)
	}
	sends := func(what string, fits func(a *story.Answer) bool) {
		t.Helper()
		for i := range 3000 { // the other node hears of it a moment later
			if a := send(fmt.Sprint(what, i)); fits(a) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("the other node does not know of %s", what)
	}
	root.Must("POST", adminV1+"users/"+alice.ID+"/override_ratelimit", `{}`)
	sends("limit", func(a *story.Answer) bool { return a.Status == 200 })
	root.Must("POST", adminV1+"users/"+alice.ID+"/shadow_ban", `{}`)
	sends("ban", func(a *story.Answer) bool {
		return a.Status == 200 && bob.Does("GET", story.Path("rooms", room, "event", a.At("event_id").Text()), nil).Status == 404
	})
	root.Must("PUT", "/_matrix/client/v1/admin/suspend/"+alice.ID, `{"suspended":true}`)
	sends("suspension", func(a *story.Answer) bool { return a.At("errcode").Text() == string(matrix.CodeUserSuspended) })
}
