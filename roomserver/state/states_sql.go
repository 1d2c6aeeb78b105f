package state

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

var errNoSnapshot = errors.New("there is no such state snapshot")

func readLayer(tx *store.Tx, nid int64) (*layer, error) {
	l, ok, err := store.One(tx, func(r store.Row) (*layer, error) {
		l := &layer{nid: nid}
		var delta []byte
		var level int64
		if err := r.Scan(&l.anchor, &level, &delta); err != nil {
			return nil, err
		}
		var err error
		l.level = int(level)
		l.delta, err = decode(nid&0xff, delta)
		return l, err
	}, `SELECT anchor, level, delta FROM state_snapshots WHERE shard = $1 AND snap_nid = $2`, nid&0xff, nid)
	if err == nil && !ok {
		err = errNoSnapshot
	}
	return l, err
}

// Insert stores the newest snapshots of states that Next made, in the room whose nid stands beside each.
func Insert(tx *store.Tx, made []Made) error {
	rows := make([][]any, len(made))
	for i, m := range made {
		l := m.State.layers[0]
		rows[i] = []any{l.nid & 0xff, l.nid, m.Room, l.anchor, int64(l.level), encode(l.delta)}
	}
	_, err := tx.Bulk(store.Bulk{
		Table:   "state_snapshots",
		Columns: []string{"shard", "snap_nid", "room_nid", "anchor", "level", "delta"},
		Rows:    rows,
	})
	if err != nil {
		return fmt.Errorf("store %d state snapshots: %w", len(made), err)
	}
	return nil
}

// Made is a state that Next made in a room.
type Made struct {
	Room  int64
	State *State
}

func readTuple(tx *store.Tx, key rules.StateKey) (int64, bool, error) {
	return store.One(tx, scanInt, `
		SELECT tuple_nid FROM tuples WHERE type = $1 AND state_key = $2`, asText(key.Type), asText(key.Key))
}

// insertTuple gives the nid under which the key is known, which another node may have given before.
func insertTuple(tx *store.Tx, key rules.StateKey, nid int64) (int64, error) {
	_, err := tx.Exec(`
		INSERT INTO tuples (type, state_key, tuple_nid) VALUES ($1, $2, $3)
		ON CONFLICT (type, state_key) DO NOTHING`, asText(key.Type), asText(key.Key), nid)
	if err != nil {
		return 0, err
	}
	nid, _, err = readTuple(tx, key)
	return nid, err
}

// readTuples notes the tuples of a type, and gives those of the keys that are not known.
func readTuples(tx *store.Tx, tp string, keys []string, out map[rules.StateKey]int64) (left []string, err error) {
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = asText(key)
	}
	err = store.Each(tx, func(r store.Row) error {
		var key string
		var tuple int64
		err := r.Scan(&key, &tuple)
		out[rules.StateKey{Type: tp, Key: ofText(key)}] = tuple
		return err
	}, `SELECT state_key, tuple_nid FROM tuples WHERE type = $1 AND state_key {IN $2 TEXT}`, asText(tp), store.List(texts))
	for _, key := range keys {
		if out[rules.StateKey{Type: tp, Key: key}] == 0 {
			left = append(left, key)
		}
	}
	return left, err
}

// insertTuples gives nids to keys of a type, and tells how many of them had none.
func insertTuples(tx *store.Tx, tp string, keys []string, nids []int64) (int64, error) {
	rows := make([][]any, len(keys))
	for i, key := range keys {
		rows[i] = []any{asText(tp), asText(key), nids[i]}
	}
	return tx.Bulk(store.Bulk{
		Table: "tuples", Columns: []string{"type", "state_key", "tuple_nid"}, Rows: rows,
		OnConflict: "ON CONFLICT (type, state_key) DO NOTHING",
	})
}

func readKeys(tx *store.Tx, tuples []int64) (map[int64]rules.StateKey, error) {
	out := make(map[int64]rules.StateKey, len(tuples))
	err := store.Each(tx, func(r store.Row) error {
		var t int64
		var key rules.StateKey
		if err := r.Scan(&t, &key.Type, &key.Key); err != nil {
			return err
		}
		out[t] = rules.StateKey{Type: ofText(key.Type), Key: ofText(key.Key)}
		return nil
	}, `SELECT tuple_nid, type, state_key FROM tuples WHERE tuple_nid {IN $1 INT8}`, store.List(tuples))
	return out, err
}

func scanInt(r store.Row) (n int64, err error) { return n, r.Scan(&n) }

// Purge removes the snapshots of a room of which nothing else is left.
func Purge(tx *store.Tx, shard, room int64) error {
	_, err := tx.Exec(`DELETE FROM state_snapshots WHERE shard = $1 AND room_nid = $2`, shard, room)
	return err
}

// escaped begins a text that stands for another one, in hexadecimal digits.
const escaped = "\x01"

// asText makes of a type or state key what every database takes as text: without the character 0.
func asText(s string) string {
	if strings.IndexByte(s, 0) < 0 && !strings.HasPrefix(s, escaped) {
		return s
	}
	return escaped + hex.EncodeToString([]byte(s))
}

// ofText undoes asText.
func ofText(s string) string {
	digits, is := strings.CutPrefix(s, escaped)
	if !is {
		return s
	}
	text, err := hex.DecodeString(digits)
	if err != nil {
		return s
	}
	return string(text)
}
