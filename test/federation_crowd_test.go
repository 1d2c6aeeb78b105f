package test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// TestCrowdElsewhere has users enter a room that has 10,000 members on other servers, most of which do not answer. It
// is of use to them at once: they see it without its members, talk in it, let others in, and list whom they want.
func TestCrowdElsewhere(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long")
	}
	testkit.Each(t, func(t *testing.T, dsn string) {
		const crowd = 10_000
		f := story.NewForeign(t)
		told := make(chan string, 100)
		f.Handle("PUT /_matrix/federation/v1/send/{txn}", func(w http.ResponseWriter, r *http.Request) {
			var txn struct {
				PDUs []struct {
					Content struct {
						Body string `json:"body"`
					} `json:"content"`
				} `json:"pdus"`
			}
			if err := json.NewDecoder(r.Body).Decode(&txn); err != nil {
				t.Error(err)
			}
			for _, p := range txn.PDUs {
				told <- p.Content.Body
			}
			f.Answers(w, http.StatusOK, map[string]any{"pdus": map[string]any{}})
		})
		c := f.HasCrowd(crowd, 30)
		f.IsNotary(c)
		notary := func(c *config.Config) { c.Federation.KeyNotaries = []matrix.ServerName{f.Name} }
		hs := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), dsn, notary)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := string(c.ID)
		took := func(what string, do func()) {
			began := time.Now()
			do()
			t.Logf("%s took %s", what, time.Since(began).Round(time.Millisecond))
		}
		took("to join", func() { alice.Must("POST", story.Path("join", room)+"?via="+string(f.Name), `{}`) })
		if n := c.Questions.Load(); n != 1 {
			t.Errorf("the notary was asked %d times for the keys of 30 servers", n)
		}
		took("a first sync", func() {
			in := alice.Syncs("filter", `{"room":{"state":{"lazy_load_members":true}}}`).At("rooms", "join", room)
			if n := in.At("summary", "m.joined_member_count").Int(); n != crowd+2 {
				t.Errorf("the room has %d members", n)
			}
			if n := len(in.At("state", "events").List()); n > 15 {
				t.Errorf("the first sync has %d state events", n)
			}
		})
		took("a message", func() { alice.Says(room, "hello, crowd") })
		took("to reach another server", func() {
			for arrives(t, told, "the message to reach the other server") != "hello, crowd" {
			}
		})
		took("to let somebody of this server in", func() { bob.Joins(room) })
		bob.Says(room, "me too")
		alice.Sees(room, "me too")
		took("a list of all members", func() {
			if n := len(bob.Reads(story.Path("rooms", room, "members") + "?membership=join").At("chunk").List()); n != crowd+3 {
				t.Errorf("%d members are listed", n)
			}
		})
	})
}
