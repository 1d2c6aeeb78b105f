package ephemeral

import (
	"fmt"
	"testing"
	"time"

	"astrocyte/bus"
	"astrocyte/matrix"
)

// BenchmarkTenThousandOnline is what presence takes of a core while 10,000 users are there: each gives a sign
// of life every twenty seconds, one in ten goes and comes again and again, and the time is kept.
func BenchmarkTenThousandOnline(b *testing.B) {
	const users, every = 10_000, 20 * time.Second
	now := time.Unix(1_700_000_000, 0)
	local := bus.NewLocal()
	p := newPeople(local.Subscribe(bus.Presence), func() time.Time { return now }, 1)
	names := make([]matrix.UserID, users)
	for i := range names {
		names[i] = matrix.UserID(fmt.Sprintf("@u%d:example.org", i))
		p.seen(names[i], "D", Online)
	}
	told, turns := 0, 0
	for b.Loop() {
		for tick := range int(every / presenceTick) {
			now = now.Add(presenceTick)
			for i := tick; i < users; i += int(every / presenceTick) {
				if i%10 != 0 || (i/100+turns)%10 >= 4 { // some are away for so long that they go
					told += len(p.seen(names[i], "D", Online))
				}
			}
			told += len(p.keepTime())
		}
		turns++
	}
	b.ReportMetric(100*b.Elapsed().Seconds()/(float64(turns)*every.Seconds()), "%core")
	b.ReportMetric(float64(told)/float64(turns), "told/20s")
}
