package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// aliasRow is a row of aliases.
type aliasRow struct {
	nid     RoomNID
	id      matrix.RoomID
	creator matrix.UserID
}

func aliasRoom(tx *store.Tx, alias matrix.RoomAlias) (aliasRow, bool, error) {
	return store.One(tx, func(r store.Row) (row aliasRow, err error) {
		return row, r.Scan(&row.nid, &row.id, &row.creator)
	}, `SELECT room_nid, room_id, creator FROM aliases WHERE alias = $1`, string(alias))
}

func insertAlias(tx *store.Tx, alias matrix.RoomAlias, nid RoomNID, id matrix.RoomID, creator matrix.UserID) error {
	_, err := tx.Exec(`INSERT INTO aliases (alias, room_nid, room_id, creator) VALUES ($1, $2, $3, $4)`,
		string(alias), int64(nid), string(id), string(creator))
	return err
}

// publish sets whether a room is in the directory.
func publish(tx *store.Tx, nid RoomNID, id matrix.RoomID, public bool) error {
	if !public {
		_, err := tx.Exec(`DELETE FROM published_rooms WHERE room_nid = $1`, int64(nid))
		return err
	}
	_, err := tx.Exec(`
		INSERT INTO published_rooms (room_nid, room_id) VALUES ($1, $2)
		ON CONFLICT (room_nid) DO NOTHING`, int64(nid), string(id))
	return err
}

func deleteAlias(tx *store.Tx, alias matrix.RoomAlias) error {
	_, err := tx.Exec(`DELETE FROM aliases WHERE alias = $1`, string(alias))
	return err
}

func aliasesOf(tx *store.Tx, room RoomNID, limit int) ([]matrix.RoomAlias, error) {
	return store.Select(tx, func(r store.Row) (a matrix.RoomAlias, err error) { return a, r.Scan(&a) },
		`SELECT alias FROM aliases WHERE room_nid = $1 ORDER BY alias LIMIT $2`, int64(room), int64(limit))
}

// serversOf finds servers with joined members in a room, those with the most first.
func serversOf(tx *store.Tx, room RoomNID, limit int) ([]matrix.ServerName, error) {
	return store.Select(tx, func(r store.Row) (s matrix.ServerName, err error) { return s, r.Scan(&s) }, `
		SELECT server FROM room_servers
		WHERE shard = $1 AND room_nid = $2 AND joined > 0 ORDER BY joined DESC, server LIMIT $3`,
		room.Shard(), int64(room), int64(limit))
}

// publishedRoom is a room of the directory, with the number of its members.
type publishedRoom struct {
	nid    RoomNID
	joined int64
	snap   int64
}

// shownRooms are the rooms in the directory, and allShownRooms those that are in that of a network besides.
const (
	shownRooms    = `published_rooms`
	allShownRooms = `(SELECT room_nid FROM published_rooms UNION
		SELECT i.room_nid FROM network_rooms n JOIN room_ids i ON i.room_id = n.room_id)`
)

func shownIn(networks bool) string {
	if networks {
		return allShownRooms
	}
	return shownRooms
}

// publishedRooms lists the directory, the rooms with the most members first, behind a place in that
// order, or those before it, the nearest first.
func publishedRooms(tx *store.Tx, at directoryPlace, networks bool, limit int) ([]publishedRoom, error) {
	where := `r.joined < $1 OR (r.joined = $1 AND r.room_nid > $2) ORDER BY r.joined DESC, r.room_nid`
	if at.back {
		where = `r.joined > $1 OR (r.joined = $1 AND r.room_nid < $2) ORDER BY r.joined, r.room_nid DESC`
	}
	return store.Select(tx, func(r store.Row) (p publishedRoom, err error) {
		return p, r.Scan(&p.nid, &p.joined, &p.snap)
	}, `
		SELECT r.room_nid, r.joined, r.snap FROM `+shownIn(networks)+` p
		JOIN rooms r ON r.room_nid = p.room_nid AND r.shard = p.room_nid % 256
		WHERE `+where+` LIMIT $3`, at.joined, int64(at.nid), int64(limit))
}

// countPublished counts the rooms of the directory.
func countPublished(tx *store.Tx, networks bool) (int, error) {
	n, _, err := store.One(tx, func(r store.Row) (n int, err error) { return n, r.Scan(&n) }, `SELECT COUNT(*) FROM `+shownIn(networks)+` p`)
	return n, err
}

func isPublished(tx *store.Tx, room RoomNID) (bool, error) {
	_, ok, err := store.One(tx, func(r store.Row) (n int64, err error) { return n, r.Scan(&n) },
		`SELECT room_nid FROM published_rooms WHERE room_nid = $1`, int64(room))
	return ok, err
}

// moveNames gives the aliases and the place in the directory of one room to another.
func moveNames(tx *store.Tx, from, to RoomNID, id matrix.RoomID) error {
	if _, err := tx.Exec(`UPDATE aliases SET room_nid = $1, room_id = $2 WHERE room_nid = $3`, int64(to), string(id), int64(from)); err != nil {
		return err
	}
	public, err := isPublished(tx, from)
	if err != nil || !public {
		return err
	}
	if err := publish(tx, from, "", false); err != nil {
		return err
	}
	return publish(tx, to, id, true)
}
