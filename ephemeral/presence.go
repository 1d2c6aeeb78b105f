package ephemeral

import (
	"context"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

// State is one of the states of presence.
type State string

// The states of presence.
const (
	Online      State = "online"
	Unavailable State = "unavailable"
	Offline     State = "offline"
)

const (
	maxPresences = 100_000
	maxStatus    = 1024            // bytes of a status message
	activeFor    = 5 * time.Minute // after what a user did
	// presenceGrace is how long a user is there after their last sign of life: a connection that is cut
	// and made anew, or a poll that comes late, is seen by nobody.
	presenceGrace = time.Minute
)

// Presence is how a user is at a moment.
type Presence struct {
	State  State
	Status string // empty: none
	Active bool
	Known  bool          // whether anything is known of them
	Ago    time.Duration // since they were last active
}

// SetPresence says how a user is, until one of their devices says something else.
//
// Spec: PUT /_matrix/client/v3/presence/{userId}/status
func (e *Ephemeral) SetPresence(ctx context.Context, user matrix.UserID, device matrix.DeviceID, state State, status string) error {
	if state != Online && state != Unavailable && state != Offline {
		return matrix.InvalidParam("%q is no state of presence", string(state))
	}
	if len(status) > maxStatus {
		return matrix.InvalidParam("a status message cannot be longer than %d bytes", maxStatus)
	}
	e.tellPresence(ctx, e.people.set(user, device, state, status))
	return nil
}

// Seen notes a sign of life of a user, whose device says how they are: it has to come again at least every
// twenty seconds for as long as the device is there.
//
// Spec: GET /_matrix/client/v3/sync (set_presence)
func (e *Ephemeral) Seen(ctx context.Context, user matrix.UserID, device matrix.DeviceID, state State) {
	e.tellPresence(ctx, e.people.seen(user, device, state))
}

// Acted notes that a user did something that others see.
func (e *Ephemeral) Acted(ctx context.Context, user matrix.UserID) {
	e.tellPresence(ctx, e.people.acted(user))
}

// PresenceOf tells how a user is, if viewer shares a room with them.
//
// Spec: GET /_matrix/client/v3/presence/{userId}/status
func (e *Ephemeral) PresenceOf(ctx context.Context, viewer, user matrix.UserID) (Presence, error) {
	if viewer != user {
		shared := false
		err := e.db.View(ctx, func(tx *store.Tx) (err error) {
			shared, err = e.shareRoom(tx, viewer, user)
			return err
		})
		if err != nil {
			return Presence{}, err
		}
		if !shared {
			return Presence{}, matrix.Forbidden("you share no room with %s", user)
		}
	}
	p, known := e.PresenceNow(user)
	if !known {
		return Presence{State: Offline}, nil
	}
	return p, nil
}

// shareRoom says whether two users of this server are in a room together.
func (e *Ephemeral) shareRoom(tx *store.Tx, a, b matrix.UserID) (bool, error) {
	rooms, err := e.rooms.UserRooms(tx, a)
	if err != nil {
		return false, err
	}
	others, err := e.rooms.UserRooms(tx, b)
	if err != nil {
		return false, err
	}
	joined := make(map[matrix.RoomID]bool, len(rooms))
	for _, r := range rooms {
		joined[r.ID] = r.Membership == matrix.Join
	}
	for _, r := range others {
		if r.Membership == matrix.Join && joined[r.ID] {
			return true, nil
		}
	}
	return false, nil
}
