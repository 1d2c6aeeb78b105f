package test

import (
	"slices"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

func TestAliases(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom(map[string]any{"room_alias_name": "kitchen"})
		if got := alice.State(room, "m.room.canonical_alias", "").At("alias").Text(); got != "#kitchen:localhost" {
			t.Errorf("the canonical alias is %q", got)
		}
		resolved := hs.Nobody().Reads(story.Path("directory", "room", "#kitchen:localhost"))
		if resolved.At("room_id").Text() != room || resolved.At("servers").String() != `["localhost"]` {
			t.Errorf("the alias is %s", resolved)
		}
		bob.Joins("#kitchen:localhost")
		alice.IsRefused(matrix.CodeRoomInUse, 400, "POST", "/createRoom", `{"room_alias_name":"kitchen"}`)
		odd := story.Path("directory", "room", "#a/b c%ä:localhost")
		alice.Must("PUT", odd, map[string]any{"room_id": room})
		if a := bob.Does("PUT", odd, map[string]any{"room_id": room}); a.Status != 409 {
			t.Errorf("an alias that is taken: status %d: %s", a.Status, a)
		}
		list := bob.Reads(story.Path("rooms", room, "aliases")).At("aliases").String()
		if list != `["#a/b c%ä:localhost","#kitchen:localhost"]` && list != `["#kitchen:localhost","#a/b c%ä:localhost"]` {
			t.Errorf("the room's aliases are %s", list)
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "DELETE", odd, nil)
		alice.Must("DELETE", odd, nil)
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", odd, nil)
		alice.IsRefused(matrix.CodeInvalidParam, 400, "PUT", story.Path("directory", "room", "kitchen"), map[string]any{"room_id": room})
	})
}

func TestCanonicalAliasIsChecked(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		room, other := alice.CreatesRoom(), alice.CreatesRoom(map[string]any{"room_alias_name": "other"})
		path := story.Path("rooms", room, "state", "m.room.canonical_alias")
		alice.IsRefused(matrix.CodeBadAlias, 400, "PUT", path, `{"alias":"#none:localhost"}`)
		alice.IsRefused(matrix.CodeBadAlias, 400, "PUT", path, `{"alias":"#other:localhost"}`)
		alice.IsRefused(matrix.CodeInvalidParam, 400, "PUT", path, `{"alias":"none"}`)
		alice.Must("PUT", story.Path("directory", "room", "#mine:localhost"), map[string]any{"room_id": room})
		alice.Must("PUT", path, `{"alias":"#mine:localhost"}`)
		alice.IsRefused(matrix.CodeBadAlias, 400, "PUT", path, `{"alias":"#mine:localhost","alt_aliases":["#other:localhost"]}`)
		alice.Must("PUT", path, `{}`)
		_ = other
	})
}

