package roomserver_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

// TestRedactedEventsAreForgotten does the job that a redaction leaves behind: what it took is not in the database
// any more, and the event is the same to its readers.
func TestRedactedEventsAreForgotten(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		const author = matrix.UserID("@alice:example.org")
		db := testkit.DB(t, dsn)
		r := open(t, db)
		room := create(t, r, roomserver.Creation{Creator: author, Version: "11", Preset: roomserver.PublicChat})
		kept, err := r.Send(t.Context(), message(room, author, "1", "to be read"))
		if err != nil {
			t.Fatal(err)
		}
		regretted, err := r.Send(t.Context(), message(room, author, "2", "a secret"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Send(t.Context(), roomserver.Draft{Room: room, Sender: author, Type: "m.room.redaction", Redacts: regretted,
			Content: json.RawMessage(fmt.Sprintf(`{"redacts":%q}`, regretted))})
		if err != nil {
			t.Fatal(err)
		}
		stored := func(id string) (nid int64, text string) {
			t.Helper()
			err := db.View(t.Context(), func(tx *store.Tx) error {
				return store.Each(tx, func(row store.Row) error {
					var raw []byte
					err := row.Scan(&nid, &raw)
					text = string(raw)
					return err
				}, `SELECT j.event_nid, j.json FROM event_ids i JOIN event_json j ON j.event_nid = i.event_nid WHERE i.event_id = $1`, id)
			})
			if err != nil || nid == 0 {
				t.Fatal(nid, err)
			}
			return nid, text
		}
		jobs := 0
		err = db.View(t.Context(), func(tx *store.Tx) error {
			return store.Each(tx, func(store.Row) error { jobs++; return nil }, `SELECT key FROM jobs WHERE kind = $1`, roomserver.JobForget)
		})
		if err != nil || jobs != 1 {
			t.Errorf("%d jobs wait, want 1: %v", jobs, err)
		}
		for _, id := range []string{string(kept), string(regretted), string(regretted)} {
			nid, _ := stored(id)
			if err := r.ForgetRedacted(t.Context(), store.Job{Kind: roomserver.JobForget, Key: strconv.FormatInt(nid, 10)}); err != nil {
				t.Fatal(err)
			}
		}
		if _, text := stored(string(kept)); !strings.Contains(text, "to be read") {
			t.Errorf("an event that nobody redacted is stored as %s", text)
		}
		if _, text := stored(string(regretted)); strings.Contains(text, "secret") || !strings.Contains(text, `"signatures"`) {
			t.Errorf("the redacted event is stored as %s", text)
		}
		again := open(t, db) // which has nothing in memory
		nid, _ := stored(string(regretted))
		err = db.View(t.Context(), func(tx *store.Tx) error {
			events, err := again.Events(tx, []int64{nid})
			if e := events[nid]; err == nil && (e == nil || e.ID() != regretted || e.RedactedBy == 0 || e.Sender() != author) {
				t.Errorf("the redacted event is read as %+v", e)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
