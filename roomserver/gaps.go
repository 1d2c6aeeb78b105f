package roomserver

import (
	"fmt"
	"slices"

	"astrocyte/matrix"
)

// gapWidth is how far the timeline jumps over a gap: so many events may be filled in.
const gapWidth = 1 << 24

// openGap notes that events before the next one of the timeline are missing.
func (b *batch) openGap(h *head, s *staged, lacks []matrix.EventID) error {
	g, err := b.lacking(h, lacks)
	if err != nil || len(g.missing) == 0 {
		return err
	}
	if h.seq != 0 { // below the first known event there is room without end
		h.seq += gapWidth - 1
	}
	b.later = append(b.later, func() error {
		g.seq = s.seq
		if err := writeGap(b.tx, g); err != nil {
			return fmt.Errorf("note a gap: %w", err)
		}
		return nil
	})
	return nil
}

// lacking makes a gap of events that are missing.
func (b *batch) lacking(h *head, ids []matrix.EventID) (gap, error) {
	g := gap{room: h.nid}
	in, err := b.look(h.nid, ids)
	if err != nil {
		return g, err
	}
	for _, id := range ids {
		nid, err := in.mention(id)
		if err != nil {
			return g, err
		}
		if nid != 0 { // else it is of another room
			g.missing = append(g.missing, missing{nid, id})
		}
	}
	return g, nil
}

// fillsGap says whether an event was missing before others, and takes it out of what is missing.
func (b *batch) fillsGap(h *head, e *Event) (bool, error) {
	gaps, err := gapsOf(b.tx, h.nid)
	if err != nil {
		return false, fmt.Errorf("read the gaps of the room: %w", err)
	}
	fills := false
	for _, g := range gaps {
		left := slices.DeleteFunc(slices.Clone(g.missing), func(m missing) bool { return m.nid == e.NID })
		if len(left) == len(g.missing) {
			continue
		}
		fills = true
		g.missing = left
		b.later = append(b.later, func() error { return writeGap(b.tx, g) })
	}
	return fills, nil
}
