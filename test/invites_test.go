package test

import (
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// noInvites and inviteFilter are the types of account data that say which invites a user wants.
const (
	noInvites    = "m.invite_permission_config"
	inviteFilter = "org.matrix.msc4155.invite_permission_config"
)

// wantsInvites sets which invites a user wants.
func wantsInvites(u *story.User, dataType string, content any) {
	u.Must("PUT", story.Path("user", u.ID, "account_data", dataType), content)
}

func TestInvitesAreBlocked(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room, before := alice.CreatesRoom(private()), alice.CreatesRoom(private())
		alice.Invites(before, bob)
		wantsInvites(bob, noInvites, map[string]any{"default_action": "block"})

		invite := map[string]any{"user_id": bob.ID}
		alice.IsRefused(matrix.CodeInviteBlocked, 403, "POST", story.Path("rooms", room, "invite"), invite)
		alice.IsRefused(matrix.CodeInviteBlocked, 403, "PUT", story.Path("rooms", room, "state", "m.room.member", bob.ID),
			map[string]any{"membership": "invite"})
		alice.IsRefused(matrix.CodeInviteBlocked, 403, "POST", "/createRoom", map[string]any{"invite": []string{bob.ID}})
		if n := len(alice.Reads("/joined_rooms").At("joined_rooms").List()); n != 2 {
			t.Errorf("a room that was refused for an invite was made: alice is in %d rooms", n)
		}
		if a := bob.SyncsAnew(); a.At("rooms", "invite").There() {
			t.Errorf("bob wants no invites, and is told of %s", a.At("rooms", "invite"))
		}
		bob.Joins(before) // it was an invite nevertheless
		bob.Leaves(before)

		wantsInvites(bob, noInvites, map[string]any{})
		alice.Invites(room, bob)
		bob.SeesInvite(room)
	})
}

func TestInvitesAreFiltered(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, carol := hs.User("alice"), hs.User("bob"), hs.User("carol")
		dave, erin := hs.User("dave"), hs.User("erin")
		wantsInvites(bob, inviteFilter, map[string]any{
			"allowed_users": []string{alice.ID}, "ignored_users": []string{carol.ID}, "blocked_servers": []string{"local*"},
		})
		bob.Must("PUT", story.Path("user", bob.ID, "account_data", "m.ignored_user_list"),
			map[string]any{"ignored_users": map[string]any{erin.ID: map[string]any{}}})

		blocked := dave.CreatesRoom(private())
		dave.IsRefused(matrix.CodeInviteBlocked, 403, "POST", story.Path("rooms", blocked, "invite"), map[string]any{"user_id": bob.ID})
		ignored := carol.CreatesRoom(private())
		carol.Invites(ignored, bob) // who does not learn that nobody hears it
		carol.SeesMembership(ignored, bob, "invite")
		byIgnored := erin.CreatesRoom(private())
		erin.Invites(byIgnored, bob)
		allowed := alice.CreatesRoom(private())
		alice.Invites(allowed, bob)
		bob.SeesInvite(allowed)
		if rooms := bob.SyncsAnew().At("rooms", "invite").Keys(); len(rooms) != 1 {
			t.Errorf("bob is told of invites to %v, not only to %s", rooms, allowed)
		}
		wantsInvites(bob, inviteFilter, map[string]any{})
		if a := bob.SyncsAnew(); !a.At("rooms", "invite", ignored).There() {
			t.Error("bob ignores nobody any more, and an initial sync does not tell of the invite that he has")
		}
	})
}
