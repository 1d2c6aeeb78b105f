package crash

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// BenchmarkPDUs sends transactions of 50 events to a server, and prints how much of a processor each event took until it
// was received: judged, kept, allowed and stored, with all that follows the stream. The events are of one room, or each
// of another.
func BenchmarkPDUs(b *testing.B) {
	program := buildProgram(b)
	const size = 50
	for _, rooms := range []int{1, size} {
		for name, dsn := range map[string]func(testing.TB) string{"sqlite": testkit.SQLite, "postgres": testkit.Postgres} {
			b.Run(fmt.Sprintf("%d rooms/%s", rooms, name), func(b *testing.B) {
				f := story.NewForeign(b)
				f.Handle("PUT /_matrix/federation/v1/send/{txn}", func(w http.ResponseWriter, _ *http.Request) {
					f.Answers(w, http.StatusOK, map[string]any{"pdus": map[string]any{}})
				})
				p := newProcess(b, program, dsn(b))
				p.federate()
				p.start()
				alice := register(b, p, "alice")
				theirs := make([]*story.ForeignRoom, rooms)
				for i := range theirs {
					room := alice.must(b.Context(), b, "POST", "/createRoom", map[string]any{"preset": "public_chat"}).At("room_id").Text()
					theirs[i] = f.Joins(p, "mallory", room)
				}
				txns := make([][]any, b.N)
				last := make([]matrix.EventID, rooms)
				for n := range txns {
					for i := range size {
						e := theirs[i%rooms].Says(fmt.Sprintf("message %d of transaction %d, of a usual length, as people write it", i, n))
						txns[n], last[i%rooms] = append(txns[n], e), e.ID()
					}
				}
				time.Sleep(time.Second) // what begins with the rooms ends
				cpu := p.cpu()
				b.ResetTimer()
				for n, pdus := range txns {
					if _, err := f.Sends(p, fmt.Sprint("t", n), pdus, nil); err != nil {
						b.Fatal(err)
					}
				}
				for i, r := range theirs {
					alice.finds(b, story.Path("rooms", string(r.ID), "event", string(last[i])))
				}
				b.StopTimer()
				seconds := b.Elapsed().Seconds()
				time.Sleep(time.Second) // what follows the stream comes after
				b.ReportMetric(float64((p.cpu()-cpu).Microseconds())/1000/float64(b.N*size), "cpu-ms/pdu")
				b.ReportMetric(float64(b.N*size)/seconds, "pdus/s")
			})
		}
	}
}

// finds asks until there is what is asked for.
func (a *account) finds(t testing.TB, path string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		answer, err := a.call(t.Context(), "GET", path, nil)
		switch {
		case err == nil && answer.Status == http.StatusOK:
			return
		case time.Now().After(end):
			t.Fatalf("%s: GET %s: %v %v", a.id, path, answer, err)
		}
	}
}
