package roomserver

import (
	"encoding/json"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/store"
)

// gap is a place of the timeline before which events are missing.
type gap struct {
	room    RoomNID
	seq     int64 // of the first event after it
	missing []missing
}

// missing is an event that is not here.
type missing struct {
	nid int64
	id  matrix.EventID
}

func (g *gap) columns() (nids []byte, ids string, err error) {
	all, names := make([]int64, len(g.missing)), make([]matrix.EventID, len(g.missing))
	for i, m := range g.missing {
		all[i], names[i] = m.nid, m.id
	}
	text, err := json.Marshal(names)
	return encodeNIDs(all), string(text), err
}

// writeGap writes what is missing at a place. Where nothing is any more, the gap is closed.
func writeGap(tx *store.Tx, g gap) error {
	if len(g.missing) == 0 {
		_, err := tx.Exec(`DELETE FROM room_gaps WHERE shard = $1 AND room_nid = $2 AND seq = $3`, g.room.Shard(), int64(g.room), g.seq)
		return err
	}
	nids, ids, err := g.columns()
	if err != nil {
		return fmt.Errorf("write the events of a gap: %w", err)
	}
	_, err = tx.Exec(`
		INSERT INTO room_gaps (shard, room_nid, seq, missing, ids) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (shard, room_nid, seq) DO UPDATE SET missing = excluded.missing, ids = excluded.ids`,
		g.room.Shard(), int64(g.room), g.seq, nids, ids)
	return err
}

// gapsOf reads the gaps of a room, the newest first.
func gapsOf(tx *store.Tx, room RoomNID) ([]gap, error) {
	return store.Select(tx, func(r store.Row) (gap, error) {
		g := gap{room: room}
		var bytes []byte
		var text string
		if err := r.Scan(&g.seq, &bytes, &text); err != nil {
			return g, err
		}
		nids, err := decodeNIDs(room.Shard(), bytes)
		if err != nil {
			return g, err
		}
		var ids []matrix.EventID
		if err := json.Unmarshal([]byte(text), &ids); err != nil || len(ids) != len(nids) {
			return g, fmt.Errorf("the gap at %d has %d numbers and %d ids: %w", g.seq, len(nids), len(ids), err)
		}
		for i, nid := range nids {
			g.missing = append(g.missing, missing{nid, ids[i]})
		}
		return g, nil
	}, `SELECT seq, missing, ids FROM room_gaps WHERE shard = $1 AND room_nid = $2 ORDER BY seq DESC`, room.Shard(), int64(room))
}

// gapAt says whether events are missing before a place of the timeline.
func gapAt(tx *store.Tx, room RoomNID, seq int64) (bool, error) {
	_, found, err := store.One(tx, scanNID, `SELECT seq FROM room_gaps WHERE shard = $1 AND room_nid = $2 AND seq = $3`,
		room.Shard(), int64(room), seq)
	return found, err
}
