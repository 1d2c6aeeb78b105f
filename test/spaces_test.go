package test

import (
	"net/url"
	"slices"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func v1(segments ...string) string { return "/_matrix/client/v1" + story.Path(segments...) }

func space(name string) map[string]any {
	return map[string]any{"name": name, "creation_content": map[string]any{"type": "m.space"}}
}

// child puts a room below a space.
func child(u *story.User, parent, room string, more map[string]any) {
	content := map[string]any{"via": []string{"localhost"}}
	for k, v := range more {
		content[k] = v
	}
	u.SetsState(parent, "m.space.child", room, content)
}

func TestSpaceHierarchy(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		root, below := alice.CreatesRoom(space("root")), alice.CreatesRoom(space("below"))
		first, second, deep := alice.CreatesRoom(map[string]any{"name": "first"}), alice.CreatesRoom(map[string]any{"name": "second"}), alice.CreatesRoom(map[string]any{"name": "deep"})
		secret, hidden := alice.CreatesRoom(private(), map[string]any{"name": "secret"}), alice.CreatesRoom(map[string]any{"name": "no more"})
		child(alice, root, second, map[string]any{"suggested": true})
		child(alice, root, below, map[string]any{"order": "b"})
		child(alice, root, secret, nil)
		child(alice, root, first, map[string]any{"order": "a", "suggested": true})
		child(alice, root, hidden, map[string]any{"via": []string{}})
		child(alice, root, "!nowhere:localhost", nil)
		child(alice, below, deep, nil)
		child(alice, below, root, nil) // a circle
		child(alice, first, hidden, nil)

		path := v1("rooms", root, "hierarchy")
		names := func(u *story.User, query string) []string {
			t.Helper()
			return u.Reads(path + query).At("rooms").Texts("name")
		}
		for query, want := range map[string][]string{
			"":                     {"root", "first", "below", "deep", "second"},
			"?max_depth=0":         {"root"},
			"?max_depth=1":         {"root", "first", "below", "second"},
			"?suggested_only=true": {"root", "first", "second"},
		} {
			if got := names(bob, query); !slices.Equal(got, want) {
				t.Errorf("bob sees %q: %v, want %v", query, got, want)
			}
		}
		if got, want := names(alice, ""), []string{"root", "first", "below", "deep", "second", "secret"}; !slices.Equal(got, want) {
			t.Errorf("alice sees %v, want %v", got, want)
		}
		top := bob.Reads(path+"?max_depth=0").At("rooms", 0)
		if got := top.At("children_state").Texts("state_key"); !slices.Equal(got, []string{first, below, second, secret, "!nowhere:localhost"}) {
			t.Errorf("the children of the root are %v", got)
		}
		c := top.At("children_state", 0)
		if c.At("origin_server_ts").Int() == 0 || c.At("type").Text() != "m.space.child" || c.At("sender").Text() != alice.ID || c.Has("event_id") || !c.At("content", "suggested").Bool() {
			t.Errorf("a child is told as %s", c)
		}
		if top.At("room_type").Text() != "m.space" || top.At("num_joined_members").Int() != 1 || top.At("room_version").Text() != "12" {
			t.Errorf("the root is told as %s", top)
		}

		var all []string
		query := "?limit=2"
		for range 5 {
			page := bob.Reads(path + query)
			all = append(all, page.At("rooms").Texts("name")...)
			if !page.Has("next_batch") {
				break
			}
			next := "&from=" + url.QueryEscape(page.At("next_batch").Text())
			query = "?limit=2" + next
			for _, changed := range []string{"&max_depth=1", "&suggested_only=true"} {
				bob.IsRefused(matrix.CodeInvalidParam, 400, "GET", path+query+changed, nil)
			}
		}
		if want := []string{"root", "first", "below", "deep", "second"}; !slices.Equal(all, want) {
			t.Errorf("in pages bob sees %v, want %v", all, want)
		}
		for _, bad := range []string{"?limit=0", "?limit=-1", "?limit=x", "?max_depth=-1", "?from=h3_x", "?from=x", "?suggested_only=perhaps"} {
			bob.IsRefused(matrix.CodeInvalidParam, 400, "GET", path+bad, nil)
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "GET", v1("rooms", secret, "hierarchy"), nil)
		bob.IsRefused(matrix.CodeForbidden, 403, "GET", v1("rooms", "!nowhere:localhost", "hierarchy"), nil)
	})
}

