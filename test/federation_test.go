package test

import (
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// federated runs a story of two servers on both engines: one on SQLite and one on the engine in turn.
func federated(t *testing.T, tell func(t *testing.T, a, b *story.Server)) {
	testkit.Each(t, func(t *testing.T, dsn string) {
		servers := story.StartFederated(t, dsn, testkit.SQLite(t))
		tell(t, servers[0], servers[1])
	})
}

func TestRemoteProfile(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob := a.User("alice"), b.User("bob")
		alice.Must("PUT", story.Path("profile", alice.ID, "displayname"), `{"displayname":"Alice"}`)
		alice.Must("PUT", story.Path("profile", alice.ID, "org.example.pet"), `{"org.example.pet":["cat"]}`)

		all := bob.Reads(story.Path("profile", alice.ID))
		if all.At("displayname").Text() != "Alice" || all.At("org.example.pet", 0).Text() != "cat" {
			t.Errorf("bob reads %s", all)
		}
		if one := bob.Reads(story.Path("profile", alice.ID, "displayname")); one.At("displayname").Text() != "Alice" || one.Has("org.example.pet") {
			t.Errorf("bob reads %s", one)
		}
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("profile", alice.ID, "avatar_url"), nil)
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("profile", "@nobody:"+string(a.ServerName())), nil)
		if mine := alice.Reads(story.Path("profile", bob.ID)); mine.Has("displayname") {
			t.Errorf("alice reads %s", mine)
		}
	})
}