func TestRoomDirectory(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		public := func(name, topic string) string {
			return alice.CreatesRoom(map[string]any{"visibility": "public", "name": name, "topic": topic})
		}
		kitchen, garden, hall := public("Kitchen", "dinner"), public("Garden", "flowers"), public("Hall", "dinner guests")
		hidden := alice.CreatesRoom(map[string]any{"name": "Hidden kitchen"})
		bob.Joins(kitchen)
		all := bob.Reads("/publicRooms").At("chunk")
		if got := all.Texts("room_id"); len(got) != 3 || !slices.Contains(got, garden) || slices.Contains(got, hidden) || got[0] != kitchen {
			t.Errorf("the directory is %v, want the one with two members (%s) first", got, kitchen)
		}
		entry := all.At(0)
		if entry.At("name").Text() != "Kitchen" || entry.At("topic").Text() != "dinner" || entry.At("num_joined_members").Int() != 2 ||
			!entry.Has("world_readable") || !entry.Has("guest_can_join") || entry.At("join_rule").Text() != "public" {
			t.Errorf("the kitchen's entry is %s", entry)
		}
		found := bob.Must("POST", "/publicRooms", `{"filter":{"generic_search_term":"DINNER"}}`).At("chunk").Texts("room_id")
		slices.Sort(found)
		if want := []string{kitchen, hall}; !sameSet(found, want) {
			t.Errorf("the search finds %v, want %v", found, want)
		}
		pages := func(query, turn string) (paged []string, last *story.Answer) {
			for {
				last = bob.Reads("/publicRooms?limit=1" + query)
				paged = append(paged, last.At("chunk").Texts("room_id")...)
				if n := last.At("total_room_count_estimate").Int(); n != 3 {
					t.Errorf("a page of the directory says that there are %d rooms", n)
				}
				if last.At(turn).Text() == "" || len(paged) > 5 {
					return paged, last
				}
				query = "&since=" + last.At(turn).Text()
			}
		}
		paged, last := pages("", "next_batch")
		if !slices.Equal(paged, all.Texts("room_id")) {
			t.Errorf("page by page the directory is %v", paged)
		}
		back, first := pages("&since="+last.At("prev_batch").Text(), "prev_batch")
		if slices.Reverse(back); !slices.Equal(back, paged[:2]) {
			t.Errorf("page by page backwards the directory is %v, and forwards %v", back, paged)
		}
		if again, _ := pages("&since="+first.At("next_batch").Text(), "next_batch"); !slices.Equal(again, paged[1:]) {
			t.Errorf("from the first page on the directory is %v, and at first was %v", again, paged)
		}
		visibility := story.Path("directory", "list", "room", kitchen)
		if got := hs.Nobody().Reads(visibility).At("visibility").Text(); got != "public" {
			t.Errorf("the kitchen's visibility is %q", got)
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "PUT", visibility, `{"visibility":"private"}`)
		alice.Must("PUT", visibility, `{"visibility":"private"}`)
		if got := bob.Reads("/publicRooms").At("chunk").Texts("room_id"); slices.Contains(got, kitchen) {
			t.Errorf("after its removal the kitchen is still in %v", got)
		}
	})
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

func TestRoomUpgrade(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		old := alice.CreatesRoom(map[string]any{"room_version": "10", "name": "Kitchen", "topic": "dinner", "room_alias_name": "kitchen"})
		bob.Joins(old)
		upgrade := story.Path("rooms", old, "upgrade")
		bob.IsRefused(matrix.CodeForbidden, 403, "POST", upgrade, `{"new_version":"12"}`)
		alice.IsRefused(matrix.CodeUnsupportedRoomVersion, 400, "POST", upgrade, `{"new_version":"no such"}`)
		replacement := alice.Must("POST", upgrade, `{"new_version":"12"}`).At("replacement_room").Text()
		if replacement == "" || replacement == old {
			t.Fatalf("the replacement is %q", replacement)
		}
		tomb := bob.SeesEvent(old, "the tombstone", func(e story.JSON) bool { return e.At("type").Text() == "m.room.tombstone" })
		if tomb.At("content", "replacement_room").Text() != replacement {
			t.Errorf("the tombstone is %s", tomb)
		}
		bob.Joins(replacement)
		create := bob.State(replacement, "m.room.create", "")
		if create.At("room_version").Text() != "12" || create.At("predecessor", "room_id").Text() != old {
			t.Errorf("the new room was created with %s", create)
		}
		if bob.State(replacement, "m.room.name", "").At("name").Text() != "Kitchen" || bob.State(replacement, "m.room.topic", "").At("topic").Text() != "dinner" {
			t.Error("the new room has not the old one's name and topic")
		}
		if levels := bob.State(replacement, "m.room.power_levels", ""); levels.At("users", alice.ID).There() {
			t.Errorf("the creator of a version 12 room is in the power levels: %s", levels)
		}
		if got := bob.Reads(story.Path("directory", "room", "#kitchen:localhost")).At("room_id").Text(); got != replacement {
			t.Errorf("the alias leads to %s, want %s", got, replacement)
		}
		if here, there := bob.State(replacement, "m.room.canonical_alias", ""), bob.State(old, "m.room.canonical_alias", ""); here.At("alias").Text() != "#kitchen:localhost" || there.Has("alias") {
			t.Errorf("the new room is called %s, and the old one %s", here, there)
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("rooms", old, "send", "m.room.message", "x"), `{"body":"x"}`)
		alice.Says(replacement, "here we are")
		bob.Sees(replacement, "here we are")
	})
}

