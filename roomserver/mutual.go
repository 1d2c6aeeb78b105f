package roomserver

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Mutual are the rooms that two users share, or a part of them.
type Mutual struct {
	Rooms []matrix.RoomID
	Count int    // of all
	Next  string // token; empty: nothing more
}

// MutualRooms finds the rooms that a user of ours shares with another user, by parts of limit rooms.
//
// Spec: GET /_matrix/client/v1/mutual_rooms
func (r *Rooms) MutualRooms(ctx context.Context, user, other matrix.UserID, from string, limit int) (*Mutual, error) {
	var after int64
	if from != "" {
		number, ok := strings.CutPrefix(from, "m")
		n, err := strconv.ParseInt(number, 10, 64)
		if !ok || err != nil {
			return nil, matrix.InvalidParam("from is not a token of this endpoint")
		}
		after = n
	}
	out := &Mutual{Rooms: []matrix.RoomID{}}
	err := r.db.View(ctx, func(tx *store.Tx) error {
		*out = Mutual{Rooms: out.Rooms[:0]}
		mine, err := r.UserRooms(tx, user)
		if err != nil {
			return fmt.Errorf("list the rooms of %s: %w", user, err)
		}
		var nids []RoomNID
		ids := make(map[int64]matrix.RoomID, len(mine))
		for _, ur := range mine {
			if ur.Membership == matrix.Join {
				nids = append(nids, ur.Room)
				ids[int64(ur.Room)] = ur.ID
			}
		}
		shared, err := roomsWith(tx, nids, other)
		if err != nil {
			return fmt.Errorf("find the rooms that %s and %s share: %w", user, other, err)
		}
		out.Count = len(shared)
		for _, nid := range shared {
			if nid <= after {
				continue
			}
			if len(out.Rooms) == limit {
				out.Next = "m" + strconv.FormatInt(after, 10)
				break
			}
			out.Rooms = append(out.Rooms, ids[nid])
			after = nid
		}
		return nil
	})
	return out, err
}
