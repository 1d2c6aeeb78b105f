package roomserver_test

import (
	"encoding/json"
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

// TestListings looks at what lists of rooms are sorted and filtered by, before and after what changes it.
func TestListings(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		db := testkit.DB(t, dsn)
		r := open(t, db)
		space := create(t, r, roomserver.Creation{Content: map[string]json.RawMessage{"type": json.RawMessage(`"m.space"`)}})
		room := create(t, r, roomserver.Creation{})
		listing := func(i int) (l roomserver.Listing) {
			t.Helper()
			if err := db.View(t.Context(), func(tx *store.Tx) error {
				var nids []roomserver.RoomNID
				for _, id := range []matrix.RoomID{space, room} {
					nid, _, err := r.NID(tx, id)
					if err != nil {
						return err
					}
					nids = append(nids, nid)
				}
				all, err := r.Listings(tx, nids)
				l = all[nids[i]]
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return l
		}
		if l := listing(0); l.Kind != "m.space" || l.Encrypted || l.Bump >= l.Pos {
			t.Errorf("a new space is listed as %+v", l)
		}
		before := listing(1)
		if before.Kind != "" || before.Encrypted || before.Bump >= before.Pos {
			t.Errorf("a new room is listed as %+v", before)
		}
		key := ""
		_, err := r.Send(t.Context(), roomserver.Draft{
			Room: room, Sender: "@alice:example.org", Type: "m.room.encryption", StateKey: &key,
			Content: json.RawMessage(`{"algorithm":"m.megolm.v1.aes-sha2"}`),
		})
		if err != nil {
			t.Fatal(err)
		}
		quiet := listing(1)
		if !quiet.Encrypted || quiet.Bump != before.Bump || quiet.Pos <= before.Pos {
			t.Errorf("after encryption came the room is listed as %+v, before as %+v", quiet, before)
		}
		if _, err := r.Send(t.Context(), message(room, "@alice:example.org", "1", "hello")); err != nil {
			t.Fatal(err)
		}
		if l := listing(1); l.Bump != l.Pos || l.Pos <= quiet.Pos {
			t.Errorf("after a message the room is listed as %+v", l)
		}
		// Rows of before there were listings say so, and are filled in from the state.
		if err := db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE rooms SET kind = '', encrypted = -1, bump_pos = 0`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if l := listing(0); l.Kind != "m.space" || l.Encrypted || l.Bump != l.Pos {
			t.Errorf("an old space is listed as %+v", l)
		}
		if l := listing(1); !l.Encrypted {
			t.Errorf("an old room is listed as %+v", l)
		}
	})
}
