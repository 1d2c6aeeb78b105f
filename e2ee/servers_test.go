package e2ee_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"astrocyte/account"
	"astrocyte/e2ee"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

const (
	there = matrix.ServerName("elsewhere.org")
	carol = matrix.UserID("@carol:elsewhere.org")
	dave  = matrix.UserID("@dave:elsewhere.org")
)

// twin is one of two servers. What goes from one to the other is carried by the test, not by a network.
type twin struct {
	*world
	name  matrix.ServerName
	other *twin
	down  bool // cannot be reached
	asked int  // questions that came
}

// twins makes two servers. Alice and Bob are users of the first, Carol and Dave of the second.
func twins(t *testing.T, dsn string) (*twin, *twin) {
	t.Helper()
	second := testkit.SQLite
	if strings.HasPrefix(dsn, "postgres") {
		second = testkit.Postgres
	}
	a := &twin{world: startServer(t, dsn, "", "example.org"), name: "example.org"}
	b := &twin{world: startServer(t, second(t), "", there), name: there}
	a.other, b.other = b, a
	for _, w := range []*twin{a, b} {
		w.runRooms()
		w.Reach(e2ee.Remote{
			QueryKeys: func(ctx context.Context, to matrix.ServerName, wanted e2ee.Wanted) (*e2ee.ServedKeys, error) {
				o, err := w.reach(to)
				if err != nil {
					return nil, err
				}
				return o.QueryOurs(ctx, wanted)
			},
			ClaimKeys: func(ctx context.Context, to matrix.ServerName, claims e2ee.Claims) (e2ee.Claimed, error) {
				o, err := w.reach(to)
				if err != nil {
					return nil, err
				}
				return o.ClaimOurs(ctx, claims)
			},
			Devices: func(ctx context.Context, user matrix.UserID) (*e2ee.DeviceList, error) {
				o, err := w.reach(user.Server())
				if err != nil {
					return nil, err
				}
				return o.ListOurs(ctx, user)
			},
			Waiting: func(*store.Tx, []matrix.ServerName) error { return nil },
		})
	}
	a.account(alice, bob)
	b.account(carol, dave)
	return a, b
}

func (w *twin) reach(to matrix.ServerName) (*twin, error) {
	if to != w.other.name || w.other.down {
		return nil, errors.New("no answer")
	}
	w.other.asked++
	return w.other, nil
}

