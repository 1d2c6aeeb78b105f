package clients

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto/attachment"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// TestSecrets is the main story in an encrypted room: two people verify each other and talk, one of them
// takes a third device that reads all that was said from the backup, and a device is logged out.
func TestSecrets(t *testing.T) {
	s := startServer(t)
	alice, bob := register(t, s, "alice"), register(t, s, "bob")
	for _, p := range []*person{alice, bob} {
		p.encrypts()
		p.listens()
	}
	room := meetInSecret(t, alice, bob)
	whisper(t, alice, bob, room)

	if alice.trusts(bob) {
		t.Error("alice trusts bob's device already")
	}
	alice.verifies(bob)
	if !alice.trusts(bob) || !bob.trusts(alice) {
		t.Error("they do not trust each other's devices")
	}
	showPicture(t, alice, bob, room)

	recovery, _, err := alice.crypto.GenerateAndUploadCrossSigningKeysWithPassword(alice.ctx, password("alice"), "")
	if err != nil {
		t.Fatalf("alice uploads cross-signing keys: %v", err)
	}
	if err := errors.Join(alice.crypto.SignOwnDevice(alice.ctx, alice.crypto.OwnIdentity()), alice.crypto.SignOwnMasterKey(alice.ctx)); err != nil {
		t.Fatalf("alice signs her device: %v", err)
	}
	alice.backsUp(recovery)
	third := login(t, s, "alice")
	third.encrypts()
	third.restores(recovery)
	readHistory(t, third, room)
	ended := third.listens()
	third.knows(room, bob)
	bob.hearsOf(third, true)
	if err := third.crypto.VerifyWithRecoveryKey(third.ctx, recovery); err != nil {
		t.Fatalf("the third device is verified: %v", err)
	}
	for _, says := range []*person{bob, alice, third} {
		text := "a third ear, says " + string(says.DeviceID)
		says.whispers(room, text)
		for _, hears := range []*person{alice, bob, third} {
			hears.seesText(room, text)
		}
	}
	if !alice.trusts(third) {
		t.Error("alice's first device does not trust the third")
	}

	logOut(t, third, bob, ended)
	bob.whispers(room, "among us again")
	alice.seesText(room, "among us again")
	for _, p := range []*person{alice, bob, third} {
		p.readsAll()
	}
}

// meetInSecret makes a room whose key changes with every second message.
func meetInSecret(t *testing.T, alice, bob *person) id.RoomID {
	t.Helper()
	made, err := alice.CreateRoom(alice.ctx, &mautrix.ReqCreateRoom{
		Preset: "private_chat", Invite: []id.UserID{bob.UserID},
		InitialState: []*event.Event{{Type: event.StateEncryption, Content: event.Content{Parsed: &event.EncryptionEventContent{
			Algorithm: id.AlgorithmMegolmV1, RotationPeriodMessages: 2,
		}}}},
	})
	if err != nil {
		t.Fatalf("alice creates a room: %v", err)
	}
	bob.sees("the invite", func(e *event.Event) bool { return e.RoomID == made.RoomID && e.Type == event.StateMember })
	if _, err := bob.JoinRoomByID(bob.ctx, made.RoomID); err != nil {
		t.Fatalf("bob joins: %v", err)
	}
	alice.knows(made.RoomID, bob)
	bob.knows(made.RoomID, alice)
	return made.RoomID
}

// knows waits until a client knows that a room is encrypted, and that somebody is in it.
func (p *person) knows(room id.RoomID, o *person) {
	p.t.Helper()
	p.sees("the encryption of the room", func(*event.Event) bool {
		secret, err := p.StateStore.IsEncrypted(p.ctx, room)
		return err == nil && secret && p.StateStore.IsMembership(p.ctx, room, o.UserID, event.MembershipJoin)
	})
}

// whispers sends an encrypted message, and tries until it is acknowledged.
func (p *person) whispers(room id.RoomID, text string) {
	p.t.Helper()
	if err := p.tries(room, text); err != nil {
		p.t.Errorf("%s whispers %q: %v", p.UserID, text, err)
	}
}

