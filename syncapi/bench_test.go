package syncapi

import (
	"context"
	"fmt"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
)

// crowd makes a world with rooms of a size, of all of which bob is a member, and the question of his
// client that is up to date.
func crowd(b *testing.B, rooms, members int) (*world, []matrix.RoomID, question) {
	b.Helper()
	w := newWorld(b, testkit.SQLite(b))
	var all []matrix.RoomID
	for range rooms {
		room := w.create("alice")
		w.membership(room, "bob", "bob", matrix.Join)
		for i := range members {
			name := fmt.Sprint("m", i)
			w.membership(room, name, name, matrix.Join)
		}
		all = append(all, room)
	}
	b.Cleanup(w.api.waker.listen(user("bob")).stop)
	q := question{viewer: viewer("bob"), filter: mustFilter(b, `{"room":{"state":{"lazy_load_members":true}}}`), initial: true}
	n, err := w.api.read(context.Background(), q)
	if err != nil {
		b.Fatal(err)
	}
	q.since, q.shown, q.follows, q.initial = n.next, n.next, n.next, false
	if _, err := w.api.read(context.Background(), q); err != nil { // what is kept in memory is there from here on
		b.Fatal(err)
	}
	return w, all, q
}

// BenchmarkNothingNew reads for a user of 50 rooms to whom nothing is new.
func BenchmarkNothingNew(b *testing.B) {
	w, _, q := crowd(b, 50, 2)
	for b.Loop() {
		if n, err := w.api.read(b.Context(), q); err != nil || !n.empty() {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkOneMessage reads one new message in one of 50 rooms, and writes the answer.
func BenchmarkOneMessage(b *testing.B) {
	w, rooms, q := crowd(b, 50, 2)
	w.says(rooms[7], "alice", "hello")
	var buf []byte
	for b.Loop() {
		n, err := w.api.read(b.Context(), q)
		if err != nil || len(n.join) != 1 {
			b.Fatal(n, err)
		}
		buf = n.AppendJSON(buf[:0])
	}
	b.ReportMetric(float64(len(buf)), "answer-bytes")
}

// BenchmarkAnswerJSON writes an answer with ten messages.
func BenchmarkAnswerJSON(b *testing.B) {
	w, rooms, q := crowd(b, 1, 2)
	for i := range 10 {
		w.says(rooms[0], "alice", fmt.Sprint("hello ", i))
	}
	n, err := w.api.read(b.Context(), q)
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	for b.Loop() {
		buf = n.AppendJSON(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}

// BenchmarkFirstSync reads a first answer of 200 rooms of 20 members.
func BenchmarkFirstSync(b *testing.B) {
	w, _, q := crowd(b, 200, 20)
	q = question{viewer: q.viewer, filter: q.filter, initial: true}
	for b.Loop() {
		if _, err := w.api.read(b.Context(), q); err != nil {
			b.Fatal(err)
		}
	}
}
