package roomserver

import "astrocyte/store"

// beginFollowing makes the cursor of a follower where there is none.
func beginFollowing(tx *store.Tx, name string, pos int64) error {
	_, err := tx.Exec(`INSERT INTO followers (name, pos) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, name, pos)
	return err
}

func followerPos(tx *store.Tx, name string) (int64, bool, error) {
	return store.One(tx, func(r store.Row) (pos int64, err error) { return pos, r.Scan(&pos) },
		`SELECT pos FROM followers WHERE name = $1`, name)
}

// moveFollower moves a cursor on; false where it is not where it was thought to be.
func moveFollower(tx *store.Tx, name string, from, to int64) (bool, error) {
	n, err := tx.Exec(`UPDATE followers SET pos = $1 WHERE name = $2 AND pos = $3`, to, name, from)
	return n == 1, err
}

// passedAfter reads up to limit events of the stream after a position, in its order.
func passedAfter(tx *store.Tx, pos int64, limit int) ([]Passed, error) {
	return store.Select(tx, scanPassed, `SELECT room_nid, seq, pos, event_nid, snap FROM timeline WHERE pos > $1 ORDER BY pos LIMIT $2`, pos, int64(limit))
}

func scanPassed(r store.Row) (Passed, error) {
	var p Passed
	err := r.Scan(&p.Room, &p.Seq, &p.Pos, &p.NID, &p.Snap)
	return p, err
}
