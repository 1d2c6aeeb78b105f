package roomserver

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// claimRoomID gives the number of a room: the one that it has, or else the one that is offered.
func claimRoomID(tx *store.Tx, id matrix.RoomID, offer RoomNID) (RoomNID, error) {
	_, err := tx.Exec(`
		INSERT INTO room_ids (room_id, room_nid) VALUES ($1, $2) ON CONFLICT (room_id) DO NOTHING`, string(id), int64(offer))
	if err != nil {
		return 0, err
	}
	nid, _, err := roomNID(tx, id)
	return nid, err
}

// keepOutside writes a membership that no event of a timeline tells of.
func keepOutside(tx *store.Tx, room RoomNID, pos int64, o Outside) error {
	told := o.Stripped
	if told == nil {
		told = []byte{}
	}
	_, err := tx.Exec(`
		INSERT INTO user_rooms (ushard, user_id, room_nid, room_id, membership, sender, event_nid, seq, pos, forgotten, stripped, via, room_version)
		VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7, 0, $8, $9, $10)
		ON CONFLICT (ushard, user_id, room_nid) DO UPDATE SET membership = excluded.membership, sender = excluded.sender,
			event_nid = 0, seq = 0, pos = excluded.pos, forgotten = 0, stripped = excluded.stripped, via = excluded.via,
			room_version = excluded.room_version`,
		o.User.Shard(), string(o.User), int64(room), string(o.Room), string(o.Membership), string(o.Sender), pos, told, string(o.Via), string(o.Version))
	return err
}

// outsideRoom reads by which server a membership came that no timeline tells of, and the version of the room.
func outsideRoom(tx *store.Tx, user matrix.UserID, room RoomNID) (via matrix.ServerName, version matrix.RoomVersion, err error) {
	_, _, err = store.One(tx, func(r store.Row) (struct{}, error) { return struct{}{}, r.Scan(&via, &version) }, `
		SELECT via, room_version FROM user_rooms
		WHERE ushard = $1 AND user_id = $2 AND room_nid = $3`, user.Shard(), string(user), int64(room))
	return via, version, err
}
