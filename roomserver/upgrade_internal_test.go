package roomserver

import (
	"encoding/json"
	"testing"

	"astrocyte/matrix"
	"astrocyte/store"
	"astrocyte/testkit"
)

// TestUpgradeOfStringLevels upgrades a room whose power levels are strings, as rooms up to version 9 may have them.
func TestUpgradeOfStringLevels(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		s := openSite(t, "a.example", dsn)
		for _, to := range []matrix.RoomVersion{"9", "11", "12"} {
			ctx, creator, empty := t.Context(), matrix.UserID("@creator:a.example"), ""
			room, err := s.Create(ctx, Creation{Creator: creator, Version: "9", Preset: PublicChat})
			if err != nil {
				t.Fatal(err)
			}
			levels := s.template(Draft{
				Room: room, Sender: creator, Type: "m.room.power_levels", StateKey: &empty,
				Content: json.RawMessage(`{"users":{"@creator:a.example":"100","@mod:b.example":"50"},"ban":"60","events":{"m.room.tombstone":"100"},"invite":"0"}`),
			})
			if status, err := s.Receive(ctx, as(t, levels.Sign(s.server, s.keyID, s.key))); status != Accepted || err != nil {
				t.Fatalf("the levels of another server: %v, %v", status, err)
			}
			next, err := s.Upgrade(ctx, creator, room, to, nil, Profile{})
			if err != nil {
				t.Fatalf("to version %s: %v", to, err)
			}
			var now struct {
				Ban    int64                   `json:"ban"`
				Users  map[matrix.UserID]int64 `json:"users"`
				Events map[string]int64        `json:"events"`
			}
			if err := json.Unmarshal(s.stateContent(next, "m.room.power_levels"), &now); err != nil {
				t.Fatal(err)
			}
			if now.Ban != 60 || now.Users["@mod:b.example"] != 50 || now.Events["m.room.tombstone"] != 100 && to != "12" {
				t.Errorf("in version %s the levels are %+v", to, now)
			}
			var was struct {
				Invite int64 `json:"invite"`
			}
			if err := json.Unmarshal(s.stateContent(room, "m.room.power_levels"), &was); err != nil || was.Invite != 50 {
				t.Errorf("in the old room an invite needs %d, %v", was.Invite, err)
			}
		}
	})
}

// stateContent is the content of a state event of a room as it is.
func (s *site) stateContent(room matrix.RoomID, tp string) (content json.RawMessage) {
	s.t.Helper()
	err := s.db.View(s.t.Context(), func(tx *store.Tx) error {
		h, _, err := s.headByID(tx, room)
		if err != nil {
			return err
		}
		st, err := s.states.Load(tx, h.Snap)
		if err != nil {
			return err
		}
		e, err := s.StateEvent(tx, st, tp, "")
		if e != nil {
			content = e.Content()
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return content
}
