package roomserver_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/testkit"
)

// BenchmarkPages measures pages of 20 messages that nothing is about, and one message with a long thread.
func BenchmarkPages(b *testing.B) {
	const alice = matrix.UserID("@alice:example.org")
	r := open(b, testkit.DB(b, testkit.SQLite(b)))
	room := create(b, r, roomserver.Creation{})
	root, err := r.Send(b.Context(), message(room, alice, "root", "root"))
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1_000 {
		d := message(room, alice, fmt.Sprint("reply", i), "")
		d.Content = json.RawMessage(fmt.Sprintf(`{"body":"reply","m.relates_to":{"rel_type":"m.thread","event_id":%q}}`, root))
		if _, err := r.Send(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 30 {
		if _, err := r.Send(b.Context(), message(room, alice, fmt.Sprint(i), "plain")); err != nil {
			b.Fatal(err)
		}
	}
	v := roomserver.Viewer{User: alice}
	page := roomserver.Page{Room: room, Backward: true, Limit: 20}
	for name, do := range map[string]func() error{
		"plain":   func() error { _, err := r.Messages(b.Context(), v, page); return err },
		"thread":  func() error { _, err := r.Event(b.Context(), v, room, root); return err },
		"threads": func() error { _, err := r.Threads(b.Context(), v, page, false); return err },
		"relations": func() error {
			_, err := r.Relations(b.Context(), v, roomserver.Children{Page: page, Event: root})
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if err := do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
