package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// readServers reads the stays of all servers in rooms but one.
func readServers(tx *store.Tx, rooms []RoomNID, but matrix.ServerName) (map[RoomNID][]ServerStay, error) {
	out := make(map[RoomNID][]ServerStay, len(rooms))
	err := store.Each(tx, func(r store.Row) error {
		var room RoomNID
		var joined int64
		var s ServerStay
		if err := r.Scan(&room, &s.Server, &joined, &s.Since, &s.Until); err != nil {
			return err
		}
		s.Joined = joined > 0
		out[room] = append(out[room], s)
		return nil
	}, `SELECT room_nid, server, joined, since, until FROM room_servers
		WHERE (shard, room_nid) IN {NIDS $1} AND server <> $2`, store.List(rooms), string(but))
	return out, err
}

func readServersIn(tx *store.Tx, room RoomNID, but matrix.ServerName) ([]matrix.ServerName, error) {
	return store.Select(tx, func(r store.Row) (s matrix.ServerName, err error) { return s, r.Scan(&s) }, `
		SELECT server FROM room_servers
		WHERE shard = $1 AND room_nid = $2 AND joined > 0 AND server <> $3`, room.Shard(), int64(room), string(but))
}

// writeServers counts the members of servers. The stay of a server begins where its first member came and
// ends where its last one left.
func writeServers(tx *store.Tx, changes map[serverKey]*serverChange) error {
	var rows [][]any
	for k, c := range changes {
		rows = append(rows, []any{k.room.Shard(), int64(k.room), string(k.server), c.joined, c.since, c.until})
	}
	return bulk(tx, store.Bulk{
		Table:   "room_servers",
		Columns: []string{"shard", "room_nid", "server", "joined", "since", "until"},
		Rows:    rows,
		OnConflict: `ON CONFLICT (shard, room_nid, server) DO UPDATE SET joined = room_servers.joined + excluded.joined,
			since = CASE WHEN room_servers.joined <= 0 AND excluded.since > 0 THEN excluded.since ELSE room_servers.since END,
			until = CASE WHEN room_servers.joined + excluded.joined <= 0 AND excluded.until > 0 THEN excluded.until ELSE room_servers.until END`,
	})
}

func writeRelayed(tx *store.Tx, event int64) error {
	_, err := tx.Exec(`INSERT INTO relayed (shard, event_nid) VALUES ($1, $2) ON CONFLICT (shard, event_nid) DO NOTHING`, event&0xff, event)
	return err
}

func readRelayed(tx *store.Tx, events []int64) (map[int64]bool, error) {
	out := make(map[int64]bool)
	err := store.Each(tx, func(r store.Row) error {
		nid, err := scanNID(r)
		out[nid] = true
		return err
	}, `SELECT event_nid FROM relayed WHERE (shard, event_nid) IN {NIDS $1}`, store.List(events))
	return out, err
}
