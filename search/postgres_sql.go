package search

import (
	"strings"

	"astrocyte/store"
)

// postgresIndex is a table of tsvectors without positions, under a GIN index. The terms are given as they
// are: none of PostgreSQL's dictionaries touches them.
type postgresIndex struct{ table string }

func (x postgresIndex) put(tx *store.Tx, docs []doc) error {
	ids, terms := make([]int64, len(docs)), make([]string, len(docs))
	for i, d := range docs {
		ids[i], terms[i] = d.id, strings.Join(d.terms, " ")
	}
	_, err := tx.Exec(`
		INSERT INTO `+x.table+` (doc_id, terms)
		SELECT u.id, CAST(u.terms AS TSVECTOR)
		FROM unnest(CAST($1 AS INT8[]), CAST($2 AS TEXT[])) AS u (id, terms)`, store.List(ids), store.List(terms))
	return err
}

func (x postgresIndex) drop(tx *store.Tx, ids []int64) error {
	_, err := tx.Exec(`DELETE FROM `+x.table+` WHERE doc_id {IN $1 INT8}`, store.List(ids))
	return err
}

func (x postgresIndex) clear(tx *store.Tx) error {
	_, err := tx.Exec(`DELETE FROM ` + x.table)
	return err
}

func (x postgresIndex) events(tx *store.Tx, q wanted) ([]found, error) {
	return store.Select(tx, scanFound, `
		SELECT d.doc_id, d.room_nid, d.event_nid
		FROM `+x.table+` t
		JOIN search_docs d ON d.doc_id = t.doc_id
		WHERE t.terms @@ CAST(CAST($1 AS TEXT) AS TSQUERY) AND t.doc_id < $2 AND d.room_nid {IN $3 INT8}
		ORDER BY t.doc_id DESC LIMIT $4`, q.tsquery(), q.before, store.List(q.rooms), q.limit)
}

func (x postgresIndex) names(tx *store.Tx, q wanted) ([]int64, error) {
	return store.Select(tx, scanDoc, `
		SELECT doc_id FROM `+x.table+`
		WHERE terms @@ CAST(CAST($1 AS TEXT) AS TSQUERY) AND doc_id > $2 ORDER BY doc_id LIMIT $3`, q.tsquery(), q.after, q.limit)
}

// tsquery writes what is wanted as PostgreSQL has it. Terms have no quotes in them.
func (q *wanted) tsquery() string {
	var parts []string
	for _, t := range q.terms {
		parts = append(parts, `'`+t+`'`)
	}
	for _, t := range q.prefixes {
		parts = append(parts, `'`+t+`':*`)
	}
	for _, any := range q.any {
		parts = append(parts, `('`+strings.Join(any, `' | '`)+`')`)
	}
	return strings.Join(parts, " & ")
}
