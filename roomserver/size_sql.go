package roomserver

import "astrocyte/store"

// crowdedRooms lists the rooms with the most places and members, as far as their heads tell: over a gap places jump by 2^24.
func crowdedRooms(tx *store.Tx, limit int) ([]headRow, error) {
	return store.Select(tx, scanHead, `SELECT `+headColumns+` FROM rooms ORDER BY (head_seq & 16777215) + joined DESC, room_nid LIMIT $1`, int64(limit))
}

// measure counts the events of a room's timeline, and says how long the newest are on average.
func measure(tx *store.Tx, room RoomNID) (events, length int64, err error) {
	events, _, err = store.One(tx, scanNID, `
		SELECT COUNT(*) FROM (SELECT 1 FROM timeline WHERE shard = $1 AND room_nid = $2 LIMIT $3) AS places`,
		room.Shard(), int64(room), int64(countedMost))
	if err != nil || events == 0 {
		return 0, 0, err
	}
	length, _, err = store.One(tx, scanNID, `
		SELECT COALESCE(SUM(LENGTH(j.json)) / COUNT(*), 0) FROM (
			SELECT event_nid FROM timeline WHERE shard = $1 AND room_nid = $2 ORDER BY seq DESC LIMIT $3
		) AS newest JOIN event_json j ON j.shard = $1 AND j.event_nid = newest.event_nid`, room.Shard(), int64(room), int64(sizedEvents))
	return events, length, err
}
