package roomserver

import (
	"fmt"
	"slices"

	"astrocyte/matrix"
)

// gapWidth is how far the timeline jumps over a gap: so many events may be filled in.
const gapWidth = 1 << 24

// openGap notes that events before the next one of the timeline are missing.
func (b *batch) openGap(h *head, s *staged, missing []matrix.EventID) error {
	in, err := b.look(h.nid, missing)
	if err != nil {
		return err
	}
	var nids []int64
	for _, id := range missing {
		nid, err := in.mention(id)
		if err != nil {
			return err
		}
		if nid != 0 {
			nids = append(nids, nid)
		}
	}
	if h.seq != 0 { // below the first known event there is room without end
		h.seq += gapWidth - 1
	}
	b.later = append(b.later, func() error {
		if err := insertGap(b.tx, gap{h.nid, s.seq, nids}); err != nil {
			return fmt.Errorf("note a gap: %w", err)
		}
		return nil
	})
	return nil
}

// fillsGap says whether an event was missing before others, and takes it out of what is missing.
func (b *batch) fillsGap(h *head, e *Event) (bool, error) {
	gaps, err := gapsOf(b.tx, h.nid)
	if err != nil {
		return false, fmt.Errorf("read the gaps of the room: %w", err)
	}
	fills := false
	for _, g := range gaps {
		i := slices.Index(g.missing, e.NID)
		if i < 0 {
			continue
		}
		fills = true
		g.missing = slices.Delete(g.missing, i, i+1)
		b.later = append(b.later, func() error { return writeGap(b.tx, g) })
	}
	return fills, nil
}
