package test

import (
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit/story"
)

func TestJoinByAnotherServer(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob := a.User("alice"), b.User("bob")
		room := alice.CreatesRoom()
		alice.Says(room, "before bob")
		bob.Must("POST", story.Path("join", room)+"?via="+string(a.ServerName()), `{"reason":"to look around"}`)

		members := alice.Reads(story.Path("rooms", room, "joined_members")).At("joined")
		if !members.Has(bob.ID) || !members.Has(alice.ID) {
			t.Errorf("on alice's server the room has %s", members)
		}
		members = bob.Reads(story.Path("rooms", room, "joined_members")).At("joined")
		if !members.Has(bob.ID) || !members.Has(alice.ID) {
			t.Errorf("on bob's server the room has %s", members)
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "PUT", story.Path("rooms", room, "state", "m.room.name", ""), `{"name":"mine"}`)

		carol := b.User("carol") // who comes second needs nobody's help
		carol.Joins(room)
		carol.Says(room, "hello, Bob")
		bob.Sees(room, "hello, Bob")
	})
}

func TestInviteOfAnotherServerIsTakenBack(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob := a.User("alice"), b.User("bob")
		room := alice.CreatesRoom(map[string]any{"preset": "private_chat"})
		alice.Invites(room, bob)
		bob.SeesInvite(room)
		alice.Kicks(room, bob, "a mistake")
		bob.Waits("the end of the invite", func(answer story.JSON) bool { return answer.At("rooms", "leave", room).There() })
	})
}

func TestServersChat(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob := a.User("alice"), b.User("bob")
		room := alice.CreatesRoom()
		alice.Says(room, "before bob")
		bob.Must("POST", story.Path("join", room)+"?via="+string(a.ServerName()), `{}`)
		alice.SeesMembership(room, bob, "join")
		alice.Says(room, "hello, Bob")
		bob.Sees(room, "hello, Bob")
		bob.Says(room, "hello, Alice")
		alice.Sees(room, "hello, Alice")
		alice.SetsState(room, "m.room.name", "", map[string]any{"name": "Two servers"})
		bob.SeesEvent(room, "the name", func(e story.JSON) bool { return e.At("content", "name").Text() == "Two servers" })
		found := false
		for _, e := range bob.History(room) {
			found = found || e.At("content", "body").Text() == "before bob"
		}
		if !found {
			t.Error("bob does not find what was said before him")
		}
	})
}
