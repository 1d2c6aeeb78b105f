package test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit/story"
)

func TestCanonicalAliasOfAnotherServer(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob, f := a.User("alice"), b.User("bob"), story.NewForeign(t)
		var asked atomic.Int64
		f.Handle("GET /_matrix/federation/v1/query/directory", func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			f.Answers(w, 200, map[string]any{"room_id": "not a room", "servers": []string{}})
		})
		room, other := alice.CreatesRoom(), bob.CreatesRoom()
		bob.Must("POST", story.Path("join", room)+"?via="+string(a.ServerName()), `{}`)
		at := func(name string) string { return "#" + name + ":" + string(b.ServerName()) }
		bob.Must("PUT", story.Path("directory", "room", at("here")), map[string]any{"room_id": room})
		bob.Must("PUT", story.Path("directory", "room", at("too")), map[string]any{"room_id": room})
		bob.Must("PUT", story.Path("directory", "room", at("there")), map[string]any{"room_id": other})

		path := story.Path("rooms", room, "state", "m.room.canonical_alias", "")
		gone := "#x:" + story.OwnAddress(t)
		for _, bad := range []map[string]any{
			{"alias": at("nowhere")}, {"alias": at("there")}, {"alias": at("here"), "alt_aliases": []string{at("there")}},
			{"alias": gone}, {"alias": "#x:" + string(f.Name)},
		} {
			alice.IsRefused(matrix.CodeBadAlias, 400, "PUT", path, bad)
		}
		before := asked.Load()
		bob.IsRefused(matrix.CodeForbidden, 403, "PUT", path, map[string]any{"alias": "#x:" + string(f.Name)})
		if before != 1 || asked.Load() != before {
			t.Errorf("the foreign server was asked %d times, then %d", before, asked.Load())
		}
		many := make([]string, 51)
		for i := range many {
			many[i] = "#" + string(rune('a'+i)) + ":" + string(f.Name)
		}
		alice.IsRefused(matrix.CodeInvalidParam, 400, "PUT", path, map[string]any{"alt_aliases": many})

		alice.Must("PUT", path, map[string]any{"alias": at("here"), "alt_aliases": []string{at("too")}})
		bob.Must("DELETE", story.Path("directory", "room", at("here")), nil)
		alice.Must("PUT", path, map[string]any{"alias": at("here")}) // which stood there before
		alice.IsRefused(matrix.CodeBadAlias, 400, "PUT", path, map[string]any{"alias": at("nowhere")})
	})
}
