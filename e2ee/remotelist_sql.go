package e2ee

import (
	"strings"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// readFollowed reads which users are in a room that a user of this server is in too.
func readFollowed(tx *store.Tx, users []matrix.UserID, server matrix.ServerName) (map[matrix.UserID]bool, error) {
	sharing := make(map[matrix.UserID]bool)
	err := store.Each(tx, func(r store.Row) error {
		u, err := scanUser(r)
		sharing[u] = true
		return err
	}, `
		SELECT DISTINCT m.user_id FROM members m
		JOIN room_servers s ON s.shard = m.shard AND s.room_nid = m.room_nid AND s.server = $2 AND s.joined > 0
		WHERE m.user_id {IN $1 TEXT} AND m.membership = 'join'`, store.List(users), string(server))
	return sharing, err
}

// readRemoteLists reads the lists of users that are kept, devices in the order of their ids.
func readRemoteLists(tx *store.Tx, users []matrix.UserID) (map[matrix.UserID]*remoteList, error) {
	lists := make(map[matrix.UserID]*remoteList, len(users))
	err := store.Each(tx, func(r store.Row) error {
		var user string
		l := new(remoteList)
		err := r.Scan(&user, &l.streamID, &l.asked, &l.done, &l.master, &l.selfSigning)
		lists[matrix.UserID(user)] = l
		return err
	}, `
		SELECT user_id, stream_id, asked, done, master, self_signing FROM remote_lists
		WHERE (ushard, user_id) IN {KEYED $1}`, store.Keyed(users))
	if err != nil {
		return nil, err
	}
	return lists, store.Each(tx, func(r store.Row) error {
		var user, id string
		var d storedDevice
		err := r.Scan(&user, &id, &d.name, &d.object)
		if d.id = matrix.DeviceID(id); lists[matrix.UserID(user)] != nil {
			lists[matrix.UserID(user)].devices = append(lists[matrix.UserID(user)].devices, d)
		}
		return err
	}, `
		SELECT user_id, device_id, name, keys FROM remote_devices
		WHERE (ushard, user_id) IN {KEYED $1} ORDER BY user_id, device_id`, store.Keyed(users))
}

// readRemoteList reads the list of a user.
func readRemoteList(tx *store.Tx, user matrix.UserID) (*remoteList, bool, error) {
	lists, err := readRemoteLists(tx, []matrix.UserID{user})
	l, found := lists[user]
	return l, found && err == nil, err
}

// noteAsked notes that a list has to be read anew, and begins it where it is not kept yet.
func noteAsked(tx *store.Tx, user matrix.UserID) error {
	_, err := tx.Exec(`
		INSERT INTO remote_lists (ushard, user_id, stream_id, asked, done, master, self_signing) VALUES ($1, $2, 0, 1, 0, $3, $3)
		ON CONFLICT (ushard, user_id) DO UPDATE SET asked = remote_lists.asked + 1`, user.Shard(), string(user), []byte{})
	return err
}

// writeRemoteList writes all of a list but asked.
func writeRemoteList(tx *store.Tx, user matrix.UserID, l *remoteList) error {
	_, err := tx.Exec(`
		UPDATE remote_lists SET stream_id = $3, done = $4, master = $5, self_signing = $6
		WHERE ushard = $1 AND user_id = $2`, user.Shard(), string(user), l.streamID, l.done, notNil(l.master), notNil(l.selfSigning))
	return err
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func writeRemoteDevices(tx *store.Tx, user matrix.UserID, devices []storedDevice) error {
	b := store.Bulk{
		Table: "remote_devices", Columns: []string{"ushard", "user_id", "device_id", "name", "keys"},
		OnConflict: `ON CONFLICT (ushard, user_id, device_id) DO UPDATE SET name = excluded.name, keys = excluded.keys`,
	}
	for _, d := range devices {
		b.Rows = append(b.Rows, []any{user.Shard(), string(user), string(d.id), d.name, d.object})
	}
	_, err := tx.Bulk(b)
	return err
}

func deleteRemoteDevice(tx *store.Tx, user matrix.UserID, device matrix.DeviceID) error {
	_, err := tx.Exec(`DELETE FROM remote_devices WHERE ushard = $1 AND user_id = $2 AND device_id = $3`,
		user.Shard(), string(user), string(device))
	return err
}

func deleteRemoteDevices(tx *store.Tx, user matrix.UserID) error {
	_, err := tx.Exec(`DELETE FROM remote_devices WHERE ushard = $1 AND user_id = $2`, user.Shard(), string(user))
	return err
}

// deleteRemoteList forgets the list of a user.
func deleteRemoteList(tx *store.Tx, user matrix.UserID) error {
	if err := deleteRemoteDevices(tx, user); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM remote_lists WHERE ushard = $1 AND user_id = $2`, user.Shard(), string(user))
	return err
}

// lockRemoteList keeps others from changing a list until the commit; false: it is not kept.
func lockRemoteList(tx *store.Tx, user matrix.UserID) (bool, error) {
	_, found, err := store.One(tx, scanText, `
		SELECT user_id FROM remote_lists
		WHERE ushard = $1 AND user_id = $2 {FOR UPDATE}`, user.Shard(), string(user))
	return found, err
}

// readKeptOf reads whose lists are kept among some users.
func readKeptOf(tx *store.Tx, users []matrix.UserID) ([]matrix.UserID, error) {
	return store.Select(tx, scanUser, `SELECT user_id FROM remote_lists WHERE (ushard, user_id) IN {KEYED $1}`, store.Keyed(users))
}

// joinedRoom is a room that a user is in, since a position.
type joinedRoom struct {
	room roomserver.RoomNID
	pos  int64
}

// roomsOfAny reads the rooms that a user of any server is in, as far as this server knows.
func roomsOfAny(tx *store.Tx, user matrix.UserID) ([]joinedRoom, error) {
	return store.Select(tx, func(r store.Row) (j joinedRoom, err error) {
		return j, r.Scan(&j.room, &j.pos)
	}, `SELECT room_nid, pos FROM members WHERE user_id = $1 AND membership = 'join'`, string(user))
}

// hasOurs says whether a user of this server is in a room, since a position or before.
func hasOurs(tx *store.Tx, room roomserver.RoomNID, server matrix.ServerName, upto int64) (bool, error) {
	_, found, err := store.One(tx, scanText, `
		SELECT user_id FROM members
		WHERE shard = $1 AND room_nid = $2 AND membership = 'join' AND pos <= $3 AND user_id LIKE $4 ESCAPE '\' LIMIT 1`,
		room.Shard(), int64(room), upto, "%:"+strings.ReplaceAll(string(server), "_", `\_`))
	return found, err
}
