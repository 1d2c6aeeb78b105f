package test

import (
	"slices"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// private are the options of a room that needs an invite.
func private() map[string]any { return map[string]any{"preset": "private_chat"} }

func TestInviteIsAcceptedOrRejected(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, carol := hs.User("alice"), hs.User("bob"), hs.User("carol")
		room := alice.CreatesRoom(private(), map[string]any{"name": "Secret garden"})
		bob.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("join", room), `{}`)
		alice.Invites(room, bob)
		alice.Invites(room, carol)
		stripped := bob.SeesInvite(room)
		types := []string{}
		for _, e := range stripped {
			types = append(types, e.At("type").Text())
			whole := e.At("type").Text() == "m.room.member" || e.At("type").Text() == "m.room.create"
			if e.Has("event_id") || e.Has("origin_server_ts") && !whole {
				t.Errorf("stripped state has more than it should: %s", e)
			}
		}
		for _, want := range []string{"m.room.create", "m.room.join_rules", "m.room.name", "m.room.member"} {
			if !slices.Contains(types, want) {
				t.Errorf("the invite has %v, not %s", types, want)
			}
		}
		bob.Joins(room)
		bob.Waits("the joined room", func(a story.JSON) bool { return a.At("rooms", "join", room).There() })
		alice.SeesMembership(room, bob, "join")
		alice.Says(room, "welcome")
		bob.Sees(room, "welcome")

		carol.SeesInvite(room)
		carol.Leaves(room)
		carol.Waits("the end of the invite", func(a story.JSON) bool { return a.At("rooms", "leave", room).There() })
		alice.SeesMembership(room, carol, "leave")
		carol.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("join", room), `{}`)
		if a := carol.SyncsAnew(); a.At("rooms", "invite", room).There() || a.At("rooms", "join", room).There() {
			t.Errorf("after the rejection a new sync has %s", a.At("rooms"))
		}
	})
}

func TestWhoMayInvite(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, carol := hs.User("alice"), hs.User("bob"), hs.User("carol")
		room := alice.CreatesRoom(private())
		carol.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("rooms", room, "invite"), map[string]any{"user_id": bob.ID})
		alice.Invites(room, bob)
		bob.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("rooms", room, "invite"), map[string]any{"user_id": carol.ID}) // not joined
		bob.Joins(room)
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("rooms", room, "invite"), map[string]any{"user_id": bob.ID}) // is in it
		levels := alice.State(room, "m.room.power_levels", "")
		raised := map[string]any{}
		for _, k := range levels.Keys() {
			raised[k] = levels.At(k)
		}
		raised["invite"] = 50
		alice.SetsState(room, "m.room.power_levels", "", raised)
		bob.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("rooms", room, "invite"), map[string]any{"user_id": carol.ID})
		alice.Invites(room, carol)
		alice.IsRefused(matrix.CodeThreepidDenied, 403, "POST", story.Path("rooms", room, "invite"),
			`{"id_server":"id.example.org","id_access_token":"x","medium":"email","address":"dan@example.org"}`)
		alice.IsRefused(matrix.CodeMissingParam, 400, "POST", story.Path("rooms", room, "invite"), `{}`)
	})
}

func TestLeaveAndReturn(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		bob.Says(room, "here I am")
		bob.Syncs()
		bob.Leaves(room)
		left := bob.Waits("his leave", func(a story.JSON) bool { return a.At("rooms", "leave", room).There() })
		last := left.At("rooms", "leave", room, "timeline", "events", -1)
		if last.At("type").Text() != "m.room.member" || last.At("content", "membership").Text() != "leave" {
			t.Errorf("the last that bob is told of the room is %s", last)
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("rooms", room, "send", "m.room.message", "x"), `{"body":"x"}`)
		alice.Says(room, "now that he is gone")
		bob.DoesNotSee(room, "now that he is gone")
		if a := bob.Syncs(); a.At("rooms", "leave", room).There() {
			t.Errorf("the left room came again: %s", a)
		}
		if joined := bob.Reads("/joined_rooms").At("joined_rooms").List(); len(joined) != 0 {
			t.Errorf("bob is in %v", joined)
		}
		bob.Joins(room)
		back := bob.Waits("the room again", func(a story.JSON) bool { return a.At("rooms", "join", room).There() })
		told := back.At("rooms", "join", room)
		state := append(told.At("state", "events").Texts("type"), told.At("timeline", "events").Texts("type")...)
		if !slices.Contains(state, "m.room.create") {
			t.Errorf("after the return the state is not whole: %v", state)
		}
		alice.Says(room, "welcome back")
		bob.Sees(room, "welcome back")
	})
}

