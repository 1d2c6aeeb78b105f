package roomserver

import (
	"strings"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/roomserver/state"
	"astrocyte/store"
)

// readLinks reads to which auth events some events refer.
func readLinks(tx *store.Tx, nids []int64) ([]state.Link, error) {
	return store.Select(tx, func(r store.Row) (l state.Link, err error) {
		var auth []byte
		if err := r.Scan(&l.NID, &l.Rank, &auth); err != nil {
			return l, err
		}
		l.Auth, err = decodeNIDs(l.NID&0xff, auth)
		return l, err
	}, `SELECT event_nid, auth_rank, auth FROM events WHERE (shard, event_nid) IN {NIDS $1}`, store.List(nids))
}

// insertHead makes the row of a room of which nothing is known yet.
func insertHead(tx *store.Tx, nid RoomNID, id matrix.RoomID, v *rules.Version) error {
	_, err := tx.Exec(`
		INSERT INTO rooms (shard, room_nid, room_id, version, head_seq, head_pos, depth, extremities, snap, joined, invited)
		VALUES ($1, $2, $3, $4, 0, 0, 0, $5, 0, 0, 0)
		ON CONFLICT (shard, room_nid) DO NOTHING`, nid.Shard(), int64(nid), string(id), string(v.ID), []byte{})
	return err
}

// readIDs reads the ids of events by their numbers.
func readIDs(tx *store.Tx, nids []int64) (map[int64]matrix.EventID, error) {
	out := make(map[int64]matrix.EventID, len(nids))
	err := store.Each(tx, func(r store.Row) error {
		var nid int64
		var id matrix.EventID
		if err := r.Scan(&nid, &id); err != nil {
			return err
		}
		out[nid] = id
		return nil
	}, `SELECT event_nid, event_id FROM events WHERE (shard, event_nid) IN {NIDS $1}`, store.List(nids))
	return out, err
}

// usersOf reads which users of a server have to do with a room.
func usersOf(tx *store.Tx, room RoomNID, server matrix.ServerName) ([]matrix.UserID, error) {
	return store.Select(tx, func(r store.Row) (u matrix.UserID, err error) { return u, r.Scan(&u) }, `
		SELECT user_id FROM members WHERE shard = $1 AND room_nid = $2 AND user_id LIKE $3 ESCAPE '\'`,
		room.Shard(), int64(room), "%:"+strings.ReplaceAll(string(server), "_", `\_`))
}
