package test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/url"
	"testing"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/testkit/story"
)

// identityServer vouches for whose an e-mail address is.
type identityServer struct {
	t   *testing.T
	key ed25519.PrivateKey
}

func newIdentityServer(t *testing.T) *identityServer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &identityServer{t, key}
}

// offer is the content of the event by which an address is invited.
func (i *identityServer) offer(name string) map[string]any {
	key := canonicaljson.Base64(i.key.Public().(ed25519.PublicKey))
	const valid = "https://id.example.org/_matrix/identity/v2/pubkey/isvalid"
	return map[string]any{
		"display_name": name, "public_key": key, "key_validity_url": valid,
		"public_keys": []any{map[string]any{"public_key": key, "key_validity_url": valid}},
	}
}

// signed is its word that a token is for a user.
func (i *identityServer) signed(user matrix.UserID, token string) json.RawMessage {
	i.t.Helper()
	plain, err := json.Marshal(map[string]any{"mxid": user, "token": token})
	if err != nil {
		i.t.Fatal(err)
	}
	signed, err := canonicaljson.Sign(plain, "id.example.org", "ed25519:0", i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	return signed
}

const onBindPath = "/_matrix/federation/v1/3pid/onbind"

// bound is what it tells the server of who has the address.
func (i *identityServer) bound(by, user *story.User, room, token string) map[string]any {
	return map[string]any{
		"medium": "email", "address": "bob@example.org", "mxid": user.ID,
		"invites": []any{map[string]any{
			"medium": "email", "address": "bob@example.org", "mxid": user.ID, "room_id": room, "sender": by.ID,
			"signed": i.signed(matrix.UserID(user.ID), token),
		}},
	}
}

func TestInviteByAddressOverServers(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob, id := a.User("alice"), b.User("bob"), newIdentityServer(t)
		room := alice.CreatesRoom(map[string]any{"preset": "private_chat"})
		alice.SetsState(room, "m.room.third_party_invite", "token1", id.offer("b...@example.org"))
		b.Nobody().Must("PUT", onBindPath, id.bound(alice, bob, room, "token1"))
		bob.SeesInvite(room)
		alice.SeesMembership(room, bob, "invite")
		invite := alice.State(room, "m.room.member", string(bob.ID))
		if invite.At("third_party_invite", "display_name").Text() != "b...@example.org" || invite.At("third_party_invite", "signed", "token").Text() != "token1" {
			t.Errorf("the invite is %s", invite)
		}
		bob.Must("POST", story.Path("join", room), `{}`)
		alice.SeesMembership(room, bob, "join")
		bob.Says(room, "I found your mail")
		alice.Sees(room, "I found your mail")

		// The same on one server, and of a user of another server, in a room that their own is in.
		carol, dora := a.User("carol"), b.User("dora")
		alice.SetsState(room, "m.room.third_party_invite", "token2", id.offer("c...@example.org"))
		a.Nobody().Must("PUT", onBindPath, id.bound(alice, carol, room, "token2"))
		carol.SeesInvite(room)
		alice.SetsState(room, "m.room.third_party_invite", "token3", id.offer("d...@example.org"))
		b.Nobody().Must("PUT", onBindPath, id.bound(alice, dora, room, "token3"))
		dora.SeesInvite(room)
		alice.SeesMembership(room, dora, "invite")
	})
}

