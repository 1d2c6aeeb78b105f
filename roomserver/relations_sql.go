package roomserver

import (
	"maps"
	"slices"

	"astrocyte/matrix"
	"astrocyte/store"
)

func insertRelations(tx *store.Tx, rows [][]any) error {
	return bulk(tx, store.Bulk{
		Table: "relations",
		Columns: []string{
			"shard", "room_nid", "target", "kind", "seq", "event_nid", "event_id", "type", "sender", "ts", "annotation",
		},
		Rows: rows,
	})
}

// deleteRelation takes back what an event said about another one.
func deleteRelation(tx *store.Tx, e *Event, rel relation) error {
	_, err := tx.Exec(`
		DELETE FROM relations
		WHERE shard = $1 AND room_nid = $2 AND target = $3 AND kind = $4 AND event_nid = $5`,
		e.Room.Shard(), int64(e.Room), string(rel.target), rel.kind, e.NID)
	return err
}

// markRelated marks those of the events that others say more about than an annotation. Some are given by their ids,
// each with the room in which something is said about it.
func markRelated(tx *store.Tx, nids []int64, targets map[matrix.EventID]RoomNID) error {
	if len(targets) > 0 {
		err := store.Each(tx, func(r store.Row) error {
			var id matrix.EventID
			var nid int64
			var room RoomNID
			err := r.Scan(&id, &nid, &room)
			if targets[id] == room {
				nids = append(nids, nid)
			}
			return err
		}, `SELECT event_id, event_nid, room_nid FROM event_ids WHERE event_id {IN $1 TEXT}`, store.List(slices.Collect(maps.Keys(targets))))
		if err != nil {
			return err
		}
	}
	if len(nids) == 0 {
		return nil
	}
	_, err := tx.Exec(`
		UPDATE events SET related = 1
		WHERE (shard, event_nid) IN {NIDS $1} AND related = 0 AND EXISTS (
			SELECT 1 FROM relations r
			WHERE r.shard = events.shard AND r.room_nid = events.room_nid AND r.target = events.event_id
				AND r.kind IN ('m.thread', 'm.replace', 'm.reference'))`, store.List(nids))
	return err
}

func scanNID(r store.Row) (nid int64, err error) { return nid, r.Scan(&nid) }

// annotationsOf finds the annotations that are the same as the one of a draft.
func annotationsOf(tx *store.Tx, room RoomNID, d *Draft, rel relation) ([]int64, error) {
	return store.Select(tx, scanNID, `
		SELECT event_nid FROM relations
		WHERE shard = $1 AND room_nid = $2 AND target = $3 AND kind = $4 AND sender = $5 AND type = $6 AND annotation = $7`,
		room.Shard(), int64(room), string(rel.target), rel.kind, string(d.Sender), d.Type, rel.annotation)
}

// childQuery asks for the events that are about one: over depth relations, of a kind and a type, if they
// are not empty, and between two places of the timeline.
type childQuery struct {
	room        RoomNID
	target      matrix.EventID
	kind, tp    string
	depth       int64
	after, upto int64
	backward    bool
	limit       int
}

// readChildren finds the places of the events that are about one.
func readChildren(tx *store.Tx, q childQuery) ([]Item, error) {
	children := `WITH tree AS (
			SELECT seq, kind, type FROM relations
			WHERE shard = $1 AND room_nid = $2 AND target = $3 AND 1 = $4
		)`
	if q.depth > 1 {
		children = `WITH RECURSIVE tree (seq, event_id, kind, type, depth) AS (
			SELECT seq, event_id, kind, type, CAST(1 AS {INT8}) FROM relations
			WHERE shard = $1 AND room_nid = $2 AND target = $3
			UNION ALL
			SELECT r.seq, r.event_id, r.kind, r.type, tree.depth + 1 FROM tree
			CROSS JOIN relations r
			WHERE r.shard = $1 AND r.room_nid = $2 AND r.target = tree.event_id AND tree.depth < $4
		)`
	}
	order := ``
	if q.backward {
		order = `DESC`
	}
	// The places are cut before the timeline is looked at. CROSS JOIN keeps the order of the tables on SQLite.
	return store.Select(tx, scanItem, children+`, part AS (
			SELECT seq FROM tree
			WHERE seq > $5 AND seq <= $6 AND (CAST($7 AS {TEXT}) = '' OR kind = $7) AND (CAST($8 AS {TEXT}) = '' OR type = $8)
			ORDER BY seq `+order+` LIMIT $9
		)
		SELECT t.seq, t.pos, t.event_nid, t.snap FROM part p
		CROSS JOIN timeline t
		WHERE t.shard = $1 AND t.room_nid = $2 AND t.seq = p.seq
		ORDER BY t.seq `+order,
		q.room.Shard(), int64(q.room), string(q.target), q.depth, q.after, q.upto, q.kind, q.tp, int64(q.limit))
}

