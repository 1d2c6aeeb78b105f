package test

import (
	"testing"

	"astrocyte/testkit/story"
)

// TestErasedMessagesAreShownRedactedToNewcomers is about a user who ends their account and wants to be erased: who comes later,
// users and servers, is shown what they said redacted; who was there reads it as before, and the room keeps its name.
//
// Spec: POST /_matrix/client/v3/account/deactivate, erase.
func TestErasedMessagesAreShownRedactedToNewcomers(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob, carol, dan := a.User("alice"), a.User("bob"), a.User("carol"), b.User("dan")
		early, late := story.NewForeign(t), story.NewForeign(t)
		room := alice.CreatesRoom(map[string]any{"name": "The old mill"})
		bob.Joins(room)
		early.Joins(a, "eve", room)
		secret := alice.Says(room, "a secret")
		bob.Says(room, "and no secret")
		endsAccount(alice, true)
		bob.SeesMembership(room, alice, "leave")
		bob.Says(room, "Alice is gone")

		carol.Joins(room)
		joinsVia(dan, room, a)
		late.Joins(a, "mallory", room)
		if e := bob.Reads("/rooms/" + room + "/event/" + secret).JSON; e.At("content", "body").Text() != "a secret" {
			t.Errorf("who was there reads %s", e)
		}
		newcomers := map[string]*story.User{"of this server": carol, "of another server": dan}
		for whose, u := range newcomers {
			said := map[string]bool{}
			for _, e := range u.History(room) {
				if e.At("type").Text() == "m.room.message" {
					said[e.At("content", "body").Text()] = true
				}
				if e.At("type").Text() == "m.room.name" && e.At("content", "name").Text() != "The old mill" {
					t.Errorf("to a newcomer %s the room has the name %s", whose, e)
				}
			}
			if said["a secret"] || !said[""] || !said["and no secret"] {
				t.Errorf("a newcomer %s reads %v", whose, said)
			}
		}
		if e := carol.Reads("/rooms/" + room + "/event/" + secret).JSON; e.At("content").String() != "{}" {
			t.Errorf("a newcomer is shown %s", e)
		}
		found := carol.Must("POST", "/search", `{"search_categories":{"room_events":{"search_term":"secret"}}}`)
		if n := len(found.At("search_categories", "room_events", "results").List()); n != 1 {
			t.Errorf("a newcomer who looks for secrets finds %d: %s", n, found)
		}
		for f, want := range map[*story.Foreign]string{early: "a secret", late: ""} {
			told, err := f.Asks(a, "GET", "/_matrix/federation/v1/event/"+secret, nil)
			if err != nil || told.At("pdus", 0, "content", "body").Text() != want {
				t.Errorf("a server is told %s, not %q: %v", told, want, err)
			}
		}
	})
}

// endsAccount ends an account by its password.
func endsAccount(u *story.User, erase bool) {
	u.Must("POST", "/account/deactivate", map[string]any{"erase": erase, "auth": map[string]any{
		"type": "m.login.password", "password": u.Password, "identifier": map[string]any{"type": "m.id.user", "user": u.ID},
	}})
}
