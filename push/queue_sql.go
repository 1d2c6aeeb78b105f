package push

import (
	"encoding/json"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

func scanPusherKey(r store.Row) (k pusherKey, err error) { return k, r.Scan(&k.user, &k.app, &k.key) }

// pushersIn finds the pushers of the members of a room.
func pushersIn(tx *store.Tx, room roomserver.RoomNID) ([]pusherKey, error) {
	return store.Select(tx, scanPusherKey, `
		SELECT p.user_id, p.app_id, p.pushkey FROM members m JOIN pushers p ON p.user_id = m.user_id
		WHERE m.shard = $1 AND m.room_nid = $2 AND m.membership = 'join'`, room.Shard(), int64(room))
}

// pusherKeys finds the pushers of a user.
func pusherKeys(tx *store.Tx, user matrix.UserID) ([]pusherKey, error) {
	return store.Select(tx, scanPusherKey, `SELECT user_id, app_id, pushkey FROM pushers WHERE ushard = $1 AND user_id = $2`,
		user.Shard(), string(user))
}

// enqueue stores notifications. One that is there already is so after a crash.
func enqueue(tx *store.Tx, queue []queued, now int64) error {
	rows := make([][]any, len(queue))
	for i, q := range queue {
		actions, err := json.Marshal(q.actions)
		if err != nil {
			return err
		}
		k := q.pusher
		rows[i] = []any{k.user.Shard(), string(k.user), k.app, k.key, q.at.Pos, q.at.Seq, q.at.NID, int64(q.at.Room), actions, now, q.told}
	}
	_, err := tx.Bulk(store.Bulk{
		Table:      "push_queue",
		Columns:    []string{"ushard", "user_id", "app_id", "pushkey", "pos", "seq", "event_nid", "room_nid", "actions", "queued", "told"},
		Rows:       rows,
		OnConflict: "ON CONFLICT (ushard, user_id, app_id, pushkey, pos) DO NOTHING",
	})
	return err
}

// waiting is a notification of the queue.
type waiting struct {
	pos, seq, event int64
	room            roomserver.RoomNID
	actions         []json.RawMessage
	queued          int64
	told            []byte // of an event that is not kept here
}

// waitingFor reads the first notifications of a pusher.
func waitingFor(tx *store.Tx, k pusherKey, limit int) ([]waiting, error) {
	return store.Select(tx, func(r store.Row) (w waiting, err error) {
		var raw []byte
		if err := r.Scan(&w.pos, &w.seq, &w.event, &w.room, &raw, &w.queued, &w.told); err != nil {
			return w, err
		}
		if err := json.Unmarshal(raw, &w.actions); err != nil {
			return w, fmt.Errorf("read the actions of a notification: %w", err)
		}
		return w, nil
	}, `SELECT pos, seq, event_nid, room_nid, actions, queued, told FROM push_queue
		WHERE ushard = $1 AND user_id = $2 AND app_id = $3 AND pushkey = $4 ORDER BY pos LIMIT $5`,
		k.user.Shard(), string(k.user), k.app, k.key, int64(limit))
}

// dequeue removes the notifications of a pusher up to a position.
func dequeue(tx *store.Tx, k pusherKey, upto int64) error {
	_, err := tx.Exec(`DELETE FROM push_queue WHERE ushard = $1 AND user_id = $2 AND app_id = $3 AND pushkey = $4 AND pos <= $5`,
		k.user.Shard(), string(k.user), k.app, k.key, upto)
	return err
}

// pusherOf reads one pusher, when it was made (milliseconds), and the count that it was told last.
func pusherOf(tx *store.Tx, k pusherKey) (p Pusher, created, badge int64, found bool, err error) {
	p, found, err = store.One(tx, func(r store.Row) (Pusher, error) {
		p := Pusher{User: k.user}
		var raw []byte
		if err := r.Scan(&raw, &p.Device, &created, &badge); err != nil {
			return p, err
		}
		return p, json.Unmarshal(raw, &p)
	}, `SELECT pusher, device_id, created, badge FROM pushers WHERE ushard = $1 AND user_id = $2 AND app_id = $3 AND pushkey = $4`,
		k.user.Shard(), string(k.user), k.app, k.key)
	return p, created, badge, found, err
}

func writeBadge(tx *store.Tx, k pusherKey, badge int64) error {
	_, err := tx.Exec(`UPDATE pushers SET badge = $5 WHERE ushard = $1 AND user_id = $2 AND app_id = $3 AND pushkey = $4`,
		k.user.Shard(), string(k.user), k.app, k.key, badge)
	return err
}
