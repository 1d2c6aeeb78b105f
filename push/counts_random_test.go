package push_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
)

// TestCountsCarriedOnAreCountsFromTheBeginning does anything in a room, and asks one counter now and then
// and a new one each time: both have to say the same.
func TestCountsCarriedOnAreCountsFromTheBeginning(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := start(t, dsn)
		seed := rand.Uint64()
		rnd := rand.New(rand.NewPCG(seed, 0))
		var done []string
		var events, roots []matrix.EventID
		threadOf := map[matrix.EventID]string{}
		users := []matrix.UserID{alice, bob, carol}
		say := func() {
			user := users[rnd.IntN(len(users))]
			mention := ""
			if rnd.IntN(4) == 0 {
				mention = `,"m.mentions":{"user_ids":["@bob:example.org"]}`
			}
			thread, id := "main", matrix.EventID("")
			if len(roots) > 0 && rnd.IntN(2) == 0 {
				root := roots[rnd.IntN(len(roots))]
				thread, id = string(root), w.replies(user, root, mention)
			} else {
				id = w.sends(user, "m.room.message", `{"msgtype":"m.text","body":"x"`+mention+`}`)
				if len(roots) < 3 {
					roots = append(roots, id)
				}
			}
			events, threadOf[id] = append(events, id), thread
			done = append(done, fmt.Sprintf("%s says %d in %s%s", user, len(events)-1, thread, mention))
		}
		for range 5 {
			say()
		}
		for range 120 {
			switch rnd.IntN(8) {
			case 0, 1, 2, 3:
				say()
			case 4:
				i := rnd.IntN(len(events))
				done = append(done, fmt.Sprintf("bob reads %d", i))
				w.reads(bob, events[i])
			case 5, 6:
				i := rnd.IntN(len(events))
				done = append(done, fmt.Sprintf("bob reads %d in its thread", i))
				w.reads(bob, events[i], threadOf[events[i]])
			default:
				was, is := w.countsOf(w.Push, bob), w.countsOf(w.fresh(), bob)
				if was.Main != is.Main || !maps.Equal(was.Threads, is.Threads) {
					t.Fatalf("seed %d: carried on %+v, from the beginning %+v, after\n%q", seed, was, is, done)
				}
			}
		}
	})
}
