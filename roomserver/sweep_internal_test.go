package roomserver

import (
	"encoding/json"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/testkit"
)

func TestOldTransactionIDsAreForgotten(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		s := openSite(t, "a.example", dsn)
		const alice = matrix.UserID("@alice:a.example")
		room, err := s.Create(t.Context(), Creation{Creator: alice, Version: "12", Preset: PublicChat})
		if err != nil {
			t.Fatal(err)
		}
		send := func() matrix.EventID {
			id, err := s.Send(t.Context(), Draft{
				Room: room, Sender: alice, Type: "m.room.message", Content: json.RawMessage(`{}`), Txn: &Txn{Device: "A", Scope: "send", ID: "1"},
			})
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		pass := func(d time.Duration) { s.clock.Add(d.Milliseconds()) }
		first := send()
		pass(txnsKept - time.Hour)
		if err := s.sweepShard(t.Context(), alice.Shard()); err != nil {
			t.Fatal(err)
		}
		if again := send(); again != first {
			t.Errorf("within a week the repeated request made another event")
		}
		pass(2 * time.Hour)
		if err := s.sweepShard(t.Context(), (alice.Shard()+1)%shards); err != nil {
			t.Fatal(err)
		}
		if again := send(); again != first {
			t.Errorf("the sweep of another shard forgot the transaction id")
		}
		if err := s.sweepShard(t.Context(), alice.Shard()); err != nil {
			t.Fatal(err)
		}
		if again := send(); again == first {
			t.Errorf("after a week the transaction id is still there")
		}
	})
}
