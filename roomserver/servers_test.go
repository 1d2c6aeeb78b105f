package roomserver_test

import (
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

func TestServersHearOfWhatConcernsThem(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		db := testkit.DB(t, dsn)
		r := open(t, db)
		room := create(t, r, roomserver.Creation{Preset: roomserver.PublicChat})
		var nid roomserver.RoomNID
		change := func(sender, target matrix.UserID, m matrix.Membership) (pos int64) {
			t.Helper()
			_, err := r.SetMembership(t.Context(), roomserver.Change{Room: room, Sender: sender, Target: target, Membership: m})
			if err != nil {
				t.Fatal(err)
			}
			err = db.View(t.Context(), func(tx *store.Tx) error {
				if nid, _, err = r.NID(tx, room); err != nil {
					return err
				}
				heads, err := r.Heads(tx, []roomserver.RoomNID{nid})
				pos = heads[nid].Pos
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return pos
		}
		const bob, bea = matrix.UserID("@bob:other.org"), matrix.UserID("@bea:other.org")
		came := change(bob, bob, matrix.Join)
		change(bea, bea, matrix.Join)
		change(bea, bea, matrix.Leave)
		kicked := change("@alice:example.org", bob, matrix.Leave)
		stay := func() (s roomserver.ServerStay) {
			t.Helper()
			err := db.View(t.Context(), func(tx *store.Tx) error {
				all, err := r.Servers(tx, []roomserver.RoomNID{nid})
				if len(all[nid]) != 1 {
					t.Fatalf("the other servers of the room are %v", all)
				}
				s = all[nid][0]
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		expect := func(pos int64, want bool) {
			t.Helper()
			if s := stay(); s.Has(pos) != want {
				t.Errorf("an event at %d is for the server: %v, by %+v", pos, !want, s)
			}
		}
		expect(came-1, false)
		expect(came, false) // it told us of that one
		expect(came+1, true)
		expect(kicked, true)
		expect(kicked+1, false)
		again := change(bob, bob, matrix.Join)
		expect(kicked, false) // the server knows it by its join
		expect(again-1, false)
		expect(again, false)
		expect(again+10, true)
	})
}
