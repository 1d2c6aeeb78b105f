package roomserver

import (
	"context"
	"errors"
	"fmt"

	"astrocyte/matrix"
)

const (
	// extremitiesMost is how many extremities a room may have before an event of ours brings them together.
	extremitiesMost = 10
	// prevMost is how many of them one event can follow.
	prevMost = 20
)

// dummyType is the type of an event that does nothing but bring extremities together. Clients are not shown it.
const dummyType = "org.matrix.dummy_event"

// merge brings the extremities of a room together by an event of a user of ours, if one may send it.
func (r *Rooms) merge(ctx context.Context, room RoomNID) error {
	err := r.commit(ctx, []RoomNID{room}, func(b *batch) error {
		h, err := b.room(room)
		if err != nil || len(h.extremities) <= extremitiesMost {
			return err
		}
		levels, err := b.levels(h)
		if err != nil {
			return err
		}
		may := func(u matrix.UserID) bool { return levels.MaySend(u, dummyType, false) }
		sender, ok, err := localInviter(b.tx, h.nid, b.r.server, may)
		if err != nil || !ok {
			return err
		}
		_, err = b.append(h, &Draft{Room: h.id, Sender: sender, Type: dummyType, Content: []byte(`{}`)})
		return err
	})
	var refused *matrix.Error
	if errors.As(err, &refused) {
		return nil // nobody may: others will bring them together
	}
	if err != nil {
		return fmt.Errorf("bring the extremities of room %d together: %w", room, err)
	}
	return nil
}
