package e2ee_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"astrocyte/e2ee"
	"astrocyte/matrix"
	"astrocyte/testkit"
)

// nodes starts nodes over one database: two where it is PostgreSQL.
func nodes(t *testing.T, dsn string) []*world {
	t.Helper()
	all := []*world{start(t, dsn, "")}
	if strings.HasPrefix(dsn, "postgres") {
		all = append(all, start(t, dsn, ""))
	}
	return all
}

func TestNoOneTimeKeyIsGivenTwice(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		all := nodes(t, dsn)
		k := newKey(t)
		all[0].device(alice, "A")
		all[0].upload(alice, "A", e2ee.Upload{DeviceKeys: k.identity(t, alice, "A")})
		const uploads, each, claimers = 8, 10, 8
		batches := make([]map[string]json.RawMessage, uploads)
		for i := range batches {
			batches[i] = k.oneTime(t, alice, "A", i*each, each)
		}
		var mu sync.Mutex
		given := make(map[string]int)
		var wg sync.WaitGroup
		for i, batch := range batches { // each batch comes twice, as from a client that had no answer
			for range 2 {
				wg.Go(func() {
					if _, err := all[i%len(all)].Upload(t.Context(), alice, "A", e2ee.Upload{OneTime: batch}); err != nil {
						t.Error(err)
					}
				})
			}
		}
		for i := range claimers {
			wg.Go(func() {
				for range uploads * each / claimers {
					name, err := all[i%len(all)].claim(alice, "A")
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					given[name]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for _, batch := range batches { // once more, when some were given out
			all[0].upload(alice, "A", e2ee.Upload{OneTime: batch})
		}
		delete(given, "")              // none was there at that moment
		for range 2 * uploads * each { // more than there can be
			name := all[0].mustClaim(alice, "A")
			if name == "" {
				break
			}
			given["signed_curve25519:"+name]++
		}
		for name, n := range given {
			if n != 1 {
				t.Errorf("%s was given out %d times", name, n)
			}
		}
		if len(given) != uploads*each {
			t.Errorf("%d keys were given out, %d uploaded", len(given), uploads*each)
		}
	})
}

func TestNoMessageIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		all := nodes(t, dsn)
		all[0].device(alice, "A")
		all[0].device(bob, "1", "2", "3", "4")
		const senders, each = 4, 60
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					send := e2ee.Sending{
						Sender: bob, Device: matrix.DeviceID(fmt.Sprint(s + 1)), Type: "org.example.test", TxnID: fmt.Sprint(i),
						Messages: e2ee.Messages{alice: {"A": json.RawMessage(fmt.Sprintf(`{"n":%d,"s":%d}`, i, s))}},
					}
					for try := range 2 { // the second is a repetition, on the other node
						if err := all[(s+try)%len(all)].Send(t.Context(), send); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		// A client that loses every third answer, and asks again from where it was.
		var had, after int64
		next := make([]int, senders)
		sent := make(chan struct{})
		go func() { wg.Wait(); close(sent) }()
		for got, round, last := 0, 0, false; got < senders*each; round++ {
			w := all[round%len(all)]
			n := w.news(alice, "A", had, after)
			if n.Rest {
				if err := w.Forget(t.Context(), alice, "A", had); err != nil {
					t.Fatal(err)
				}
			}
			if round%3 == 2 {
				continue
			}
			if last && len(n.Messages) == 0 {
				t.Fatalf("%d of %d messages came", got, senders*each)
			}
			select {
			case <-sent:
				last = true // what is read from now on is all there is
			default:
			}
			for _, raw := range n.Messages {
				var m struct {
					Content struct{ N, S int }
				}
				if err := json.Unmarshal(raw, &m); err != nil {
					t.Fatal(err)
				}
				if m.Content.N != next[m.Content.S] {
					t.Fatalf("sender %d: message %d came, and not %d", m.Content.S, m.Content.N, next[m.Content.S])
				}
				next[m.Content.S]++
				got++
			}
			had, after = n.Told, n.Told
		}
		wg.Wait()
		if n := all[0].news(alice, "A", had, after); len(n.Messages) > 0 {
			t.Errorf("more messages than were sent: %s", n.Messages)
		}
		if err := all[0].Forget(t.Context(), alice, "A", had); err != nil {
			t.Fatal(err)
		}
		if n := all[0].news(alice, "A", 0, 0); len(n.Messages) > 0 {
			t.Errorf("messages are kept that the client has: %s", n.Messages)
		}
	})
}

func TestQueueIsToldInParts(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn, "")
		w.device(alice, "A", "B")
		w.device(bob, "1")
		for i := range 130 {
			to := matrix.DeviceID("A")
			if i%2 == 0 {
				to = "*" // all of alice's
			}
			err := w.Send(t.Context(), e2ee.Sending{
				Sender: bob, Device: "1", Type: "org.example.test", TxnID: fmt.Sprint(i),
				Messages: e2ee.Messages{alice: {to: json.RawMessage(`{}`), "gone": json.RawMessage(`{}`)}, eve: {"*": json.RawMessage(`{}`)}},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		var counts []int
		var after int64
		for n := w.news(alice, "A", 0, 0); len(n.Messages) > 0; n = w.news(alice, "A", 0, after) {
			counts, after = append(counts, len(n.Messages)), n.Told
		}
		if !slices.Equal(counts, []int{100, 30}) {
			t.Errorf("130 messages came in parts of %v", counts)
		}
		if n := w.news(alice, "B", 0, 0); len(n.Messages) != 65 {
			t.Errorf("%d messages to all devices, want 65", len(n.Messages))
		}
		if err := w.accounts.DeleteDevices(t.Context(), alice, []matrix.DeviceID{"A"}); err != nil {
			t.Fatal(err)
		}
		w.device(alice, "A")
		if n := w.news(alice, "A", 0, 0); len(n.Messages) > 0 {
			t.Errorf("a new device has %d messages of the one that had its id", len(n.Messages))
		}
	})
}
