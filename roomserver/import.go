package roomserver

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// Import is a room as another server told it when it let a user of ours in.
type Import struct {
	Room    matrix.RoomID
	Version *rules.Version
	Join    *rules.Event // of our user
	// Parts are the events of the state before the join, and all that they and the join refer to: verified, and
	// each after those that it refers to. So many are in memory as a part has.
	Parts iter.Seq2[[]Piece, error]
}

// Piece is an event of a room that is imported.
type Piece struct {
	*rules.Event
	State bool // it is of the state before the join
}

// ErrInside is given where users of this server are in the room already.
var ErrInside = errors.New("this server is in the room already")

// Import makes a room known here by the answer to a join, or brings one up to date that this server had
// left. Its events and members are kept in parts, so that other rooms go on beside it; the room begins
// with the commit of the join. Where that does not come, what was kept is seen by nobody, and the next try
// is quicker for it.
//
// Spec: SS "Joining Rooms".
func (r *Rooms) Import(ctx context.Context, j Import) error {
	if err := j.check(r.server); err != nil {
		return err
	}
	nid, err := r.begin(ctx, j.Room, j.Version)
	if err != nil {
		return err
	}
	e := newEntry(r, nid)
	if err := e.take(ctx, j.Room); err != nil {
		return fmt.Errorf("import room %s: %w", j.Room, err)
	}
	defer e.release(ctx)
	if err := e.clear(ctx); err != nil {
		return fmt.Errorf("import room %s: forget its members of before: %w", j.Room, err)
	}
	kept := 0
	for part, err := range j.Parts {
		if err == nil {
			err = e.keep(ctx, part)
		}
		if err != nil {
			return fmt.Errorf("import room %s: %w", j.Room, err)
		}
		kept += len(part)
	}
	if kept >= largeImport {
		if err := r.db.Analyze(ctx, "events", "event_json", "event_ids", "members"); err != nil {
			r.log.Warn("a large room was imported, and the database has not looked at it yet", "room", j.Room, "error", err)
		}
	}
	return e.enter(ctx, j)
}

// largeImport is how many events a room has that makes the database look at its tables anew: they may have been empty.
const largeImport = 1000

// check refuses a join that is not one of ours.
func (j *Import) check(server matrix.ServerName) error {
	user, _ := j.Join.StateKey()
	switch {
	case j.Join.RoomID() != j.Room || j.Join.Type() != "m.room.member" || j.Join.Membership() != matrix.Join:
		return matrix.BadJSON("that is not a join of the room %s", j.Room)
	case matrix.UserID(user).Server() != server:
		return matrix.BadJSON("that is not a join of a user of this server")
	}
	return nil
}

// begin makes a room known, if it is not yet. It has no state then, and nobody is in it.
func (r *Rooms) begin(ctx context.Context, id matrix.RoomID, v *rules.Version) (RoomNID, error) {
	var h Head
	var ok bool
	err := r.db.View(ctx, func(tx *store.Tx) (err error) {
		h, ok, err = r.headByID(tx, id)
		return err
	})
	if err != nil || ok {
		return h.Room, err
	}
	fresh, err := r.newNID(ctx)
	if err != nil {
		return 0, err
	}
	var nid RoomNID
	err = r.db.Update(ctx, func(tx *store.Tx) error {
		if nid, err = claimRoomID(tx, id, fresh); err != nil {
			return fmt.Errorf("claim the id of room %s: %w", id, err)
		}
		return insertHead(tx, nid, id, v)
	})
	return nid, err
}
