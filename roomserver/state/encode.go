package state

import (
	"encoding/binary"
	"errors"
)

var errDelta = errors.New("a state snapshot's delta cannot be read")

// encode writes a delta: for each entry the step to its tuple, then the step to its event, as varints.
// The events of a room share their low eight bits, the shard, which are left out.
func encode(delta []Entry) []byte {
	out := make([]byte, 0, 4*len(delta))
	var tuple, event int64
	for _, e := range delta {
		out = binary.AppendUvarint(out, uint64(e.Tuple-tuple))
		out = binary.AppendVarint(out, e.Event>>8-event)
		tuple, event = e.Tuple, e.Event>>8
	}
	return out
}

// decode reads what encode wrote.
func decode(shard int64, in []byte) ([]Entry, error) {
	delta := make([]Entry, 0, len(in)/4+1)
	var tuple, event int64
	for len(in) > 0 {
		step, n := binary.Uvarint(in)
		if n <= 0 {
			return nil, errDelta
		}
		in = in[n:]
		jump, n := binary.Varint(in)
		if n <= 0 {
			return nil, errDelta
		}
		in = in[n:]
		tuple, event = tuple+int64(step), event+jump
		e := Entry{Tuple: tuple, Event: event<<8 | shard}
		if event == removed {
			e.Event = removed
		}
		delta = append(delta, e)
	}
	return delta, nil
}
