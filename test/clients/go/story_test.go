package clients

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// TestTwoPeople is the main story: two people meet in a room and talk, the server is killed while one of
// them sends, and nothing is lost.
func TestTwoPeople(t *testing.T) {
	s := startServer(t)
	alice, bob := register(t, s, "alice"), register(t, s, "bob")
	alice.listens()
	ended := bob.listens()

	room := meet(t, alice, bob)
	talk(t, alice, bob, room)
	showSigns(t, alice, bob, room)
	changeThings(t, alice, bob, room)
	readBack(t, bob, room)
	surviveKill(t, s, alice, bob, room)
	leave(t, bob, ended)
}

func meet(t *testing.T, alice, bob *person) id.RoomID {
	t.Helper()
	made, err := alice.CreateRoom(alice.ctx, &mautrix.ReqCreateRoom{Preset: "private_chat", Name: "Kitchen", Topic: "dinner"})
	if err != nil {
		t.Fatalf("alice creates a room: %v", err)
	}
	if _, err := alice.InviteUser(alice.ctx, made.RoomID, &mautrix.ReqInviteUser{UserID: bob.UserID}); err != nil {
		t.Fatalf("alice invites bob: %v", err)
	}
	bob.sees("the invite", func(e *event.Event) bool {
		return e.RoomID == made.RoomID && e.Type == event.StateMember && e.GetStateKey() == bob.UserID.String() &&
			e.Content.AsMember().Membership == event.MembershipInvite
	})
	if _, err := bob.JoinRoomByID(bob.ctx, made.RoomID); err != nil {
		t.Fatalf("bob joins: %v", err)
	}
	alice.sees("bob's join", func(e *event.Event) bool {
		return e.Type == event.StateMember && e.GetStateKey() == bob.UserID.String() && e.Content.AsMember().Membership == event.MembershipJoin
	})
	bob.sees("the room's name", func(e *event.Event) bool {
		return e.Type == event.StateRoomName && e.Content.AsRoomName().Name == "Kitchen"
	})
	return made.RoomID
}

func talk(t *testing.T, alice, bob *person, room id.RoomID) {
	t.Helper()
	for i := range 5 {
		question, answer := fmt.Sprintf("question %d", i), fmt.Sprintf("answer %d", i)
		sent := alice.says(room, question)
		if seen := bob.seesText(room, question); seen.ID != sent || seen.Sender != alice.UserID {
			t.Errorf("alice sent %s, bob sees %s of %s", sent, seen.ID, seen.Sender)
		}
		bob.says(room, answer)
		alice.seesText(room, answer)
	}
}

func showSigns(t *testing.T, alice, bob *person, room id.RoomID) {
	t.Helper()
	if _, err := bob.UserTyping(bob.ctx, room, true, 20*time.Second); err != nil {
		t.Fatalf("bob types: %v", err)
	}
	alice.sees("bob typing", func(e *event.Event) bool {
		return e.Type == event.EphemeralEventTyping && len(e.Content.AsTyping().UserIDs) == 1 && e.Content.AsTyping().UserIDs[0] == bob.UserID
	})
	read := alice.says(room, "read this")
	bob.seesText(room, "read this")
	if err := bob.MarkRead(bob.ctx, room, read); err != nil {
		t.Fatalf("bob reads: %v", err)
	}
	alice.sees("bob's receipt", func(e *event.Event) bool {
		if e.Type != event.EphemeralEventReceipt {
			return false
		}
		_, has := (*e.Content.AsReceipt())[read][event.ReceiptTypeRead][bob.UserID]
		return has
	})
}

func changeThings(t *testing.T, alice, bob *person, room id.RoomID) {
	t.Helper()
	if _, err := alice.SendStateEvent(alice.ctx, room, event.StateRoomName, "", &event.RoomNameEventContent{Name: "Bathroom"}); err != nil {
		t.Fatalf("alice names the room: %v", err)
	}
	bob.sees("the new name", func(e *event.Event) bool {
		return e.Type == event.StateRoomName && e.Content.AsRoomName().Name == "Bathroom"
	})
	if err := alice.SetDisplayName(alice.ctx, "Alice in Chains"); err != nil {
		t.Fatalf("alice takes a name: %v", err)
	}
	bob.sees("alice's name", func(e *event.Event) bool {
		return e.Type == event.StateMember && e.GetStateKey() == alice.UserID.String() && e.Content.AsMember().Displayname == "Alice in Chains"
	})
	wrong := alice.says(room, "a mistake")
	bob.seesText(room, "a mistake")
	if _, err := alice.RedactEvent(alice.ctx, room, wrong, mautrix.ReqRedact{Reason: "oops"}); err != nil {
		t.Fatalf("alice redacts: %v", err)
	}
	bob.sees("the redaction", func(e *event.Event) bool { return e.Type == event.EventRedaction && e.Redacts == wrong })
	gone, err := bob.GetEvent(bob.ctx, room, wrong)
	if err != nil {
		t.Fatalf("bob reads the redacted event: %v", err)
	}
	if len(gone.Content.Raw) != 0 || gone.Unsigned.RedactedBecause == nil {
		t.Errorf("the redacted event is %v", gone.Content.Raw)
	}
}