func (w *world) account(users ...matrix.UserID) {
	w.t.Helper()
	for _, user := range users {
		if err := w.accounts.CreateUser(w.t.Context(), account.NewUser{ID: user}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// runRooms runs the rooms of a server for the time of the test.
func (w *world) runRooms() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.rooms.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

// room makes the room of Alice and others as this server knows it.
func (w *world) room(members ...matrix.UserID) matrix.RoomID {
	w.t.Helper()
	id, err := w.rooms.Create(w.t.Context(), roomserver.Creation{Creator: members[0], Version: "12", Preset: roomserver.PublicChat})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, user := range members[1:] {
		w.member(id, user, matrix.Join)
	}
	return id
}

func (w *world) member(room matrix.RoomID, user matrix.UserID, m matrix.Membership) {
	w.t.Helper()
	_, err := w.rooms.SetMembership(w.t.Context(), roomserver.Change{Room: room, Sender: user, Target: user, Membership: m})
	if err != nil {
		w.t.Fatal(err)
	}
}

// waiting reads what waits for the other server.
func (w *twin) waiting(limit int) (out *e2ee.Outgoing) {
	w.t.Helper()
	err := w.db.View(w.t.Context(), func(tx *store.Tx) (err error) {
		out, err = w.Waiting(tx, w.other.name, limit)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *twin) told(o *e2ee.Outgoing) {
	w.t.Helper()
	if err := w.db.Update(w.t.Context(), func(tx *store.Tx) error { return w.Told(tx, w.other.name, o) }); err != nil {
		w.t.Fatal(err)
	}
}

// take gives EDUs to this server as the other's.
func (w *twin) take(edus ...e2ee.EDU) {
	w.t.Helper()
	for _, edu := range edus {
		if err := w.EDUs()[edu.Type](w.t.Context(), w.other.name, edu.Content); err != nil {
			w.t.Fatalf("%s %s: %v", edu.Type, edu.Content, err)
		}
	}
}

// carry brings all that waits to the other server.
func (w *twin) carry() (types []string) {
	w.t.Helper()
	for {
		out := w.waiting(2)
		if len(out.EDUs) == 0 {
			return types
		}
		for _, edu := range out.EDUs {
			types = append(types, edu.Type)
		}
		w.other.take(out.EDUs...)
		w.told(out)
	}
}

// refresh does the job of reading a list.
func (w *twin) refresh(user matrix.UserID) {
	w.t.Helper()
	if err := w.Refresh(w.t.Context(), user); err != nil {
		w.t.Fatal(err)
	}
}

// devices are the devices of a user as a user of this server sees them, and whether the other had to be asked.
func (w *twin) devices(asker, user matrix.UserID) (ids []matrix.DeviceID, asked bool) {
	w.t.Helper()
	before := w.other.asked
	k, err := w.Query(w.t.Context(), asker, e2ee.Wanted{user: nil}, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	for id := range k.Devices[user] {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, w.other.asked > before
}

// sees wants certain devices, kept here.
func (w *twin) sees(asker, user matrix.UserID, want ...matrix.DeviceID) {
	w.t.Helper()
	if got, asked := w.devices(asker, user); asked || !slices.Equal(got, want) {
		w.t.Errorf("%s sees the devices %v of %s (asked: %v), want %v kept", asker, got, user, asked, want)
	}
}

// changed says whether a user is told after a position that another's devices changed, and gives the position now.
func (w *world) changed(asker matrix.UserID, since int64, user matrix.UserID) (bool, int64) {
	w.t.Helper()
	l, err := w.Changes(w.t.Context(), asker, since)
	if err != nil {
		w.t.Fatal(err)
	}
	var pos int64
	if err := w.db.View(w.t.Context(), func(tx *store.Tx) (err error) { pos, err = tx.Pos(); return err }); err != nil {
		w.t.Fatal(err)
	}
	return slices.Contains(l.Changed, user), pos
}

func TestListsOfOtherServers(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a, b := twins(t, dsn)
		a.room(alice, carol)
		room := b.room(carol, alice)
		keys := make(map[matrix.DeviceID]key)
		upload := func(id matrix.DeviceID) {
			t.Helper()
			keys[id] = newKey(t)
			b.device(carol, id)
			b.upload(carol, id, e2ee.Upload{DeviceKeys: keys[id].identity(t, carol, id)})
		}
		upload("C1")
		if got, asked := a.devices(alice, carol); !asked || !slices.Equal(got, []matrix.DeviceID{"C1"}) {
			t.Fatalf("at first there are %v (asked: %v)", got, asked)
		}
		a.refresh(carol)
		a.sees(alice, carol, "C1")
		_, pos := a.changed(alice, 0, carol)

		upload("C2")
		if got := b.carry(); !slices.Equal(got, []string{"m.device_list_update", "m.device_list_update"}) {
			t.Errorf("%v were told", got)
		}
		a.sees(alice, carol, "C1", "C2")
		is, pos := a.changed(alice, pos, carol)
		if !is {
			t.Error("Alice is not told of the new device")
		}

		// One update is lost: the next makes the server ask for all.
		upload("C3")
		b.told(b.waiting(10))
		a.sees(alice, carol, "C1", "C2")
		upload("C4")
		b.carry()
		if got, asked := a.devices(alice, carol); !asked || len(got) != 4 {
			t.Errorf("after a gap there are %v (asked: %v)", got, asked)
		}
		a.refresh(carol)
		a.sees(alice, carol, "C1", "C2", "C3", "C4")
		if is, pos = a.changed(alice, pos, carol); !is {
			t.Error("Alice is not told of the gap")
		}

		if err := b.accounts.DeleteDevices(t.Context(), carol, []matrix.DeviceID{"C1", "C3"}); err != nil {
			t.Fatal(err)
		}
		out := b.waiting(10)
		a.take(out.EDUs...) // the answer is lost: they come once more
		b.carry()
		a.sees(alice, carol, "C2", "C4")
		if is, _ = a.changed(alice, pos, carol); !is {
			t.Error("Alice is not told of the deletion")
		}

		// Whoever shares no room is not followed, and is not told to the other server.
		b.member(room, alice, matrix.Leave)
		upload("C5")
		if got := b.carry(); len(got) > 0 {
			t.Errorf("%v were told to a server without a common room", got)
		}
		if got, asked := a.devices(bob, dave); !asked || len(got) > 0 {
			t.Errorf("dave has %v (asked: %v)", got, asked)
		}
	})
}

// TestListsAreOldAfterATimeApart is what the follower is for.
func TestListsAreOldAfterATimeApart(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a, b := twins(t, dsn)
		b.device(carol, "C1")
		b.upload(carol, "C1", e2ee.Upload{DeviceKeys: newKey(t).identity(t, carol, "C1")})
		one, two := a.room(alice, carol), a.room(bob, carol)
		a.follow()
		a.devices(alice, carol)
		a.refresh(carol)
		a.sees(alice, carol, "C1")

		a.member(one, carol, matrix.Leave) // there is still the other room
		a.reached()
		a.sees(bob, carol, "C1")
		a.member(two, bob, matrix.Leave) // the last of ours leaves
		a.reached()
		if _, asked := a.devices(bob, carol); !asked {
			t.Error("a list is kept of a user who shares no room")
		}
		a.member(two, bob, matrix.Join)
		if _, asked := a.devices(bob, carol); !asked {
			t.Error("a list from before the time apart is given")
		}
		a.refresh(carol)
		a.sees(bob, carol, "C1")
		_, pos := a.changed(bob, 0, carol)
		a.member(two, carol, matrix.Leave)
		a.member(two, carol, matrix.Join) // before the follower has seen it
		a.reached()
		if _, asked := a.devices(bob, carol); !asked {
			t.Error("a list from before a short time apart is given")
		}
		if is, _ := a.changed(bob, pos, carol); !is {
			t.Error("Bob is not told to look again")
		}
	})
}

// follow runs the follower for the time of the test.
func (w *world) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	f := w.Follower()
	go func() { done <- w.rooms.Follow(ctx, w.wakes, f) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.reached()
}

// reached waits until the follower has taken all that was sent.
func (w *world) reached() {
	w.t.Helper()
	if err := w.rooms.Reached(w.t.Context(), w.Follower().Name, patience); err != nil {
		w.t.Fatal(err)
	}
}

// TestWhoEntersIsNoNews has a user of another server come into a room: the room tells clients that they have not seen
// their devices yet, and that these are announced tells them nothing more, as long as none has asked. What changes
// afterwards they are told, asked or not.
func TestWhoEntersIsNoNews(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a, b := twins(t, dsn)
		upload := func(id matrix.DeviceID) {
			b.device(carol, id)
			b.upload(carol, id, e2ee.Upload{DeviceKeys: newKey(t).identity(t, carol, id)})
		}
		upload("C1")
		b.follow()
		a.room(alice, carol)
		b.room(alice, carol)
		b.reached()
		is, pos := a.changed(alice, 0, carol)
		if !is {
			t.Error("the room does not tell alice of carol")
		}
		out := b.waiting(10)
		if len(out.EDUs) == 0 {
			t.Fatal("carol is not announced")
		}
		a.take(out.EDUs...)
		if is, _ := a.changed(alice, pos, carol); is {
			t.Error("alice is told twice of the same devices")
		}
		upload("C2") // before the announcement was acknowledged: it is a change for all that
		b.carry()
		if is, pos = a.changed(alice, pos, carol); !is {
			t.Error("alice is not told of a new device, since nobody has asked")
		}
		if got, asked := a.devices(alice, carol); !asked || len(got) != 2 {
			t.Fatalf("carol has %v (asked: %v)", got, asked)
		}
		a.take(out.EDUs...) // while the list is read: it might be older than what alice was told
		if is, _ = a.changed(alice, pos, carol); !is {
			t.Error("alice, who has asked, is not told that there may be more")
		}
	})
}

// TestWhoEntersIsTold is the other thing that the follower is for.
func TestWhoEntersIsTold(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a, b := twins(t, dsn)
		a.follow()
		a.device(alice, "A", "B")
		a.upload(alice, "A", e2ee.Upload{DeviceKeys: newKey(t).identity(t, alice, "A")})
		a.room(bob) // nobody of the other server
		one := a.room(bob, carol)
		a.reached()
		a.told(a.waiting(100)) // Bob's
		a.member(one, alice, matrix.Join)
		a.reached()
		out := a.waiting(100).EDUs
		if len(out) != 3 || out[0].Type != "m.signing_key_update" && out[2].Type != "m.signing_key_update" ||
			!strings.Contains(jsonOf(out), `"device_id":"A"`) || strings.Contains(jsonOf(out), "deleted") {
			t.Errorf("told are %s", jsonOf(out))
		}
		b.take(out...)
		a.told(a.waiting(100))
		two := a.room(bob, carol)
		a.member(two, alice, matrix.Join) // the server knows her already
		if err := a.rooms.Rejoin(t.Context(), alice, roomserver.Profile{DisplayName: "Alice"}); err != nil {
			t.Fatal(err)
		}
		a.reached()
		if out := a.waiting(100).EDUs; len(out) > 0 {
			t.Errorf("told again are %s", jsonOf(out))
		}
	})
}

