package attached

import (
	"context"

	"astrocyte/media"
	"astrocyte/store"
)

// DeleteOld deletes files of users of this server that nobody has asked for since a time and that are larger than a size,
// and tells which. Where profiles is set, those stay that are somebody's picture, or a room's.
func (a *Attached) DeleteOld(ctx context.Context, before, larger int64, profiles bool) ([]media.ID, int, error) {
	o := media.Old{Before: before, Larger: larger}
	if profiles {
		o.Keep = a.pictures
	}
	return a.o.Media.DeleteOld(ctx, o)
}

// pictures says whether a file is the picture of who has uploaded it, or of a member or a room by the room's state.
func (a *Attached) pictures(tx *store.Tx, f *media.File, events []int64) (bool, error) {
	if in, err := inProfile(tx, f.Uploader, f.ID); in || err != nil {
		return in, err
	}
	return a.o.Rooms.Stands(tx, events, "m.room.member", "m.room.avatar")
}
