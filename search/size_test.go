package search

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

// TestSize measures what an index of many messages takes and how long searches in it last, and prints it.
// It is for measuring: it runs where ASTROCYTE_SEARCH_SIZE says how many messages.
func TestSize(t *testing.T) {
	var n int
	if _, err := fmt.Sscan(os.Getenv("ASTROCYTE_SEARCH_SIZE"), &n); err != nil {
		t.Skip("ASTROCYTE_SEARCH_SIZE is not set")
	}
	words := wordsOf(t)
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, false)
		var rooms []matrix.RoomID
		for range 20 {
			rooms = append(rooms, w.creates(alice, roomserver.PrivateChat))
		}
		began, bytes := time.Now(), 0
		random := rand.New(rand.NewPCG(1, 2))
		texts := make(chan string, 64)
		var senders sync.WaitGroup
		for i := range 32 {
			senders.Go(func() {
				for text := range texts {
					w.says(alice, rooms[i%len(rooms)], text)
				}
			})
		}
		for range n {
			var b strings.Builder
			for range 4 + random.IntN(20) {
				b.WriteString(words[int(float64(len(words))*random.Float64()*random.Float64())] + " ")
			}
			bytes += b.Len()
			texts <- b.String()
		}
		close(texts)
		senders.Wait()
		sent := time.Since(began)
		for w.rooms.Reached(t.Context(), follower, time.Hour) != nil {
			t.Fatal("the follower is not there")
		}
		query := `SELECT CAST(SUM(LENGTH(block)) AS INTEGER) FROM search_terms_data`
		if w.db.Engine() == "postgres" {
			query = `SELECT CAST(pg_total_relation_size('search_terms') AS INT8)`
		}
		var size int64
		w.view(func(tx *store.Tx) (err error) {
			size, _, err = store.One(tx, scanInt, query)
			return err
		})
		t.Logf("%d messages of %d bytes on average, sent in %v, indexed %v later; %d bytes of terms a message",
			n, bytes/n, sent.Round(time.Millisecond), (time.Since(began) - sent).Round(time.Millisecond), size/int64(n))
		for _, text := range []string{words[0], words[0] + " " + words[1], words[len(words)-1], words[len(words)/2][:2], "nothinglikeit"} {
			for _, recent := range []bool{true, false} {
				var best time.Duration
				var r *Result
				for range 3 {
					began := time.Now()
					r = w.finds(Query{Text: text, Recent: recent, Limit: 10})
					if d := time.Since(began); best == 0 || d < best {
						best = d
					}
				}
				t.Logf("%-24q recent %-5v %8v, counts %d", text, recent, best.Round(10*time.Microsecond), r.Count)
			}
		}
	})
}

// wordsOf are the words of the samples.
func wordsOf(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, s := range readSamples(t) {
		words := bufio.NewScanner(strings.NewReader(s.text))
		words.Split(bufio.ScanWords)
		for words.Scan() {
			all = append(all, words.Text())
		}
	}
	return all
}
