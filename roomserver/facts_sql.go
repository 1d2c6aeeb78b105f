package roomserver

import "astrocyte/store"

// eachListing reads rows of rooms as lists need them.
func eachListing(tx *store.Tx, rooms []RoomNID, fn func(Listing)) error {
	if len(rooms) == 0 {
		return nil
	}
	nids := make([]int64, len(rooms))
	for i, n := range rooms {
		nids[i] = int64(n)
	}
	where, args := named("", "room_nid", nids)
	return store.Each(tx, func(row store.Row) error {
		var l Listing
		var encrypted int64
		if err := row.Scan(&l.Room, &l.Pos, &l.Bump, &l.Kind, &encrypted, &l.snap); err != nil {
			return err
		}
		l.Encrypted, l.known = encrypted == 1, encrypted >= 0
		fn(l)
		return nil
	}, `SELECT room_nid, head_pos, bump_pos, kind, encrypted, snap FROM rooms WHERE `+where, args...)
}
