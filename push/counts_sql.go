package push

import (
	"context"
	"encoding/json"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// eachSum goes over what was counted of rooms.
func eachSum(tx *store.Tx, user matrix.UserID, rooms []roomserver.RoomNID, fn func(room roomserver.RoomNID, raw []byte)) error {
	return store.Each(tx, func(r store.Row) error {
		var room int64
		var raw []byte
		if err := r.Scan(&room, &raw); err != nil {
			return err
		}
		fn(roomserver.RoomNID(room), raw)
		return nil
	}, `SELECT room_nid, sum FROM unread WHERE ushard = $1 AND user_id = $2 AND room_nid {IN $3 INT8}`,
		user.Shard(), string(user), store.List(rooms))
}

// flush writes what was counted.
func (p *Push) flush(ctx context.Context) {
	p.mu.Lock()
	dirty := p.dirty
	p.dirty = make(map[sumKey]*sum)
	p.mu.Unlock()
	if len(dirty) == 0 {
		return
	}
	rows := make([][]any, 0, len(dirty))
	for key, s := range dirty {
		raw, err := json.Marshal(s)
		if err != nil {
			continue
		}
		rows = append(rows, []any{key.user.Shard(), string(key.user), int64(key.room), s.Seq, raw})
	}
	err := p.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Bulk(store.Bulk{
			Table: "unread", Columns: []string{"ushard", "user_id", "room_nid", "seq", "sum"}, Rows: rows,
			OnConflict: `ON CONFLICT (ushard, user_id, room_nid) DO UPDATE SET seq = excluded.seq, sum = excluded.sum
				WHERE unread.seq <= excluded.seq`,
		})
		return err
	})
	if err != nil && ctx.Err() == nil {
		p.log.Error("write counts", "err", err)
	}
}