func TestRoomSummary(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, nobody := hs.User("alice"), hs.User("bob"), hs.Nobody()
		club := alice.CreatesRoom(private())
		public := alice.CreatesRoom(map[string]any{"name": "Kitchen", "room_alias_name": "kitchen"})
		restricted := alice.CreatesRoom(private(), map[string]any{"initial_state": []any{
			map[string]any{"type": "m.room.join_rules", "content": map[string]any{"join_rule": "restricted", "allow": []any{map[string]any{"type": "m.room_membership", "room_id": club}}}},
			map[string]any{"type": "m.room.encryption", "content": map[string]any{"algorithm": "m.megolm.v1.aes-sha2"}},
		}})
		knock := alice.CreatesRoom(private(), map[string]any{"initial_state": []any{
			map[string]any{"type": "m.room.join_rules", "content": map[string]any{"join_rule": "knock"}},
		}})
		summary := func(room string) string { return v1("room_summary", room) }

		s := bob.Reads(summary("#kitchen:localhost"))
		if s.At("room_id").Text() != public || s.At("name").Text() != "Kitchen" || s.At("membership").Text() != "leave" || s.At("join_rule").Text() != "public" {
			t.Errorf("the public room is summed up as %s", s)
		}
		if s := nobody.Reads(summary(public)); s.Has("membership") || s.At("room_id").Text() != public {
			t.Errorf("to nobody the public room is summed up as %s", s)
		}
		nobody.Reads(summary(knock))
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", summary(club), nil)
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", summary(restricted), nil)
		nobody.IsRefused(matrix.CodeNotFound, 404, "GET", summary(restricted), nil)
		alice.Invites(club, bob)
		if s := bob.Reads(summary(club)); s.At("membership").Text() != "invite" {
			t.Errorf("to who is invited the room is summed up as %s", s)
		}
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", summary(restricted), nil)
		bob.Joins(club)
		s = bob.Reads(summary(restricted))
		if got := s.At("allowed_room_ids").String(); got != `["`+club+`"]` || s.At("encryption").Text() != "m.megolm.v1.aes-sha2" || s.At("room_version").Text() != "12" {
			t.Errorf("the restricted room is summed up as %s", s)
		}
		for _, old := range []string{"im.nheko.summary/summary/" + url.PathEscape(restricted), "im.nheko.summary/rooms/" + url.PathEscape(restricted) + "/summary"} {
			if s := bob.Reads("/_matrix/client/unstable/" + old); s.At("im.nheko.summary.room_version").Text() != "12" || s.At("room_id").Text() != restricted {
				t.Errorf("%s: %s", old, s)
			}
		}
		alice.Bans(public, bob, "")
		bob.IsRefused(matrix.CodeNotFound, 404, "GET", summary(public), nil)
		for _, bad := range []string{"nonsense", "@bob:localhost", "#nonsense"} {
			alice.IsRefused(matrix.CodeInvalidParam, 400, "GET", summary(bad), nil)
		}
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", summary("#nothing:localhost"), nil)
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", summary("!nothing:localhost"), nil)
	})
}

func TestMutualRooms(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, carol := hs.User("alice"), hs.User("bob"), hs.User("carol")
		shared, left, invited := alice.CreatesRoom(), alice.CreatesRoom(), alice.CreatesRoom(private())
		alice.CreatesRoom()
		bob.Joins(shared)
		bob.Joins(left)
		bob.Leaves(left)
		alice.Invites(invited, bob)
		path := v1("mutual_rooms") + "?user_id="
		if m := alice.Reads(path + url.QueryEscape(bob.ID)); m.At("joined").String() != `["`+shared+`"]` || m.At("count").Int() != 1 || m.Has("next_batch") {
			t.Errorf("alice and bob share %s", m)
		}
		if m := bob.Reads("/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms?user_id=" + url.QueryEscape(alice.ID)); m.At("joined").String() != `["`+shared+`"]` {
			t.Errorf("bob and alice share %s", m)
		}
		for _, other := range []string{carol.ID, "@nobody:localhost", "@far:away.example"} {
			if m := alice.Reads(path + url.QueryEscape(other)); m.At("joined").String() != "[]" || m.At("count").Int() != 0 {
				t.Errorf("alice and %s share %s", other, m)
			}
		}
		alice.IsRefused(matrix.CodeMissingParam, 400, "GET", v1("mutual_rooms"), nil)
		for _, bad := range []string{url.QueryEscape(alice.ID), "nonsense", url.QueryEscape(bob.ID) + "&from=nonsense"} {
			alice.IsRefused(matrix.CodeInvalidParam, 400, "GET", path+bad, nil)
		}
	})
}