func TestCrossSigningOfOtherServers(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a, b := twins(t, dsn)
		a.room(alice, carol)
		b.room(carol, alice)
		top, self, user := newKey(t), newKey(t), newKey(t)
		cross := func(of matrix.UserID, usage string, k, by key) json.RawMessage {
			return by.sign(t, of, by.public, map[string]any{
				"user_id": of, "usage": []string{usage}, "keys": map[string]string{"ed25519:" + k.public: k.public},
			})
		}
		put := func(w *twin, of matrix.UserID, keys e2ee.CrossSigning) {
			t.Helper()
			if _, err := w.UploadCrossSigning(t.Context(), of, keys, true); err != nil {
				t.Fatal(err)
			}
		}
		put(b, carol, e2ee.CrossSigning{Master: cross(carol, "master", top, top), SelfSigning: cross(carol, "self_signing", self, top)})
		a.devices(alice, carol)
		a.refresh(carol)
		masterOf := func() string {
			t.Helper()
			k, err := a.Query(t.Context(), alice, e2ee.Wanted{carol: nil}, 0)
			if err != nil {
				t.Fatal(err)
			}
			return string(k.Master[carol])
		}
		if !strings.Contains(masterOf(), top.public) {
			t.Fatal("Alice does not see Carol's master key")
		}

		// Alice signs it. Only she sees that.
		ours := newKey(t)
		put(a, alice, e2ee.CrossSigning{Master: cross(alice, "master", ours, ours), UserSigning: cross(alice, "user_signing", user, ours)})
		signed := user.sign(t, alice, user.public, json.RawMessage(masterOf()))
		failures, err := a.UploadSignatures(t.Context(), alice, e2ee.Signed{carol: {top.public: signed}})
		if err != nil || len(failures) > 0 {
			t.Fatalf("Alice signs Carol's key: %v %v", jsonOf(failures), err)
		}
		if !strings.Contains(masterOf(), user.public) {
			t.Error("Alice does not see her signature")
		}
		if k, err := a.Query(t.Context(), bob, e2ee.Wanted{carol: nil}, 0); err != nil || strings.Contains(string(k.Master[carol]), user.public) {
			t.Errorf("Bob sees Alice's signature: %v", err)
		}

		// A new identity is told by an EDU; one that is not signed right is not taken.
		b.carry()
		fresh := newKey(t)
		_, pos := a.changed(alice, 0, carol)
		put(b, carol, e2ee.CrossSigning{Master: cross(carol, "master", fresh, fresh)})
		if got := b.carry(); !slices.Equal(got, []string{"m.signing_key_update"}) {
			t.Errorf("%v were told", got)
		}
		if before := b.asked; !strings.Contains(masterOf(), fresh.public) || b.asked > before {
			t.Error("Alice does not see the new key, kept")
		}
		if is, _ := a.changed(alice, pos, carol); !is {
			t.Error("Alice is not told of the new key")
		}
		wrong, _ := json.Marshal(map[string]any{
			"user_id": carol, "master_key": cross(carol, "master", top, top), "self_signing_key": cross(carol, "self_signing", self, self),
		})
		refused(t, a.ReceiveSigningKeys(t.Context(), there, wrong), matrix.CodeInvalidSignature)
		if !strings.Contains(masterOf(), fresh.public) {
			t.Error("a refused update has changed something")
		}
	})
}

