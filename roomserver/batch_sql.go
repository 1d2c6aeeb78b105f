package roomserver

import (
	"slices"

	"astrocyte/matrix"
	"astrocyte/store"
)

// headRow is a row of rooms.
type headRow struct {
	nid             RoomNID
	id              matrix.RoomID
	version         string
	seq, pos, depth int64
	extremities     []byte
	snap            int64
	joined, invited int64
	kind            string
	encrypted       int64
}

const headColumns = `room_nid, room_id, version, head_seq, head_pos, depth, extremities, snap, joined, invited, kind, encrypted`

func scanHead(r store.Row) (headRow, error) {
	var h headRow
	err := r.Scan(&h.nid, &h.id, &h.version, &h.seq, &h.pos, &h.depth, &h.extremities, &h.snap, &h.joined, &h.invited, &h.kind, &h.encrypted)
	return h, err
}

// readHeads reads the rows of rooms, in the order of their nids, and locks them if they are to be
// written.
func readHeads(tx *store.Tx, nids []int64, lock bool) ([]headRow, error) {
	if len(nids) == 0 {
		return nil, nil
	}
	where, args := named("", "room_nid", nids)
	query := `SELECT ` + headColumns + ` FROM rooms WHERE ` + where + ` ORDER BY room_nid`
	if lock {
		query += ` {FOR UPDATE}`
	}
	return store.Select(tx, scanHead, query, args...)
}

// named is the condition that a row is one of those with the nids, and its arguments. A single row, which
// is what is mostly asked for, is named by its key: that is several times quicker than a list of one.
func named(table, column string, nids []int64) (where string, args []any) {
	if len(nids) == 1 {
		return table + `shard = $1 AND ` + table + column + ` = $2`, []any{nids[0] & 0xff, nids[0]}
	}
	return `(` + table + `shard, ` + table + column + `) IN {NIDS $1}`, []any{store.List(nids)}
}

func roomNID(tx *store.Tx, id matrix.RoomID) (RoomNID, bool, error) {
	return store.One(tx, func(r store.Row) (nid RoomNID, err error) { return nid, r.Scan(&nid) },
		`SELECT room_nid FROM room_ids WHERE room_id = $1`, string(id))
}

// insertRoomID claims the id of a new room.
func insertRoomID(tx *store.Tx, h *head) error {
	_, err := tx.Exec(`INSERT INTO room_ids (room_id, room_nid) VALUES ($1, $2)`, string(h.id), int64(h.nid))
	return err
}

// insertEvents stores the events of the batch. Some were known before by their id, or as outliers.
func (b *batch) insertEvents() error {
	claimed := make([][]any, 0, len(b.staged)+len(b.names))
	var mentioned [][]any
	for _, n := range b.names {
		row := []any{string(n.id), n.nid, int64(n.room)}
		if n.claimed {
			claimed = append(claimed, row)
		} else {
			mentioned = append(mentioned, row)
		}
	}
	events := make([][]any, 0, len(b.staged)+len(b.kept))
	bytes := make([][]any, 0, len(b.staged)+len(b.kept))
	add := func(e *Event, seq int64, why string) {
		shard := e.Room.Shard()
		events = append(events, []any{
			shard, e.NID, int64(e.Room), string(e.ID()), e.Status, e.Tuple, e.SnapBefore, e.SnapAfter, e.Rank,
			encodeNIDs(e.PrevNIDs), encodeNIDs(e.AuthNIDs), int64(0), seq, string(e.TxnDevice), e.TxnID, why,
		})
		bytes = append(bytes, []any{shard, e.NID, int64(0), e.Bytes()})
	}
	for _, s := range b.staged {
		if s.draft != nil && !s.named {
			claimed = append(claimed, []any{string(s.ID()), s.NID, int64(s.Room)})
		}
		add(s.Event, s.seq, "")
	}
	for _, s := range b.past {
		add(s.Event, s.seq, "")
	}
	for _, k := range b.kept {
		add(k.Event, 0, k.why)
	}
	return bulk(b.tx,
		store.Bulk{
			Table: "event_ids", Columns: []string{"event_id", "event_nid", "room_nid"}, Rows: claimed,
			// Who only mentions an id in another room has no claim to it.
			OnConflict: `ON CONFLICT (event_id) DO UPDATE SET event_nid = excluded.event_nid, room_nid = excluded.room_nid`,
		},
		store.Bulk{
			Table: "event_ids", Columns: []string{"event_id", "event_nid", "room_nid"}, Rows: mentioned,
			OnConflict: `ON CONFLICT (event_id) DO NOTHING`,
		},
		store.Bulk{
			Table: "events",
			Columns: []string{
				"shard", "event_nid", "room_nid", "event_id", "status", "tuple_nid", "snap_before", "snap_after", "auth_rank",
				"prev", "auth", "redacted_by", "seq", "txn_device", "txn_id", "why",
			},
			Rows: events,
			OnConflict: `ON CONFLICT (shard, event_nid) DO UPDATE SET status = excluded.status, snap_before = excluded.snap_before,
				snap_after = excluded.snap_after, auth_rank = excluded.auth_rank, prev = excluded.prev, auth = excluded.auth,
				seq = excluded.seq, why = excluded.why`,
		},
		store.Bulk{
			Table: "event_json", Columns: []string{"shard", "event_nid", "codec", "json"}, Rows: bytes,
			OnConflict: `ON CONFLICT (shard, event_nid) DO UPDATE SET codec = excluded.codec, json = excluded.json`,
		},
	)
}