// threadRow is the newest event of a thread that a viewer has not chosen to ignore.
type threadRow struct {
	root matrix.EventID
	seq  int64
	own  bool // the viewer has written in the thread
}

// readThreads finds the threads of a room whose newest event is before a place, newest first.
func readThreads(tx *store.Tx, room RoomNID, v Viewer, before, upto int64, limit int) ([]threadRow, error) {
	return store.Select(tx, func(r store.Row) (threadRow, error) {
		var row threadRow
		var own int64
		err := r.Scan(&row.root, &row.seq, &own)
		row.own = own != 0
		return row, err
	}, `
		SELECT target, MAX(seq) AS newest, MAX(CASE WHEN sender = $3 THEN 1 ELSE 0 END)
		FROM relations
		WHERE shard = $1 AND room_nid = $2 AND kind = 'm.thread' AND seq <= $6 AND NOT (sender {IN $5 TEXT})
		GROUP BY target
		HAVING MAX(seq) <= $4
		ORDER BY newest DESC LIMIT $7`,
		room.Shard(), int64(room), string(v.User), before, store.List(v.ignored()), upto, int64(limit))
}

// bundleRow is one of those events that are about another one of which that one is told.
type bundleRow struct {
	Item
	target, id matrix.EventID
	kind       string
	sender     matrix.UserID
	tp         string
	total      int64 // how many there are of the kind
	own        bool  // the viewer sent one of them
}

// The most references that an event is told of, and edits of one sender that are looked at.
const (
	referencesMost = 100
	editsMost      = 3
)

// readBundles finds what is said about events, up to a place of the timeline: of each thread the newest
// event, of the edits the last ones of each sender, and references.
func readBundles(tx *store.Tx, room RoomNID, targets []matrix.EventID, v Viewer, upto int64) ([]bundleRow, error) {
	return store.Select(tx, func(r store.Row) (bundleRow, error) {
		var b bundleRow
		var own int64
		err := r.Scan(&b.Seq, &b.Pos, &b.NID, &b.Snap, &b.target, &b.id, &b.kind, &b.sender, &b.tp, &b.total, &own)
		b.own = own != 0
		return b, err
	}, `
		WITH told AS (
			SELECT target, '' AS event_id, kind, '' AS sender, '' AS type, MAX(seq) AS seq, COUNT(*) AS total,
				MAX(CASE WHEN sender = $4 THEN 1 ELSE 0 END) AS own, 1 AS place
			FROM relations
			WHERE shard = $1 AND room_nid = $2 AND target {IN $3 TEXT} AND kind = 'm.thread'
				AND seq <= $5 AND NOT (sender {IN $6 TEXT})
			GROUP BY target, kind
			UNION ALL
			SELECT target, event_id, kind, sender, type, seq, 0, 0, ROW_NUMBER() OVER (PARTITION BY target ORDER BY seq DESC)
			FROM relations
			WHERE shard = $1 AND room_nid = $2 AND target {IN $3 TEXT} AND kind = 'm.reference'
				AND seq <= $5 AND NOT (sender {IN $6 TEXT})
			UNION ALL
			SELECT target, event_id, kind, sender, type, seq, 0, 0,
				ROW_NUMBER() OVER (PARTITION BY target, sender, type ORDER BY ts DESC, event_id DESC)
			FROM relations
			WHERE shard = $1 AND room_nid = $2 AND target {IN $3 TEXT} AND kind = 'm.replace' AND seq <= $5
		)
		SELECT t.seq, t.pos, t.event_nid, t.snap, b.target, b.event_id, b.kind, b.sender, b.type, b.total, b.own
		FROM told b
		CROSS JOIN timeline t
		WHERE t.shard = $1 AND t.room_nid = $2 AND t.seq = b.seq
			AND (b.place <= $7 OR (b.kind = 'm.reference' AND b.place <= $8))
		ORDER BY b.target, b.place`,
		room.Shard(), int64(room), store.List(targets), string(v.User), upto, store.List(v.ignored()),
		int64(editsMost), int64(referencesMost))
}
