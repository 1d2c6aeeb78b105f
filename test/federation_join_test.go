package test

import (
	"encoding/json"
	"net/http"
	"testing"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/testkit"
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

// TestMessageThatOvertakesAJoin has a message come before the join of its sender, which nobody has brought yet.
func TestMessageThatOvertakesAJoin(t *testing.T) {
	t.Parallel()
	besieged(t, func(t *testing.T, hs *story.Server, alice *story.User, f *story.Foreign, room *story.ForeignRoom) {
		carol := matrix.UserID("@carol:" + string(f.Name))
		state := map[rules.StateKey]*rules.Event{}
		keep := func(e *rules.Event) {
			key, _ := e.StateKey()
			state[rules.StateKey{Type: e.Type(), Key: key}] = e
		}
		for _, e := range room.State() {
			keep(e)
		}
		ofCarol := func(p *rules.Proto) *rules.Event {
			p.Sender, p.Auth = carol, nil
			for _, key := range rules.AuthTypes(room.Version, p.Type, carol, p.StateKey, p.Content) {
				if e := state[key]; e != nil {
					p.Auth = append(p.Auth, e.Ref())
				}
			}
			return room.Makes(p)
		}
		p := room.Proto("m.room.member", map[string]any{"membership": "join"})
		key := string(carol)
		p.StateKey = &key
		join := ofCarol(p)
		keep(join)
		room.Knows(join)
		message := ofCarol(room.Proto("m.room.message", map[string]any{"msgtype": "m.text", "body": "am I early?"}))

		f.Handle("GET /_matrix/federation/v1/state_ids/{room}", func(w http.ResponseWriter, r *http.Request) {
			var ids []matrix.EventID
			for _, e := range state {
				if e != join || r.URL.Query().Get("event_id") != string(join.ID()) {
					ids = append(ids, e.ID())
				}
			}
			f.Answers(w, 200, map[string]any{"pdu_ids": ids, "auth_chain_ids": []string{}})
		})
		f.Handle("GET /_matrix/federation/v1/event/{id}", func(w http.ResponseWriter, r *http.Request) {
			if r.PathValue("id") != string(join.ID()) {
				f.Answers(w, 404, map[string]any{"errcode": "M_NOT_FOUND", "error": "not here"})
				return
			}
			f.Answers(w, 200, map[string]any{"origin": f.Name, "origin_server_ts": 1, "pdus": []any{json.RawMessage(join.Bytes())}})
		})
		sends(t, f, hs, "t1", []any{message})
		alice.Sees(string(room.ID), "am I early?")
		members := alice.Reads(story.Path("rooms", string(room.ID), "joined_members")).At("joined")
		if !members.Has(key) {
			t.Errorf("the room has %s", members)
		}
	})
}

// TestMessageThatOvertakesTheRoom: what another server sends of a room before it has told the whole of it is kept until
// the user is in it.
func TestMessageThatOvertakesTheRoom(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		overtakesTheRoom(t, dsn, func(hs *story.Server, u *story.User) *story.User { return u })
	})
}

// TestMessageThatOvertakesTheRoomAtAnotherNode has it come to a node by which the room is not entered.
func TestMessageThatOvertakesTheRoomAtAnotherNode(t *testing.T) {
	t.Parallel()
	overtakesTheRoom(t, testkit.Postgres(t), func(hs *story.Server, u *story.User) *story.User { return u.Through(hs.Node()) })
}

// overtakesTheRoom has a user enter a room, by the node that through chooses, while the room goes on.
func overtakesTheRoom(t *testing.T, dsn string, through func(*story.Server, *story.User) *story.User) {
	f := story.NewForeign(t)
	c := f.HasCrowd(5, 1)
	f.IsNotary(c)
	hs := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), dsn, func(c *config.Config) { c.Federation.KeyNotaries = []matrix.ServerName{f.Name} })
	alice := through(hs, hs.User("alice"))
	said := false
	c.Slow = func(n int) {
		if n == 1 && !said {
			said = true
			if _, err := f.Sends(hs, "early", []any{c.Says("hello, newcomer")}, nil); err != nil {
				t.Error(err)
			}
		}
	}
	room := string(c.ID)
	alice.Must("POST", story.Path("join", room)+"?via="+string(f.Name), `{}`)
	alice.Sees(room, "hello, newcomer")
}

// TestJoiningARoomOfAnUnknownVersion is about a room whose version this server does not know. The client is told it.
//
// Spec: CS "Other error codes", M_INCOMPATIBLE_ROOM_VERSION.
func TestJoiningARoomOfAnUnknownVersion(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, _ *story.Server) {
		alice, f := a.User("alice"), story.NewForeign(t)
		f.Handle("GET /_matrix/federation/v1/make_join/{room}/{user}", func(w http.ResponseWriter, _ *http.Request) {
			f.Answers(w, 400, map[string]any{"errcode": "M_INCOMPATIBLE_ROOM_VERSION", "error": "too new", "room_version": "net.example.99"})
		})
		refused := alice.IsRefused(matrix.CodeIncompatibleRoomVersion, 400, "POST", "/join/!new:"+string(f.Name)+"?via="+string(f.Name), `{}`)
		if refused.At("room_version").Text() != "net.example.99" {
			t.Errorf("alice is told %s", refused)
		}
	})
}
