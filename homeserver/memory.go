package homeserver

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// tidyEvery is how often it is looked whether the server is at rest.
	tidyEvery = 15 * time.Second
	// tidyWorth is how much garbage is worth being collected by a server at rest, in bytes.
	tidyWorth = 8 << 20
)

// tidies gives memory back that the server does not need any more. The runtime collects garbage when the heap has
// grown by a half of itself again: after a rush, such as many clients that come and then wait, a server at rest
// would keep twice what it needs for minutes.
func (s *Server) tidies(ctx context.Context) error {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	before := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		cycles, garbage := heapNow()
		if cycles == before && garbage > tidyWorth { // little is allocated: there was no collection for so long
			debug.FreeOSMemory()
			cycles, _ = heapNow()
		}
		before = cycles
	}
}

// heapNow counts the collections until now, and what has been allocated since the last one.
func heapNow() (cycles, garbage uint64) {
	m := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(m)
	objects, live := m[1].Value.Uint64(), m[2].Value.Uint64()
	return m[0].Value.Uint64(), objects - min(live, objects)
}
