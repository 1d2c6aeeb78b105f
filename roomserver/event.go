package roomserver

import (
	"encoding/binary"
	"errors"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// The lives of an event, as its row tells them.
const (
	statusOutlier    = 1 // known only as an auth event or part of a state
	statusAccepted   = 2 // in the timeline
	statusSoftFailed = 3 // stored, but not in the timeline, and no extremity
	statusRejected   = 4 // refused by the rules; as an auth event it refuses others
)

// Event is an event with what this server knows of it. What may change in the course of time (its
// redaction, its status) is as of the transaction that read it.
type Event struct {
	*rules.Event
	NID        int64
	Room       RoomNID
	Tuple      int64 // 0: not a state event
	Rank       int64 // in the room's auth DAG
	SnapBefore int64 // the state before it; 0: empty, or not known
	SnapAfter  int64 // of a state event: the state with it; 0: see batch.after
	PrevNIDs   []int64
	AuthNIDs   []int64
	TxnDevice  matrix.DeviceID // of ours that sent it, and with which transaction id; else empty
	TxnID      string          // without a device: the id under which it was delayed

	Status     int64
	RedactedBy int64 // nid of the redaction that took effect, or 0
	Related    bool  // others say more about it than an annotation
}

// settled says that the event has its place in the DAG, with the state before it. Another one, known for
// its being an auth event or part of a state, may still get one, so it is not for caches.
func (e *Event) settled() bool {
	switch e.Status {
	case statusAccepted, statusSoftFailed:
		return true
	case statusRejected:
		return e.SnapBefore != 0
	}
	return false
}

// lasting says that the event stays what it is, as far as caches tell it. A sticky one that was soft-failed may not.
func (e *Event) lasting() bool {
	return e.settled() && (e.Status != statusSoftFailed || e.Sticky() == 0)
}

// cost is what an event weighs in a cache, in bytes.
func (e *Event) cost() int64 { return int64(len(e.Bytes())) + 500 }

var errNIDs = errors.New("a list of nids cannot be read")

// encodeNIDs writes nids of one room, whose low eight bits, the shard, are left out.
func encodeNIDs(nids []int64) []byte {
	out := make([]byte, 0, 4*len(nids)+1)
	for _, n := range nids {
		out = binary.AppendUvarint(out, uint64(n>>8))
	}
	return out
}

func decodeNIDs(shard int64, in []byte) ([]int64, error) {
	var nids []int64
	for len(in) > 0 {
		v, n := binary.Uvarint(in)
		if n <= 0 {
			return nil, errNIDs
		}
		nids, in = append(nids, int64(v)<<8|shard), in[n:]
	}
	return nids, nil
}