func readBack(t *testing.T, bob *person, room id.RoomID) {
	t.Helper()
	all := bob.history(room)
	if all[0].Type.Type != event.StateCreate.Type {
		t.Errorf("the history begins with %s", all[0].Type.Type)
	}
	found := textsOf(all)
	for i := range 5 {
		if found[fmt.Sprintf("question %d", i)] != 1 || found[fmt.Sprintf("answer %d", i)] != 1 {
			t.Errorf("the history has question and answer %d not once each: %v", i, found)
		}
	}
	if found["a mistake"] != 0 {
		t.Error("the history has what was redacted")
	}
}

func textsOf(events []*event.Event) map[string]int {
	n := map[string]int{}
	for _, e := range events {
		if text, is := e.Content.Raw["body"].(string); is && e.Type.Type == event.EventMessage.Type {
			n[text]++
		}
	}
	return n
}

// sent is what came of sending a message with a transaction ID.
type sent struct {
	txn, text string
	event     id.EventID // empty where the answer was lost
}

// sendUntilError sends messages one after the other, and tells how many were acknowledged.
func sendUntilError(ctx context.Context, p *person, room id.RoomID, acknowledged chan<- int) []sent {
	var all []sent
	for n := 1; ; n++ {
		m := sent{txn: fmt.Sprintf("kill-%d", n), text: fmt.Sprintf("under way %d", n)}
		id, err := send(ctx, p, room, m)
		m.event = id
		all = append(all, m)
		if err != nil {
			close(acknowledged)
			return all
		}
		acknowledged <- n
	}
}

func send(ctx context.Context, p *person, room id.RoomID, m sent) (id.EventID, error) {
	content := &event.MessageEventContent{MsgType: event.MsgText, Body: m.text}
	answer, err := p.SendMessageEvent(ctx, room, event.EventMessage, content, mautrix.ReqSendEvent{TransactionID: m.txn})
	if err != nil {
		return "", err
	}
	return answer.EventID, nil
}

func surviveKill(t *testing.T, s *server, alice, bob *person, room id.RoomID) {
	t.Helper()
	acknowledged, result := make(chan int, 1), make(chan []sent, 1)
	go func() { result <- sendUntilError(t.Context(), alice, room, acknowledged) }()
	killed := make(chan struct{})
	for n := range acknowledged {
		if n == 60 {
			go func() { // sending goes on meanwhile
				s.kill()
				close(killed)
			}()
		}
	}
	all := <-result
	<-killed
	s.start()
	for i, m := range all {
		again, err := send(t.Context(), alice, room, m)
		if err != nil {
			t.Fatalf("message %d is sent again: %v", i, err)
		}
		if m.event != "" && again != m.event {
			t.Errorf("message %d was acknowledged as %s, and sent again it is %s", i, m.event, again)
		}
	}
	alice.says(room, "on we go")
	bob.seesText(room, "on we go")
	history, live := textsOf(bob.history(room)), bob.texts()
	for _, m := range all {
		if history[m.text] != 1 || live[m.text] != 1 {
			t.Errorf("%q is %d times in the history and came %d times", m.text, history[m.text], live[m.text])
		}
	}
	t.Logf("%d messages were acknowledged before the kill", len(all)-1)
}

func leave(t *testing.T, bob *person, ended <-chan error) {
	t.Helper()
	if _, err := bob.Logout(bob.ctx); err != nil {
		t.Fatalf("bob logs out: %v", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, mautrix.MUnknownToken) && !errors.Is(err, mautrix.MMissingToken) {
			t.Errorf("bob's sync ended with %v", err)
		}
	case <-time.After(patience):
		t.Error("bob's sync goes on after his logout")
	}
}