func (p *person) tries(room id.RoomID, text string) error {
	m := sent{txn: p.TxnID(), text: text}
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	for {
		_, err := send(ctx, p, room, m)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func whisper(t *testing.T, alice, bob *person, room id.RoomID) {
	t.Helper()
	for i := range 5 {
		alice.whispers(room, fmt.Sprintf("secret question %d", i))
		bob.seesText(room, fmt.Sprintf("secret question %d", i))
		bob.whispers(room, fmt.Sprintf("secret answer %d", i))
		alice.seesText(room, fmt.Sprintf("secret answer %d", i))
	}
	bob.mu.Lock()
	defer bob.mu.Unlock()
	for _, e := range bob.events {
		if e.Type == event.EventMessage && e.Mautrix.EventSource&event.SourceDecrypted == 0 && !e.Mautrix.WasEncrypted {
			t.Errorf("%s was sent in clear", e.ID)
		}
	}
}

func showPicture(t *testing.T, alice, bob *person, room id.RoomID) {
	t.Helper()
	picture := make([]byte, 300<<10)
	rand.Read(picture)
	file := attachment.NewEncryptedFile()
	sealed := file.Encrypt(picture)
	up, err := alice.UploadBytes(alice.ctx, sealed, "application/octet-stream")
	if err != nil {
		t.Fatalf("alice uploads a picture: %v", err)
	}
	_, err = alice.SendMessageEvent(alice.ctx, room, event.EventMessage, &event.MessageEventContent{
		MsgType: event.MsgImage, Body: "holiday.png", File: &event.EncryptedFileInfo{EncryptedFile: *file, URL: up.ContentURI.CUString()},
	})
	if err != nil {
		t.Fatalf("alice shows the picture: %v", err)
	}
	seen := bob.seesText(room, "holiday.png").Content.AsMessage().File
	address, err := seen.URL.Parse()
	if err != nil {
		t.Fatal(err)
	}
	got, err := bob.DownloadBytes(bob.ctx, address)
	if err != nil {
		t.Fatalf("bob downloads the picture: %v", err)
	}
	plain, err := seen.Decrypt(got)
	if err != nil || !bytes.Equal(plain, picture) {
		t.Errorf("bob sees another picture: %v", err)
	}
}

// readHistory reads the whole room by a device that was not there.
func readHistory(t *testing.T, p *person, room id.RoomID) {
	t.Helper()
	found := map[string]int{}
	for _, e := range p.history(room) {
		if e.Type.Type != event.EventEncrypted.Type {
			continue
		}
		if e.Content.Parsed == nil {
			if err := e.Content.ParseRaw(event.EventEncrypted); err != nil {
				t.Fatal(err)
			}
		}
		plain, err := p.crypto.DecryptMegolmEvent(p.ctx, e)
		if err != nil {
			t.Errorf("%s cannot read %s: %v", p.DeviceID, e.ID, err)
			continue
		}
		found[plain.Content.AsMessage().Body]++
	}
	for i := range 5 {
		for _, text := range []string{fmt.Sprintf("secret question %d", i), fmt.Sprintf("secret answer %d", i), "holiday.png"} {
			if found[text] != 1 {
				t.Errorf("%q is %d times in the history", text, found[text])
			}
		}
	}
}

// logOut ends a device, of which nothing is left.
func logOut(t *testing.T, p, other *person, ended <-chan error) {
	t.Helper()
	leave(t, p, ended)
	other.hearsOf(p, false)
	claimed, err := other.ClaimKeys(other.ctx, &mautrix.ReqClaimKeys{OneTimeKeys: mautrix.OneTimeKeysRequest{
		p.UserID: {p.DeviceID: id.KeyAlgorithmSignedCurve25519},
	}})
	if err != nil || len(claimed.OneTimeKeys[p.UserID]) > 0 {
		t.Errorf("keys of a device that is gone are given: %v %v", claimed, err)
	}
}

// rounds is how often the server is killed: ASTROCYTE_CRYPTO_ROUNDS, or a few times.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("ASTROCYTE_CRYPTO_ROUNDS")
	if text == "" {
		return 5
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSecretsSurviveKills talks in an encrypted room while the server is killed again and again. Whoever
// gets no answer tries again, as clients do. Everybody reads everything, once.
func TestSecretsSurviveKills(t *testing.T) {
	s := startServer(t)
	alice, bob := register(t, s, "alice"), register(t, s, "bob")
	everybody := []*person{alice, bob}
	for _, p := range everybody {
		p.encrypts()
		p.listens()
	}
	room := meetInSecret(t, alice, bob)
	n := rounds(t)
	for round := range n {
		if round == n/2 { // in the middle there is one more device to encrypt for
			third := login(t, s, "bob")
			third.encrypts()
			third.listens()
			third.knows(room, alice)
			for _, p := range everybody {
				p.hearsOf(third, true)
			}
			everybody = append(everybody, third)
		}
		var talk sync.WaitGroup
		for _, p := range everybody {
			talk.Go(func() {
				for i := range 3 {
					p.whispers(room, fmt.Sprintf("round %d, %s, %d", round, p.DeviceID, i))
				}
			})
		}
		time.Sleep(time.Duration(mathrand.N(150)) * time.Millisecond) // the moment of the kill
		s.kill()
		s.start()
		talk.Wait()
		for _, hears := range everybody {
			for _, says := range everybody {
				for i := range 3 {
					hears.seesText(room, fmt.Sprintf("round %d, %s, %d", round, says.DeviceID, i))
				}
			}
		}
	}
	for _, p := range everybody {
		p.readsAll()
		for text, times := range p.texts() {
			if times != 1 {
				t.Errorf("%s has read %q %d times", p.DeviceID, text, times)
			}
		}
	}
}