// TestSigningKeysOneByOne is about servers that tell each cross-signing key by itself.
func TestSigningKeysOneByOne(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a, b := twins(t, dsn)
		a.room(alice, carol)
		b.room(carol, alice)
		a.devices(alice, carol)
		a.refresh(carol)
		sees := func(what string, want ...key) {
			t.Helper()
			k, err := a.Query(t.Context(), alice, e2ee.Wanted{carol: nil}, 0)
			if err != nil {
				t.Fatal(err)
			}
			told := [2]json.RawMessage{k.Master[carol], k.SelfSigning[carol]}
			for i, raw := range told {
				if there := i < len(want); there != (raw != nil) || there && !strings.Contains(string(raw), want[i].public) {
					t.Errorf("%s: Alice sees %s", what, told)
				}
			}
		}
		top, self := newKey(t), newKey(t)
		tells := func(usage string, k, by key) {
			t.Helper()
			name := map[string]string{"master": "master_key", "self_signing": "self_signing_key"}[usage]
			edu, _ := json.Marshal(map[string]any{"user_id": carol, name: by.sign(t, carol, by.public, map[string]any{
				"user_id": carol, "usage": []string{usage}, "keys": map[string]string{"ed25519:" + k.public: k.public},
			})})
			if err := a.ReceiveSigningKeys(t.Context(), there, edu); err != nil {
				t.Fatal(err)
			}
		}
		tells("master", top, top)
		sees("the first", top)
		tells("self_signing", self, top)
		sees("the second", top, self)
		tells("master", top, top)
		sees("the first again", top, self)

		fresh, other := newKey(t), newKey(t)
		tells("master", fresh, fresh)
		sees("another first, which does not sign the second", fresh)
		tells("self_signing", other, fresh)
		sees("its second", fresh, other)

		// The second before its first: the list is read anew, and Carol's server knows of neither.
		tells("self_signing", self, top)
		if _, asked := a.devices(alice, carol); !asked {
			t.Error("the list is not read anew")
		}
		sees("what her server has")
	})
}

