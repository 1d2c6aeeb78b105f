package test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"astrocyte/config"
	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// TestServersAreLimitedOneByOne has a server ask more than it may: it is told to wait, while its transactions, and
// whatever another server asks, are taken as before.
func TestServersAreLimitedOneByOne(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		const burst = 20
		slow := config.Rate{PerSecond: 0.001, Burst: burst}
		hs := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), dsn, func(c *config.Config) {
			c.RateLimits = config.RateLimits{Enabled: true, Servers: config.ServerLimits{Requests: slow, Handshakes: slow, Rooms: slow}}
		})
		alice, greedy, honest := hs.User("alice"), story.NewForeign(t), story.NewForeign(t)
		id := alice.CreatesRoom()
		var rooms []*story.ForeignRoom
		for _, f := range []*story.Foreign{greedy, honest} {
			f.Handle("PUT /_matrix/federation/v1/send/{txn}", func(w http.ResponseWriter, _ *http.Request) {
				f.Answers(w, 200, map[string]any{"pdus": map[string]any{}})
			})
			rooms = append(rooms, f.Joins(hs, "bob", id)) // two handshakes of each
		}
		profile := "/_matrix/federation/v1/query/profile?user_id=" + url.QueryEscape(alice.ID)
		state := "/_matrix/federation/v1/state_ids/" + url.PathEscape(id) + "?event_id=" + url.QueryEscape(string(rooms[0].Last().ID()))
		join := "/_matrix/federation/v1/make_join/" + url.PathEscape(id) + "/" + url.PathEscape("@eve:"+string(greedy.Name)) + "?ver=12"
		for _, c := range []struct {
			path string
			left int
		}{{profile, burst}, {state, burst}, {join, burst - 2}} {
			for range c.left {
				if _, err := greedy.Asks(hs, "GET", c.path, nil); err != nil {
					t.Fatalf("within the limit: %v", err)
				}
			}
			_, err := greedy.Asks(hs, "GET", c.path, nil)
			var refused *peer.Refused
			if !errors.As(err, &refused) || refused.Status != 429 || refused.Fault.Code != matrix.CodeLimitExceeded || refused.RetryAfter == 0 {
				t.Errorf("%s beyond the limit: %v", c.path, err)
			}
			if c.path != join {
				if _, err := honest.Asks(hs, "GET", c.path, nil); err != nil {
					t.Errorf("another server is limited too: %v", err)
				}
			}
		}
		for i := range 3 * burst {
			e := rooms[0].Says(fmt.Sprint("number ", i))
			sends(t, greedy, hs, fmt.Sprint("t", i), []any{e})
		}
		alice.Sees(id, fmt.Sprint("number ", 3*burst-1))
	})
}
