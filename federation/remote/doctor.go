package remote

import (
	"context"
	"errors"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// doctorServers bounds how many servers are asked about the state of a room.
const doctorServers = 10

// Diagnosis is how the state of a room here differs from that of other servers.
type Diagnosis struct {
	Room matrix.RoomID `json:"room_id"`
	// Event is the one before which the states were compared.
	Event    matrix.EventID `json:"event_id"`
	Opinions []Opinion      `json:"servers"`
}

// Opinion is what one server says.
type Opinion struct {
	Server matrix.ServerName `json:"server"`
	// Failure says why there is nothing to compare; empty where there is.
	Failure string `json:"error,omitempty"`
	// Here and There are the parts of the state that only one side has.
	Here  []roomserver.Held `json:"only_here"`
	There []roomserver.Held `json:"only_there"`
	// Repaired is how many places of the room's current state changed when it was resolved with this one.
	Repaired int `json:"repaired"`

	told []matrix.EventID
}

// Examine compares the state of a room with that of other servers in it: those that are named, or else some.
// With repair, what differs is fetched, and the state is resolved with theirs; it is never adopted.
func (r *Remote) Examine(ctx context.Context, room matrix.RoomID, servers []matrix.ServerName, repair bool) (*Diagnosis, error) {
	v, ends, err := r.rooms.Ends(ctx, room)
	if err != nil {
		return nil, err
	}
	if len(ends) == 0 {
		return nil, matrix.NotFound("this server is not in the room %s", room)
	}
	if len(servers) == 0 {
		if servers, err = r.rooms.ServersOf(ctx, room); err != nil {
			return nil, err
		}
	}
	d := &Diagnosis{Room: room, Event: ends[len(ends)-1], Opinions: []Opinion{}}
	here, err := r.rooms.StateBefore(ctx, room, d.Event, "")
	if err != nil {
		return nil, err
	}
	ours, err := r.rooms.IDs(ctx, here.State)
	if err != nil {
		return nil, err
	}
	for _, server := range servers[:min(len(servers), doctorServers)] {
		o := Opinion{Server: server, Here: []roomserver.Held{}, There: []roomserver.Held{}}
		o.told, err = r.stateBefore(ctx, server, v, room, d.Event)
		if err == nil {
			err = r.compare(ctx, room, ours, &o)
		}
		if err == nil && repair && len(o.There) > 0 {
			o.Repaired, err = r.rooms.Heal(ctx, room, o.told)
		}
		if err != nil {
			o.Failure = err.Error()
		}
		d.Opinions = append(d.Opinions, o)
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
	return d, nil
}

// compare finds what only one side has.
func (r *Remote) compare(ctx context.Context, room matrix.RoomID, ours []matrix.EventID, o *Opinion) error {
	var err error
	if o.Here, err = r.rooms.Held(ctx, room, except(ours, o.told)); err != nil {
		return err
	}
	o.There, err = r.rooms.Held(ctx, room, except(o.told, ours))
	return err
}

// except gives the ids that are not among others.
func except(ids, others []matrix.EventID) []matrix.EventID {
	drop := make(map[matrix.EventID]bool, len(others))
	for _, id := range others {
		drop[id] = true
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id matrix.EventID) bool { return drop[id] })
}