func TestMessagesBetweenServers(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a, b := twins(t, dsn)
		a.device(alice, "A")
		b.device(carol, "C1", "C2")
		b.device(dave, "D")
		const n = 30
		big := strings.Repeat("x", 25<<10)
		for i := range n {
			content := json.RawMessage(fmt.Sprintf(`{"n":%d,"pad":%q}`, i, big))
			err := a.Send(t.Context(), e2ee.Sending{
				Sender: alice, Device: "A", Type: "org.example.test", TxnID: fmt.Sprint(i),
				Messages: e2ee.Messages{carol: {"*": content}, dave: {"D": content, "gone": content}},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for round := 0; ; round++ {
			out := a.waiting(7)
			if len(out.EDUs) == 0 {
				break
			}
			for _, edu := range out.EDUs {
				if len(edu.Content) > 64<<10 {
					t.Errorf("an EDU has %d bytes", len(edu.Content))
				}
			}
			b.take(out.EDUs...)
			if round%2 == 1 {
				a.told(out) // each second answer is lost, and the same comes again
			}
		}
		for _, d := range []struct {
			user   matrix.UserID
			device matrix.DeviceID
		}{{carol, "C1"}, {carol, "C2"}, {dave, "D"}} {
			next := 0
			for _, raw := range b.news(d.user, d.device, 0, 0).Messages {
				var m struct {
					Sender  matrix.UserID
					Content struct{ N int }
				}
				if err := json.Unmarshal(raw, &m); err != nil || m.Sender != alice || m.Content.N != next {
					t.Fatalf("%s %s: message %d is %.80s", d.user, d.device, next, raw)
				}
				next++
			}
			if next != n {
				t.Errorf("%s %s has %d messages, want %d", d.user, d.device, next, n)
			}
		}
	})
}

func TestClaimFromAnotherServer(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a, b := twins(t, dsn)
		k := newKey(t)
		b.device(carol, "C")
		b.upload(carol, "C", e2ee.Upload{DeviceKeys: k.identity(t, carol, "C"), OneTime: k.oneTime(t, carol, "C", 1, 2)})
		claims := e2ee.Claims{carol: {"C": "signed_curve25519", "gone": "signed_curve25519"}, bob: {"B": "signed_curve25519"}}
		seen := make(map[string]bool)
		for range 2 {
			got, failures, err := a.Claim(t.Context(), claims, 0)
			if err != nil || len(failures) > 0 || len(got[carol]["C"]) != 1 {
				t.Fatalf("claimed %v, failed %v: %v", got, jsonOf(failures), err)
			}
			for name := range got[carol]["C"] {
				if seen[name] {
					t.Errorf("%s was given out twice", name)
				}
				seen[name] = true
			}
		}
		b.down = true
		got, failures, err := a.Claim(t.Context(), claims, 0)
		if err != nil || failures[there] == nil || len(got[carol]) > 0 {
			t.Errorf("from a server that is down: %v, failed %v: %v", got, jsonOf(failures), err)
		}
		_, err = b.ClaimOurs(t.Context(), claims)
		refused(t, err, matrix.CodeInvalidParam)
	})
}

