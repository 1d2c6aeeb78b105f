package roomserver

import (
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// In room version 12 no event names the create event, which all of them need.
func TestOutliersBeginWithTheCreateEvent(t *testing.T) {
	t.Parallel()
	v, _ := rules.ByID("12")
	empty, alice := "", "@alice:example.org"
	build := func(p rules.Proto) *rules.Event {
		e, err := rules.Build(v, &p)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	create := build(rules.Proto{
		Sender: matrix.UserID(alice), Type: "m.room.create", StateKey: &empty, Content: []byte(`{"room_version":"12"}`), Depth: 1,
	})
	join := build(rules.Proto{
		RoomID: create.RoomID(), Sender: matrix.UserID(alice), Type: "m.room.member", StateKey: &alice,
		Content: []byte(`{"membership":"join"}`), Prev: []rules.EventRef{create.Ref()}, Depth: 2,
	})
	again, err := rules.Load(v, create.ID(), create.Bytes()) // it comes in the state and in the auth chain
	if err != nil {
		t.Fatal(err)
	}
	sorted := byAuth(create.RoomID(), []*rules.Event{join, create, again})
	if len(sorted) != 2 || sorted[0] != create {
		t.Errorf("%d events, the first is of type %s", len(sorted), sorted[0].Type())
	}
}
