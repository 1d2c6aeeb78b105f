package roomserver

import (
	"context"
	"errors"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// Import is a room as another server told it when it let a user of ours in. All events were verified.
type Import struct {
	Room    matrix.RoomID
	Version *rules.Version
	Join    *rules.Event // of our user
	// State is the state before the join, AuthChain all that it and the join refer to.
	State, AuthChain []*rules.Event
	Servers          []matrix.ServerName // that were told to be in the room
}

// Import makes a room known here by the answer to a join, or brings one up to date that this server had
// left. Its events are kept in parts, so that other rooms go on beside it, and what was kept stays when it
// ends half-way; the room begins with the commit of the join. Where users of ours are in the room already,
// the state is resolved with ours like that of any event.
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
	events := make([]*rules.Event, 0, len(j.AuthChain)+len(j.State))
	events = append(append(events, j.AuthChain...), j.State...)
	if err := r.keepOutliers(ctx, nid, j.Room, events); err != nil {
		return fmt.Errorf("import room %s: %w", j.Room, err)
	}
	c := &reception{r: r, ev: j.Join, room: nid, told: make([]matrix.EventID, 0, len(j.State)), gap: true, entering: true}
	for _, e := range j.State {
		c.told = append(c.told, e.ID())
	}
	status, err := r.receive(ctx, c)
	var gap *Gap
	if errors.As(err, &gap) {
		return matrix.Forbidden("the answer to the join of %s lacks auth events", j.Room)
	}
	if err == nil && status != Accepted {
		err = matrix.Forbidden("the rules of the room %s do not allow the join, %s", j.Room, c.why)
	}
	return err
}

// check refuses an answer that is not about the room.
func (j *Import) check(server matrix.ServerName) error {
	user, _ := j.Join.StateKey()
	switch {
	case j.Join.RoomID() != j.Room || j.Join.Type() != "m.room.member" || j.Join.Membership() != matrix.Join:
		return matrix.BadJSON("that is not a join of the room %s", j.Room)
	case matrix.UserID(user).Server() != server:
		return matrix.BadJSON("that is not a join of a user of this server")
	}
	var create *rules.Event
	for _, e := range j.State {
		if e.RoomID() != j.Room {
			return matrix.BadJSON("the state has events of another room")
		}
		if e.IsState("m.room.create", "") {
			create = e
		}
	}
	if create == nil || rules.VersionIn(create.Content()) != j.Version.ID {
		return matrix.BadJSON("the state has no create event of room version %s", j.Version.ID)
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
