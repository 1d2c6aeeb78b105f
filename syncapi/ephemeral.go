package syncapi

import "astrocyte/matrix"

// readEphemeral reads receipts and typing that are new, by room.
func (r *reading) readEphemeral(rooms []joinedRoom) (map[matrix.RoomID][]ephemeralEvent, error) {
	return nil, nil
}