func TestKickBanUnban(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, carol := hs.User("alice"), hs.User("bob"), hs.User("carol")
		room := alice.CreatesRoom()
		bob.Joins(room)
		carol.Joins(room)
		bob.Syncs()
		bob.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("rooms", room, "kick"), map[string]any{"user_id": carol.ID})
		alice.Kicks(room, bob, "out")
		kick := carol.SeesMembership(room, bob, "leave")
		if kick.At("sender").Text() != alice.ID || kick.At("content", "reason").Text() != "out" {
			t.Errorf("the kick is %s", kick)
		}
		bob.Waits("the kick", func(a story.JSON) bool { return a.At("rooms", "leave", room).There() })
		bob.Joins(room) // a kick is not for ever
		alice.Bans(room, bob, "and stay out")
		if ban := carol.SeesMembership(room, bob, "ban"); ban.At("content", "reason").Text() != "and stay out" {
			t.Errorf("the ban is %s", ban)
		}
		bob.Waits("the ban", func(a story.JSON) bool { return a.At("rooms", "leave", room).There() })
		bob.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("join", room), `{}`)
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("rooms", room, "invite"), map[string]any{"user_id": bob.ID})
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("rooms", room, "kick"), map[string]any{"user_id": bob.ID}) // which would lift the ban
		carol.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("rooms", room, "unban"), map[string]any{"user_id": bob.ID})
		alice.Unbans(room, bob)
		bob.Joins(room)
		carol.SeesMembership(room, bob, "join")
		alice.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("rooms", room, "kick"), map[string]any{"user_id": "@nobody:localhost"})
	})
}

func TestForgottenRoomsAreGone(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		bob.Says(room, "before")
		a := bob.Does("POST", story.Path("rooms", room, "forget"), `{}`)
		if a.Status != 400 {
			t.Errorf("a room that one is in can be forgotten: status %d: %s", a.Status, a)
		}
		bob.Leaves(room)
		if n := len(bob.Messages(room, "dir=b").At("chunk").List()); n == 0 {
			t.Error("who left cannot read what was before")
		}
		bob.Forgets(room)
		bob.IsRefused(matrix.CodeForbidden, 403, "GET", story.Path("rooms", room, "messages")+"?dir=b", nil)
		if a := bob.SyncsAnew("filter", `{"room":{"include_leave":true}}`); a.At("rooms", "leave", room).There() {
			t.Error("a forgotten room is in the archive")
		}
		bob.Joins(room)
		if n := len(bob.Messages(room, "dir=b").At("chunk").List()); n == 0 {
			t.Error("after a new join nothing can be read")
		}
	})
}

func TestKnock(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom(private(), map[string]any{
			"name": "Club", "initial_state": []any{map[string]any{"type": "m.room.join_rules", "content": map[string]any{"join_rule": "knock"}}},
		})
		bob.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("join", room), `{}`)
		bob.Must("POST", story.Path("knock", room), `{"reason":"let me in"}`)
		if knock := alice.SeesMembership(room, bob, "knock"); knock.At("content", "reason").Text() != "let me in" {
			t.Errorf("the knock is %s", knock)
		}
		told := bob.Waits("his knock", func(a story.JSON) bool { return a.At("rooms", "knock", room).There() })
		if types := told.At("rooms", "knock", room, "knock_state", "events").Texts("type"); !slices.Contains(types, "m.room.name") {
			t.Errorf("the knock tells %v", types)
		}
		alice.Invites(room, bob)
		bob.SeesInvite(room)
		bob.Joins(room)
		alice.SeesMembership(room, bob, "join")
	})
}

func TestRestrictedRoom(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, eve := hs.User("alice"), hs.User("bob"), hs.User("eve")
		space := alice.CreatesRoom(private(), map[string]any{"creation_content": map[string]any{"type": "m.space"}})
		room := alice.CreatesRoom(private(), map[string]any{"initial_state": []any{map[string]any{
			"type": "m.room.join_rules", "content": map[string]any{
				"join_rule": "restricted", "allow": []any{map[string]any{"type": "m.room_membership", "room_id": space}},
			},
		}}})
		eve.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("join", room), `{}`)
		alice.Invites(space, bob)
		bob.IsRefused(matrix.CodeForbidden, 403, "POST", story.Path("join", room), `{}`) // invited is not joined
		bob.Joins(space)
		bob.Joins(room)
		joined := alice.SeesMembership(room, bob, "join")
		if joined.At("content", "join_authorised_via_users_server").Text() != alice.ID {
			t.Errorf("the restricted join is %s", joined)
		}
	})
}

func TestMembersAreListed(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, carol, eve := hs.User("alice"), hs.User("bob"), hs.User("carol"), hs.User("eve")
		room := alice.CreatesRoom()
		bob.Joins(room)
		alice.Syncs()
		at := alice.Since
		carol.Joins(room)
		bob.Leaves(room)
		members := func(query string) []string {
			ids := alice.Reads(story.Path("rooms", room, "members") + query).At("chunk").Texts("state_key")
			slices.Sort(ids)
			return ids
		}
		if got, want := members(""), []string{alice.ID, bob.ID, carol.ID}; !slices.Equal(got, want) {
			t.Errorf("members are %v, want %v", got, want)
		}
		if got, want := members("?membership=join"), []string{alice.ID, carol.ID}; !slices.Equal(got, want) {
			t.Errorf("joined members are %v, want %v", got, want)
		}
		if got, want := members("?not_membership=leave"), []string{alice.ID, carol.ID}; !slices.Equal(got, want) {
			t.Errorf("members that have not left are %v, want %v", got, want)
		}
		if got, want := members("?at="+at), []string{alice.ID, bob.ID}; !slices.Equal(got, want) {
			t.Errorf("members at an earlier sync are %v, want %v", got, want)
		}
		joined := alice.Reads(story.Path("rooms", room, "joined_members")).At("joined").Keys()
		if want := []string{alice.ID, carol.ID}; !slices.Equal(joined, want) {
			t.Errorf("joined_members are %v, want %v", joined, want)
		}
		eve.IsRefused(matrix.CodeForbidden, 403, "GET", story.Path("rooms", room, "members"), nil)
	})
}