func TestBadEDUs(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a, b := twins(t, dsn)
		a.device(alice, "A")
		a.room(alice, carol)
		k := newKey(t)
		b.device(carol, "C")
		b.upload(carol, "C", e2ee.Upload{DeviceKeys: k.identity(t, carol, "C")})
		a.devices(alice, carol)
		a.refresh(carol)
		other := newKey(t).sign(t, carol, "C", map[string]any{
			"user_id": carol, "device_id": "C", "algorithms": []string{}, "keys": map[string]string{"ed25519:C": k.public},
		})
		for content, code := range map[string]matrix.Code{
			`{"user_id":"@alice:example.org","device_id":"A","stream_id":1}`:                                                     matrix.CodeForbidden,
			`{"user_id":"@carol:elsewhere.org","device_id":"C"}`:                                                                 matrix.CodeInvalidParam,
			`{"user_id":"@carol:elsewhere.org","device_id":"","stream_id":99}`:                                                   matrix.CodeInvalidParam,
			`{"user_id":"@carol:elsewhere.org","device_id":"C","stream_id":"99"}`:                                                matrix.CodeBadJSON,
			`{"user_id":"@carol:elsewhere.org","device_id":"C","stream_id":99,"prev_id":[1.5]}`:                                  matrix.CodeBadJSON,
			`{"user_id":"@carol:elsewhere.org","device_id":"C","stream_id":99,"keys":{}}`:                                        matrix.CodeBadJSON,
			`{"user_id":"@carol:elsewhere.org","device_id":"C","stream_id":99,"keys":` + string(other) + `}`:                     matrix.CodeInvalidSignature,
			`{"user_id":"@carol:elsewhere.org","device_id":"D","stream_id":99,"keys":` + string(k.identity(t, carol, "C")) + `}`: matrix.CodeInvalidParam,
			`{"user_id":"carol","device_id":"C","stream_id":99}`:                                                                 matrix.CodeInvalidParam,
			`[]`: matrix.CodeBadJSON, `{"user_id":`: matrix.CodeBadJSON,
		} {
			refused(t, a.ReceiveListUpdate(t.Context(), there, json.RawMessage(content)), code)
		}
		for content, code := range map[string]matrix.Code{
			`{"sender":"@alice:example.org","type":"x","message_id":"1","messages":{}}`:                                       matrix.CodeForbidden,
			`{"sender":"@carol:elsewhere.org","type":"","message_id":"1","messages":{}}`:                                      matrix.CodeInvalidParam,
			`{"sender":"@carol:elsewhere.org","type":"x","messages":{}}`:                                                      matrix.CodeInvalidParam,
			`{"sender":"@carol:elsewhere.org","type":"x","message_id":"1","messages":{"@alice:example.org":{"A":[]}}}`:        matrix.CodeBadJSON,
			`{"sender":"@carol:elsewhere.org","type":"x","message_id":"1","messages":{"@alice:example.org":{"A":{"n":1.5}}}}`: matrix.CodeBadJSON,
		} {
			refused(t, a.ReceiveMessages(t.Context(), there, json.RawMessage(content)), code)
		}
		a.sees(alice, carol, "C")
		if n := a.news(alice, "A", 0, 0); len(n.Messages) > 0 {
			t.Errorf("refused messages have come: %s", n.Messages)
		}
		_, err := b.ListOurs(t.Context(), "@nobody:elsewhere.org")
		refused(t, err, matrix.CodeNotFound)
		_, err = b.QueryOurs(t.Context(), e2ee.Wanted{alice: nil})
		refused(t, err, matrix.CodeInvalidParam)
	})
}