func TestBadInvitesByAddress(t *testing.T) {
	t.Parallel()
	federated(t, func(t *testing.T, a, b *story.Server) {
		alice, bob, mallory := a.User("alice"), b.User("bob"), b.User("mallory")
		id, other, f := newIdentityServer(t), newIdentityServer(t), story.NewForeign(t)
		room := alice.CreatesRoom(map[string]any{"preset": "private_chat"})
		alice.SetsState(room, "m.room.third_party_invite", "token", id.offer("b...@example.org"))
		eve := matrix.UserID("@eve:" + string(f.Name))
		exchange := func(change func(event, content, invite map[string]any)) error {
			invite := map[string]any{"display_name": "e", "signed": id.signed(eve, "token")}
			content := map[string]any{"membership": "invite", "third_party_invite": invite}
			event := map[string]any{"type": "m.room.member", "room_id": room, "sender": alice.ID, "state_key": eve, "content": content}
			change(event, content, invite)
			_, err := f.Asks(a, "PUT", "/_matrix/federation/v1/exchange_third_party_invite/"+url.PathEscape(room), event)
			return err
		}
		for _, c := range []struct {
			name   string
			change func(event, content, invite map[string]any)
			code   matrix.Code
		}{
			{"signed by another", func(_, _, i map[string]any) { i["signed"] = other.signed(eve, "token") }, matrix.CodeForbidden},
			{"a token that nobody gave out", func(_, _, i map[string]any) { i["signed"] = id.signed(eve, "other") }, matrix.CodeForbidden},
			{"signed for another", func(_, _, i map[string]any) { i["signed"] = id.signed(matrix.UserID(bob.ID), "token") }, matrix.CodeInvalidParam},
			{"for a user of another server", func(e, _, i map[string]any) {
				e["state_key"], i["signed"] = bob.ID, id.signed(matrix.UserID(bob.ID), "token")
			}, matrix.CodeForbidden},
			{"not signed", func(_, _, i map[string]any) { delete(i, "signed") }, matrix.CodeBadJSON},
			{"signed by nobody", func(_, _, i map[string]any) {
				i["signed"] = map[string]any{"mxid": eve, "token": "token", "signatures": map[string]any{}}
			}, matrix.CodeInvalidParam},
			{"a number for a signature", func(_, _, i map[string]any) {
				i["signed"] = map[string]any{"mxid": eve, "token": "token", "signatures": map[string]any{"id.example.org": 7}}
			}, matrix.CodeBadJSON},
			{"in the name of another", func(e, _, _ map[string]any) { e["sender"] = bob.ID }, matrix.CodeInvalidParam},
			{"in the name of who did not invite", func(e, _, _ map[string]any) { e["sender"] = "@nobody:" + string(a.ServerName()) }, matrix.CodeForbidden},
			{"another room", func(e, _, _ map[string]any) { e["room_id"] = "!other:example.org" }, matrix.CodeInvalidParam},
			{"a join", func(_, c, _ map[string]any) { c["membership"] = "join" }, matrix.CodeInvalidParam},
			{"another type", func(e, _, _ map[string]any) { e["type"] = "m.room.name" }, matrix.CodeInvalidParam},
			{"no content", func(e, _, _ map[string]any) { delete(e, "content") }, matrix.CodeMissingParam},
		} {
			var refused *peer.Refused
			if err := exchange(c.change); !errors.As(err, &refused) || refused.Fault.Code != c.code {
				t.Errorf("%s: %v, want %s", c.name, err, c.code)
			}
		}
		at, nobody := b, b.Nobody()
		bad := func(change func(body, invite map[string]any)) map[string]any {
			body := id.bound(alice, mallory, room, "token")
			change(body, body["invites"].([]any)[0].(map[string]any))
			return body
		}
		for _, c := range []struct {
			change func(body, invite map[string]any)
			code   matrix.Code
			status int
		}{
			{func(b, _ map[string]any) { b["mxid"] = alice.ID }, matrix.CodeInvalidParam, 400},
			{func(b, i map[string]any) {
				b["mxid"], b["invites"] = "@nobody:"+string(at.ServerName()), []any{}
			}, matrix.CodeNotFound, 404},
			{func(_, i map[string]any) { i["mxid"] = bob.ID }, matrix.CodeInvalidParam, 400},
			{func(_, i map[string]any) { i["room_id"] = "nowhere" }, matrix.CodeInvalidParam, 400},
			{func(_, i map[string]any) { i["sender"] = "nobody" }, matrix.CodeInvalidParam, 400},
			{func(_, i map[string]any) { i["signed"] = "yes" }, matrix.CodeBadJSON, 400},
			{func(b, _ map[string]any) { b["invites"] = make([]any, 101) }, matrix.CodeInvalidParam, 400},
			{func(b, _ map[string]any) { delete(b, "invites") }, matrix.CodeMissingParam, 400},
		} {
			nobody.IsRefused(c.code, c.status, "PUT", onBindPath, bad(c.change))
		}
		// What is signed by another identity server than the room knows comes to nothing, and what is good to an invite.
		forged := other.bound(alice, mallory, room, "token")
		nobody.Must("PUT", onBindPath, forged)
		nobody.Must("PUT", onBindPath, id.bound(alice, bob, room, "token"))
		bob.SeesInvite(room)
		if got := alice.Does("GET", story.Path("rooms", room, "state", "m.room.member", string(mallory.ID)), nil); got.Status != 404 {
			t.Errorf("mallory is %s", got)
		}
	})
}