// TestUpgradeByModerator: who may leave a tombstone may upgrade, though the new room needs more power for
// some of its state. What fails leaves nothing behind.
func TestUpgradeByModerator(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		for _, to := range []string{"11", "12"} {
			old := alice.CreatesRoom(map[string]any{
				"room_version": "10", "name": "Kitchen", "room_alias_name": "kitchen" + to, "visibility": "public",
				"power_level_content_override": map[string]any{
					"users":  map[string]any{alice.ID: 100, bob.ID: 60},
					"events": map[string]any{"m.room.tombstone": 60, "m.room.history_visibility": 100, "m.room.server_acl": 100},
				},
			})
			bob.Joins(old)
			eve := hs.User("eve" + to)
			eve.Joins(old)
			alice.Bans(old, eve, "")
			upgrade := story.Path("rooms", old, "upgrade")
			eve.IsRefused(matrix.CodeForbidden, 403, "POST", upgrade, map[string]any{"new_version": to})
			bob.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("rooms", "!nowhere:localhost", "upgrade"), map[string]any{"new_version": to})
			replacement := bob.Must("POST", upgrade, map[string]any{"new_version": to}).At("replacement_room").Text()
			tomb := alice.SeesEvent(old, "the tombstone", func(e story.JSON) bool { return e.At("type").Text() == "m.room.tombstone" })
			named := bob.State(replacement, "m.room.create", "").At("predecessor")
			if grave := named.At("event_id").Text(); named.At("room_id").Text() != old || to == "11" && grave != tomb.At("event_id").Text() || to == "12" && grave != "" {
				t.Errorf("version %s: the predecessor is %s, and its tombstone %s", to, named, tomb.At("event_id"))
			}
			levels := bob.State(replacement, "m.room.power_levels", "")
			if got := levels.At("users", bob.ID); to == "11" && got.Int() != 60 || to == "12" && got.There() || levels.At("users", alice.ID).Int() != 100 {
				t.Errorf("version %s: the levels are %s", to, levels)
			}
			if bob.State(replacement, "m.room.member", eve.ID).At("membership").Text() != "ban" {
				t.Errorf("version %s: the ban was not taken over", to)
			}
			alice.Joins("#kitchen" + to + ":localhost")
			alice.Says(replacement, "here we are")
			if got := alice.Reads("/publicRooms").At("chunk").Texts("room_id"); !slices.Contains(got, replacement) || slices.Contains(got, old) {
				t.Errorf("version %s: the directory has %v", to, got)
			}
		}
		tight := alice.CreatesRoom(map[string]any{"room_version": "10"})
		alice.IsRefused(matrix.CodeInvalidParam, 400, "POST", story.Path("rooms", tight, "upgrade"), map[string]any{"new_version": "11", "additional_creators": []string{bob.ID}})
		if a := alice.Does("GET", story.Path("rooms", tight, "state", "m.room.tombstone", ""), nil); a.Status != 404 {
			t.Errorf("after a refused upgrade the tombstone is there: %s", a)
		}
	})
}

func TestRoomsOfEveryVersion(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		versions := alice.Reads("/capabilities").At("capabilities", "m.room_versions")
		if got := versions.At("default").Text(); got != "12" {
			t.Errorf("the default version is %q", got)
		}
		for _, v := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"} {
			if versions.At("available", v).Text() != "stable" {
				t.Errorf("version %s is %s", v, versions.At("available", v))
				continue
			}
			room := alice.CreatesRoom(map[string]any{"room_version": v})
			bob.Joins(room)
			id := alice.Says(room, "in version "+v)
			bob.Sees(room, "in version "+v)
			alice.Redacts(room, id, "")
			if e := bob.Reads(story.Path("rooms", room, "event", id)); e.At("content").String() != "{}" {
				t.Errorf("version %s: the redacted event is %s", v, e)
			}
			alice.Kicks(room, bob, "")
			bob.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("rooms", room, "send", "m.room.message", "x"), `{"body":"x"}`)
		}
		alice.IsRefused(matrix.CodeUnsupportedRoomVersion, 400, "POST", "/createRoom", `{"room_version":"no such"}`)
	})
}
