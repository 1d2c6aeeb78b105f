package search

import (
	"strings"

	"astrocyte/roomserver"
	"astrocyte/store"
)

// sqliteIndex is an FTS5 table without texts and positions, whose rowid is the document's id. Its
// tokenizer cuts at spaces alone, since terms consist of letters, digits and characters beyond ASCII.
type sqliteIndex struct{ table string }

func (x sqliteIndex) put(tx *store.Tx, docs []doc) error {
	for _, d := range docs {
		if _, err := tx.Exec(`INSERT INTO `+x.table+` (rowid, terms) VALUES ($1, $2)`, d.id, strings.Join(d.terms, " ")); err != nil {
			return err
		}
	}
	return nil
}

func (x sqliteIndex) drop(tx *store.Tx, ids []int64) error {
	for _, id := range ids {
		if _, err := tx.Exec(`DELETE FROM `+x.table+` WHERE rowid = $1`, id); err != nil {
			return err
		}
	}
	return nil
}

func (x sqliteIndex) clear(tx *store.Tx) error {
	_, err := tx.Exec(`INSERT INTO ` + x.table + ` (` + x.table + `) VALUES ('delete-all')`)
	return err
}

func (x sqliteIndex) events(tx *store.Tx, q wanted) ([]found, error) {
	return store.Select(tx, scanFound, `
		SELECT d.doc_id, d.room_nid, d.event_nid
		FROM `+x.table+` t
		CROSS JOIN search_docs d ON d.doc_id = t.rowid
		WHERE t.`+x.table+` MATCH $1 AND t.rowid < $2 AND d.room_nid {IN $3 INT8}
		ORDER BY t.rowid DESC LIMIT $4`, q.fts5(), q.before, store.List(q.rooms), q.limit)
}

func (x sqliteIndex) names(tx *store.Tx, q wanted) ([]int64, error) {
	return store.Select(tx, scanDoc, `
		SELECT rowid FROM `+x.table+` WHERE `+x.table+` MATCH $1 AND rowid > $2 ORDER BY rowid LIMIT $3`,
		q.fts5(), q.after, q.limit)
}

// fts5 writes what is wanted as FTS5 has it. Terms have no quotes in them.
func (q *wanted) fts5() string {
	var parts []string
	for _, t := range q.terms {
		parts = append(parts, `"`+t+`"`)
	}
	for _, t := range q.prefixes {
		parts = append(parts, `"`+t+`"*`)
	}
	for _, any := range q.any {
		parts = append(parts, `("`+strings.Join(any, `" OR "`)+`")`)
	}
	return strings.Join(parts, " AND ")
}

func scanFound(r store.Row) (found, error) {
	var f found
	var room int64
	err := r.Scan(&f.doc, &room, &f.nid)
	f.room = roomserver.RoomNID(room)
	return f, err
}

func scanDoc(r store.Row) (id int64, err error) { return id, r.Scan(&id) }