func bulk(tx *store.Tx, inserts ...store.Bulk) error {
	for _, in := range inserts {
		if len(in.Rows) == 0 {
			continue
		}
		if _, err := tx.Bulk(in); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) insertTimeline() error {
	rows := make([][]any, 0, len(b.staged)+len(b.past))
	for _, s := range slices.Concat(b.staged, b.past) {
		rows = append(rows, []any{s.Room.Shard(), int64(s.Room), s.seq, s.pos, s.NID, s.snap})
	}
	return bulk(b.tx, store.Bulk{
		Table: "timeline", Columns: []string{"shard", "room_nid", "seq", "pos", "event_nid", "snap"}, Rows: rows,
	})
}

func (b *batch) writeHeads() error {
	var rows [][]any
	newest := make(map[RoomNID]int64, len(b.rooms))
	bumps := make(map[RoomNID]int64, len(b.rooms))
	for _, s := range b.staged {
		newest[s.Room] = s.pos
		if bumpsRoom(s.Type()) {
			bumps[s.Room] = s.pos
		}
	}
	for _, h := range b.rooms {
		if !h.dirty {
			continue
		}
		f, err := b.factsOf(h)
		if err != nil {
			return err
		}
		rows = append(rows, []any{
			h.nid.Shard(), int64(h.nid), string(h.id), string(h.version.ID), h.seq, newest[h.nid], h.depth,
			encodeNIDs(h.extremities), h.state.NID(), h.joined, h.invited, f.kind, f.encrypted, bumps[h.nid],
		})
	}
	return bulk(b.tx, store.Bulk{
		Table: "rooms",
		Columns: []string{
			"shard", "room_nid", "room_id", "version", "head_seq", "head_pos", "depth", "extremities", "snap",
			"joined", "invited", "kind", "encrypted", "bump_pos",
		},
		Rows: rows,
		OnConflict: `ON CONFLICT (shard, room_nid) DO UPDATE SET head_seq = excluded.head_seq, head_pos = excluded.head_pos,
			depth = excluded.depth, extremities = excluded.extremities, snap = excluded.snap,
			joined = excluded.joined, invited = excluded.invited, kind = excluded.kind, encrypted = excluded.encrypted,
			bump_pos = CASE WHEN excluded.bump_pos = 0 THEN rooms.bump_pos ELSE excluded.bump_pos END`,
	})
}

func (b *batch) writeMembers() error {
	var all, own [][]any
	for _, m := range b.memberRows() {
		shard, room := m.room.Shard(), int64(m.room)
		all = append(all, []any{shard, room, string(m.user), string(m.is), m.event.NID, m.began})
		if !b.r.ours(m.user) {
			continue
		}
		told := m.told
		if told == nil {
			told = []byte{}
		}
		seq, err := b.seqOf(m)
		if err != nil {
			return err
		}
		own = append(own, []any{
			m.user.Shard(), string(m.user), room, string(b.rooms[m.room].id), string(m.is), string(m.event.Sender()),
			m.event.NID, seq, m.began, int64(0), told,
		})
	}
	err := bulk(b.tx,
		store.Bulk{
			Table:   "members",
			Columns: []string{"shard", "room_nid", "user_id", "membership", "event_nid", "pos"},
			Rows:    all,
			OnConflict: `ON CONFLICT (shard, room_nid, user_id) DO UPDATE SET membership = excluded.membership, event_nid = excluded.event_nid,
				pos = CASE WHEN excluded.pos = 0 THEN members.pos ELSE excluded.pos END`,
		},
		store.Bulk{
			Table: "user_rooms",
			Columns: []string{
				"ushard", "user_id", "room_nid", "room_id", "membership", "sender", "event_nid", "seq", "pos",
				"forgotten", "stripped",
			},
			Rows: own,
			OnConflict: `ON CONFLICT (ushard, user_id, room_nid) DO UPDATE SET membership = excluded.membership, sender = excluded.sender,
				event_nid = excluded.event_nid, seq = excluded.seq, stripped = excluded.stripped,
				forgotten = CASE WHEN excluded.pos = 0 THEN user_rooms.forgotten ELSE 0 END,
				pos = CASE WHEN excluded.pos = 0 THEN user_rooms.pos ELSE excluded.pos END`,
		},
	)
	if err != nil {
		return err
	}
	return writeServers(b.tx, b.serverChanges())
}

// seqOf finds where a member event stands in the timeline; 0: it is not there.
func (b *batch) seqOf(m *moved) (int64, error) {
	if m.event == m.by.Event {
		return m.by.seq, nil
	}
	for _, s := range b.staged {
		if s.Event == m.event {
			return s.seq, nil
		}
	}
	it, _, err := itemOf(b.tx, m.event.NID)
	return it.Seq, err
}

type serverKey struct {
	room   RoomNID
	server matrix.ServerName
}

// answered finds the event that a repeated request was answered with.
func answered(tx *store.Tx, k txnKey) (matrix.EventID, bool, error) {
	return store.One(tx, func(r store.Row) (id matrix.EventID, err error) { return id, r.Scan(&id) }, `
		SELECT event_id FROM client_txns
		WHERE ushard = $1 AND user_id = $2 AND device_id = $3 AND scope = $4 AND txn_id = $5`,
		k.user.Shard(), string(k.user), string(k.device), k.scope, k.id)
}

func (b *batch) insertTxns() error {
	var rows [][]any
	now := b.r.now().UnixMilli()
	for k, s := range b.txns {
		rows = append(rows, []any{
			k.user.Shard(), string(k.user), string(k.device), k.scope, k.id, string(s.ID()), now,
		})
	}
	return bulk(b.tx, store.Bulk{
		Table:   "client_txns",
		Columns: []string{"ushard", "user_id", "device_id", "scope", "txn_id", "event_id", "ts"},
		Rows:    rows,
	})
}
