package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
)

// Join brings a user of ours into a room by the help of servers that are in it. When it returns the room is
// known here and the user is in it.
//
// Spec: SS "Joining Rooms"
func (r *Remote) Join(ctx context.Context, e Entry) error {
	release, err := r.entering.lock(ctx, e.Room)
	if err != nil {
		return err
	}
	defer release()
	join := func(ctx context.Context, server matrix.ServerName) error { return r.joinBy(ctx, server, e) }
	if e.Guest {
		return r.joinAsGuest(ctx, e, join)
	}
	return r.overServers(ctx, e, join)
}

// joinBy joins by one server.
func (r *Remote) joinBy(ctx context.Context, server matrix.ServerName, e Entry) error {
	join, err := r.signed(ctx, server, joining, e)
	if err != nil {
		return err
	}
	done, err := r.rooms.Expect(ctx, e.Room, join.Version())
	if err != nil {
		return err
	}
	defer done()
	told := newSpool(join.Version(), e.Room, r.dir)
	defer told.close()
	if join, err = r.sendJoin(ctx, server, join, told); err != nil {
		return err
	}
	resident, err := r.rooms.Resident(ctx, e.Room)
	if err != nil {
		return err
	}
	if !resident {
		err = r.rooms.Import(ctx, roomserver.Import{Room: e.Room, Version: join.Version(), Join: join, Parts: r.parts(ctx, told)})
		resident = errors.Is(err, roomserver.ErrInside) // by another node
	}
	if resident { // somebody had to vouch for the user, whom no user of ours may let in
		return allowed(r.Receive(ctx, server, join))
	}
	if err != nil {
		return &peer.Unreachable{Server: server, Err: fmt.Errorf("its answer to a join: %w", err)}
	}
	return nil
}

// take receives an event of ours that another server has accepted into a room which this server is in.
func (r *Remote) take(ctx context.Context, ev *rules.Event) error {
	return allowed(r.rooms.Receive(ctx, ev))
}

func allowed(status roomserver.Status, err error) error {
	var away *roomserver.Away
	if errors.As(err, &away) {
		return away.Told
	}
	if err == nil && status != roomserver.Accepted {
		err = matrix.Forbidden("the rules of the room do not allow it")
	}
	return err
}

// sendJoin gives our join to a server, and keeps the room that it answers with. It gives the join as it is there:
// the other server may have signed it too.
//
// Spec: PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}, and v1 for servers that know no other
func (r *Remote) sendJoin(ctx context.Context, server matrix.ServerName, join *rules.Event, told *spool) (*rules.Event, error) {
	theirs, err := r.sendJoinTo(ctx, "/_matrix/federation/v2/send_join", server, join, told)
	if knowsNoSuchPath(err) {
		theirs, err = r.sendJoinTo(ctx, "/_matrix/federation/v1/send_join", server, join, told)
	}
	if err != nil {
		return nil, err
	}
	if theirs == nil {
		theirs = join
	}
	if theirs.ID() != join.ID() {
		return nil, &peer.Unreachable{Server: server, Err: errors.New("it answers with another join than ours")}
	}
	verified := r.keys.VerifyEvents(ctx, []*rules.Event{theirs})
	if err := verified[0].Err; err != nil {
		return nil, &peer.Unreachable{Server: server, Err: fmt.Errorf("the join that it gives back: %w", err)}
	}
	return theirs, nil
}

func (r *Remote) sendJoinTo(ctx context.Context, path string, server matrix.ServerName, join *rules.Event, told *spool) (*rules.Event, error) {
	stream, err := r.client.Stream(ctx, server, peer.Request{
		Method: "PUT", Path: peer.Path(path, string(join.RoomID()), string(join.ID())),
		Body: json.RawMessage(join.Bytes()), Timeout: sendTime,
	})
	if err != nil {
		return nil, err
	}
	defer stream.Body.Close()
	var theirs *rules.Event
	answer := newToldRoom(told, stream.Body, map[string]bool{"state": true, "auth_chain": false})
	answer.other = func(name string, value json.RawMessage) (err error) {
		if name == "event" && len(value) > 0 && value[0] == '{' {
			theirs, err = rules.Read(join.Version(), value)
		}
		return err
	}
	err = answer.from(server)
	return theirs, err
}
