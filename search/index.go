package search

import (
	"hash/fnv"
	"strconv"

	"astrocyte/roomserver"
	"astrocyte/store"
)

// index keeps the terms of documents. Each engine has a full-text index of its own, which is given the
// same terms: so both find the same.
type index interface {
	// put adds documents that are not there.
	put(tx *store.Tx, docs []doc) error
	// drop removes documents.
	drop(tx *store.Tx, ids []int64) error
	// clear removes all.
	clear(tx *store.Tx) error
	// events finds documents that are events, newest first.
	events(tx *store.Tx, q wanted) ([]found, error)
	// names finds documents that are names of users, by their ids.
	names(tx *store.Tx, q wanted) ([]int64, error)
}

// The tables of the two indexes: names are few, and looked for while people type.
const (
	eventTable = "search_terms"
	nameTable  = "search_name_terms"
)

func newIndex(engine, table string) index {
	if engine == "sqlite" {
		return sqliteIndex{table}
	}
	return postgresIndex{table}
}

// doc is what an index has of an event or a name: an id and terms.
type doc struct {
	id    int64
	terms []string
}

// found is an event that an index found.
type found struct {
	doc  int64
	room roomserver.RoomNID
	nid  int64
}

// wanted is what a document must have.
type wanted struct {
	terms    []string // all of them
	prefixes []string // a term that begins so, for each
	any      [][]string
	rooms    []int64 // events only
	before   int64   // events: only documents with a lower id
	after    int64   // names: only documents with a higher id
	limit    int
}

// mark is the first character of terms that are no text. Texts have none of them: they are private use.
type mark rune

const (
	markRoom   mark = 0xE000
	markSender mark = 0xE001
	markKind   mark = 0xE002
)

func (m mark) number(n uint64) string { return string(rune(m)) + strconv.FormatUint(n, 36) }

func roomTerm(room roomserver.RoomNID) string { return markRoom.number(uint64(room)) }

// senderTerm may be the same for two users: who searches by it looks at the event.
func senderTerm(user string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(user)) // never fails
	return markSender.number(h.Sum64())
}

// kind is which member of an event a document has the text of.
type kind uint64

const (
	kindBody kind = 1 + iota
	kindName
	kindTopic
)

func (k kind) term() string { return markKind.number(uint64(k)) }

// ask adds what a text must have that is searched for.
func (w *wanted) ask(m *matcher) {
	for _, r := range m.runs {
		r.wants(
			func(t string) { w.terms = append(w.terms, t) },
			func(t string) { w.prefixes = append(w.prefixes, t) }, m.loose,
		)
	}
}
