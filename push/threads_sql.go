package push

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

const subscriptionColumns = `room_id, thread, subscribed, automatic, ended_seq, pos`

func scanSubscription(r store.Row) (s Subscription, err error) {
	var subscribed, automatic int64
	err = r.Scan(&s.Room, &s.Thread, &subscribed, &automatic, &s.endedSeq, &s.Pos)
	s.Subscribed, s.Automatic = subscribed != 0, automatic != 0
	return s, err
}

func readSubscription(tx *store.Tx, user matrix.UserID, room matrix.RoomID, thread matrix.EventID, lock bool) (Subscription, bool, error) {
	query := `SELECT ` + subscriptionColumns + ` FROM thread_subscriptions WHERE ushard = $1 AND user_id = $2 AND room_id = $3 AND thread = $4`
	if lock {
		query += ` {FOR UPDATE}`
	}
	return store.One(tx, scanSubscription, query, user.Shard(), string(user), string(room), string(thread))
}

func writeSubscription(tx *store.Tx, user matrix.UserID, s Subscription) error {
	flag := func(is bool) int64 {
		if is {
			return 1
		}
		return 0
	}
	_, err := tx.Exec(`INSERT INTO thread_subscriptions (ushard, user_id, `+subscriptionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (ushard, user_id, room_id, thread) DO UPDATE SET subscribed = excluded.subscribed, automatic = excluded.automatic,
			ended_seq = excluded.ended_seq, pos = excluded.pos WHERE thread_subscriptions.pos < excluded.pos`,
		user.Shard(), string(user), string(s.Room), string(s.Thread), flag(s.Subscribed), flag(s.Automatic), s.endedSeq, s.Pos)
	return err
}

func countSubscriptions(tx *store.Tx, user matrix.UserID) (n int64, err error) {
	n, _, err = store.One(tx, func(r store.Row) (n int64, err error) { return n, r.Scan(&n) },
		`SELECT count(*) FROM thread_subscriptions WHERE ushard = $1 AND user_id = $2`, user.Shard(), string(user))
	return n, err
}

func subscriptionsBetween(tx *store.Tx, user matrix.UserID, since, upto int64, limit int) ([]Subscription, error) {
	return store.Select(tx, scanSubscription, `SELECT `+subscriptionColumns+` FROM thread_subscriptions
		WHERE ushard = $1 AND user_id = $2 AND pos > $3 AND pos <= $4 ORDER BY pos DESC LIMIT $5`,
		user.Shard(), string(user), since, upto, int64(limit))
}

// subscribedIn reads the threads of a room that a user is subscribed to.
func subscribedIn(tx *store.Tx, user matrix.UserID, room matrix.RoomID) (map[matrix.EventID]bool, error) {
	out := make(map[matrix.EventID]bool)
	err := store.Each(tx, func(r store.Row) error {
		var thread string
		if err := r.Scan(&thread); err != nil {
			return err
		}
		out[matrix.EventID(thread)] = true
		return nil
	}, `SELECT thread FROM thread_subscriptions WHERE ushard = $1 AND user_id = $2 AND room_id = $3 AND subscribed = 1`,
		user.Shard(), string(user), string(room))
	return out, err
}

// newestSubscriptions tells where in the stream the newest change of a user's subscriptions to threads of
// each room is.
func newestSubscriptions(tx *store.Tx, user matrix.UserID, rooms []string) (map[matrix.RoomID]int64, error) {
	out := make(map[matrix.RoomID]int64)
	err := store.Each(tx, func(r store.Row) error {
		var room string
		var pos int64
		if err := r.Scan(&room, &pos); err != nil {
			return err
		}
		out[matrix.RoomID(room)] = pos
		return nil
	}, `SELECT room_id, max(pos) FROM thread_subscriptions WHERE ushard = $1 AND user_id = $2 AND room_id {IN $3 TEXT} GROUP BY room_id`,
		user.Shard(), string(user), store.List(rooms))
	return out, err
}