func TestQueuesAreBounded(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		a, _ := twins(t, dsn)
		a.device(alice, "A")
		a.device(bob, "B")
		for i := range 12 {
			content := json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))
			messages := e2ee.Messages{alice: {"A": content}, carol: {"C": content}}
			if i%4 == 0 {
				messages[bob] = map[matrix.DeviceID]json.RawMessage{"B": content}
			}
			err := a.Send(t.Context(), e2ee.Sending{Sender: bob, Device: "B", Type: "org.example.test", TxnID: fmt.Sprint(i), Messages: messages})
			if err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // the second finds nothing to do
			if err := a.BoundQueues(t.Context(), 5); err != nil {
				t.Fatal(err)
			}
		}
		left := a.news(alice, "A", 0, 0).Messages
		if len(left) != 5 || !strings.Contains(string(left[0]), `"n":7`) {
			t.Errorf("of 12 messages %d are left: %s", len(left), left)
		}
		if left := a.news(bob, "B", 0, 0).Messages; len(left) != 3 {
			t.Errorf("of a short queue %d of 3 are left", len(left))
		}
		out := a.waiting(100).EDUs
		if len(out) != 5 || !strings.Contains(string(out[4].Content), `"n":11`) {
			t.Errorf("for another server %d are left: %v", len(out), out)
		}
	})
}
