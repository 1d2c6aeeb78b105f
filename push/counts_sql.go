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

// deserted removes what users of a room that is about to be removed have of it: a hook for package roomserver.
func (p *Push) deserted(tx *store.Tx, room roomserver.RoomNID, id matrix.RoomID, users []matrix.UserID) error {
	shards := make([]int64, len(users))
	for i, u := range users {
		shards[i] = u.Shard()
	}
	if _, err := tx.Exec(`DELETE FROM unread WHERE ushard {IN $1 INT8} AND user_id {IN $2 TEXT} AND room_nid = $3`,
		store.List(shards), store.List(users), int64(room)); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM thread_subscriptions WHERE ushard {IN $1 INT8} AND user_id {IN $2 TEXT} AND room_id = $3`,
		store.List(shards), store.List(users), string(id))
	tx.AfterCommit(func() { p.drop(room, users) })
	return err
}

// drop forgets what was counted of a room.
func (p *Push) drop(room roomserver.RoomNID, users []matrix.UserID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range users {
		delete(p.dirty, sumKey{u, room})
		p.sums.Delete(sumKey{u, room})
	}
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
