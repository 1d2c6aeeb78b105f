package roomserver

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/testkit"
)

// TestAForkedRoomHeals has a site that was not told all of a room's state. It resolves its state with that of
// the other, and what comes then builds on it.
func TestAForkedRoomHeals(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		ctx := t.Context()
		a, b := openSite(t, "a.example", testkit.SQLite(t)), openSite(t, "b.example", dsn)
		room, err := a.Create(ctx, Creation{Creator: ann, Version: "11", Preset: PublicChat, Topic: "told to some"})
		if err != nil {
			t.Fatal(err)
		}
		const ben = matrix.UserID("@ben:b.example")
		a.leaveOut = "m.room.topic"
		a.admit(b, room, ben)
		topic := rules.StateKey{Type: "m.room.topic"}
		if b.stateOf(room)[topic] != "" {
			t.Fatal("the state is told whole")
		}
		want := a.stateOf(room)
		told := slices.Collect(maps.Values(want))
		if _, err := b.Heal(ctx, room, told); err != nil {
			t.Fatal(err)
		}
		if b.stateOf(room)[topic] != "" {
			t.Error("a state of events that are not here was adopted")
		}
		if err := b.KeepOutliers(ctx, room, []*rules.Event{as(t, a.get(want[topic]).Event)}); err != nil {
			t.Fatal(err)
		}
		if n, err := b.Heal(ctx, room, told); err != nil || n != 1 {
			t.Fatalf("%d places changed, %v", n, err)
		}
		if !maps.Equal(b.stateOf(room), want) {
			t.Error("the room has not healed")
		}
		if n, err := b.Heal(ctx, room, told); err != nil || n != 0 {
			t.Errorf("healed again, %d places changed: %v", n, err)
		}
		if _, err := b.Send(ctx, Draft{Room: room, Sender: ben, Type: "m.room.message", Content: []byte(`{"body":"well"}`)}); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(b.stateOf(room), want) || len(b.extremitiesOf(room)) != 1 {
			t.Error("the room is ill again")
		}
		b.checkMembers(room)
		var refused *matrix.Error
		if _, err := b.Heal(ctx, "!none:a.example", told); !errors.As(err, &refused) {
			t.Errorf("a room that is not here: %v", err)
		}
	})
}
