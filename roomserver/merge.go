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

// merge brings the extremities of a room together by an event of a user of ours, if one may send it. Where nobody
// may be asked, not in a room whose policy server would have to sign it.
func (r *Rooms) merge(ctx context.Context, room RoomNID, hasty bool) error {
	send := r.post
	if hasty {
		send = r.postAtHand
	}
	_, err := r.mergeOver(ctx, room, extremitiesMost, send)
	var refused *matrix.Error
	var lacking *Unrecommended
	if errors.As(err, &refused) || errors.As(err, &lacking) {
		return nil // nobody may: others will bring them together
	}
	if err != nil {
		return fmt.Errorf("bring the extremities of room %d together: %w", room, err)
	}
	return nil
}
