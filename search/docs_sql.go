package search

import (
	"astrocyte/roomserver"
	"astrocyte/store"
)

func scanInt(r store.Row) (n int64, err error) { return n, r.Scan(&n) }

// intSet gives the numbers of an answer as a set.
func intSet(tx *store.Tx, query string, args ...any) (map[int64]bool, error) {
	set := make(map[int64]bool)
	return set, store.Each(tx, func(r store.Row) error {
		n, err := scanInt(r)
		set[n] = true
		return err
	}, query, args...)
}

// presentDocs says which of the events are in the index.
func presentDocs(tx *store.Tx, nids []int64) (map[int64]bool, error) {
	return intSet(tx, `SELECT event_nid FROM search_docs WHERE (shard, event_nid) IN {NIDS $1}`, store.List(nids))
}

// takenIDs says which of the ids of documents are in use.
func takenIDs(tx *store.Tx, ids []int64) (map[int64]bool, error) {
	return intSet(tx, `SELECT doc_id FROM search_docs WHERE doc_id {IN $1 INT8}`, store.List(ids))
}

func insertDocs(tx *store.Tx, docs []eventDoc) error {
	rows := make([][]any, len(docs))
	for i, d := range docs {
		rows[i] = []any{d.room.Shard(), d.nid, int64(d.room), d.id}
	}
	_, err := tx.Bulk(store.Bulk{Table: "search_docs", Columns: []string{"shard", "event_nid", "room_nid", "doc_id"}, Rows: rows})
	return err
}

// deleteDocs forgets events, and tells the ids of their documents.
func deleteDocs(tx *store.Tx, nids []int64) ([]int64, error) {
	ids, err := store.Select(tx, scanInt, `SELECT doc_id FROM search_docs WHERE (shard, event_nid) IN {NIDS $1}`, store.List(nids))
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	_, err = tx.Exec(`DELETE FROM search_docs WHERE (shard, event_nid) IN {NIDS $1}`, store.List(nids))
	return ids, err
}

// clearDocs forgets all that is indexed.
func clearDocs(tx *store.Tx) error {
	for _, query := range []string{`DELETE FROM search_docs`, `DELETE FROM search_names`, `DELETE FROM search_rooms`} {
		if _, err := tx.Exec(query); err != nil {
			return err
		}
	}
	return nil
}

// rebuild is how far the index has been made anew.
type rebuild struct {
	form    int64
	running bool
	at      roomserver.Passed // room and seq
	done    int64
}

func scanRebuild(r store.Row) (rebuild, error) {
	var b rebuild
	var running, room int64
	err := r.Scan(&b.form, &running, &room, &b.at.Seq, &b.done)
	b.running, b.at.Room = running != 0, roomserver.RoomNID(room)
	return b, err
}

func readRebuild(tx *store.Tx) (rebuild, error) {
	b, _, err := store.One(tx, scanRebuild, `SELECT form, running, room_nid, seq, done FROM search_rebuild WHERE name = 'index'`)
	return b, err
}

// lockRebuild keeps all others from writing the index until the transaction ends.
func lockRebuild(tx *store.Tx) (rebuild, error) {
	b, _, err := store.One(tx, scanRebuild, `
		SELECT form, running, room_nid, seq, done FROM search_rebuild WHERE name = 'index' {FOR UPDATE}`)
	return b, err
}

func writeRebuild(tx *store.Tx, b rebuild) error {
	_, err := tx.Exec(`UPDATE search_rebuild SET form = $1, running = $2, shard = $3, room_nid = $4, seq = $5, done = $6 WHERE name = 'index'`,
		b.form, b.running, b.at.Room.Shard(), int64(b.at.Room), b.at.Seq, b.done)
	return err
}

// allEvents is about how many events there are in all timelines.
func allEvents(tx *store.Tx) (int64, error) {
	n, _, err := store.One(tx, scanInt, `SELECT CAST(COALESCE(SUM(head_seq), 0) AS {INT8}) FROM rooms`)
	return n, err
}
