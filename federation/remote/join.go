package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
)

// maxJoinAnswer bounds the answer to a join, in bytes, and maxJoinEvents its events.
const (
	maxJoinAnswer = 512 << 20
	maxJoinEvents = 500_000
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
	answer, err := r.sendJoin(ctx, server, join)
	if err != nil {
		return err
	}
	resident, err := r.rooms.Resident(ctx, e.Room)
	if err != nil {
		return err
	}
	if resident { // somebody had to vouch for the user, whom no user of ours may let in
		return r.take(ctx, answer.join)
	}
	i := roomserver.Import{
		Room: e.Room, Version: join.Version(), Join: answer.join, Servers: append(answer.servers, server),
	}
	if i.State, err = r.good(ctx, answer.state); err != nil {
		return err
	}
	if i.AuthChain, err = r.good(ctx, answer.authChain); err != nil {
		return err
	}
	if err := r.rooms.Import(ctx, i); err != nil {
		return &peer.Unreachable{Server: server, Err: fmt.Errorf("its answer to a join: %w", err)}
	}
	return nil
}

// good are the events whose signatures are good. The others are left out: what needs them is refused.
func (r *Remote) good(ctx context.Context, events []*rules.Event) ([]*rules.Event, error) {
	out := make([]*rules.Event, 0, len(events))
	for _, v := range r.keys.VerifyEvents(ctx, events) {
		if v.Err != nil {
			r.log.Debug("an event of a room that is joined is not taken", "event", v.Event.ID(), "error", v.Err)
			continue
		}
		out = append(out, v.Event)
	}
	return out, ctx.Err()
}

// take receives an event of ours that another server has accepted into a room which this server is in.
func (r *Remote) take(ctx context.Context, ev *rules.Event) error {
	status, err := r.rooms.Receive(ctx, ev)
	var away *roomserver.Away
	if errors.As(err, &away) {
		return away.Told
	}
	if err == nil && status != roomserver.Accepted {
		err = matrix.Forbidden("the rules of the room do not allow it")
	}
	return err
}

// joinAnswer is the answer to a join, its events read but not verified.
type joinAnswer struct {
	join             *rules.Event
	state, authChain []*rules.Event
	servers          []matrix.ServerName
}

// sendJoin gives our join to a server and reads the room that it answers with.
//
// Spec: PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}, and v1 for servers that know no other
func (r *Remote) sendJoin(ctx context.Context, server matrix.ServerName, join *rules.Event) (*joinAnswer, error) {
	a, err := r.sendJoinTo(ctx, "/_matrix/federation/v2/send_join", server, join)
	if knowsNoSuchPath(err) {
		a, err = r.sendJoinTo(ctx, "/_matrix/federation/v1/send_join", server, join)
	}
	if err != nil {
		return nil, err
	}
	if a.join == nil {
		a.join = join
	}
	if a.join.ID() != join.ID() {
		return nil, &peer.Unreachable{Server: server, Err: errors.New("it answers with another join than ours")}
	}
	verified := r.keys.VerifyEvents(ctx, []*rules.Event{a.join})
	if err := verified[0].Err; err != nil {
		return nil, &peer.Unreachable{Server: server, Err: fmt.Errorf("the join that it gives back: %w", err)}
	}
	return a, nil
}

func (r *Remote) sendJoinTo(ctx context.Context, path string, server matrix.ServerName, join *rules.Event) (*joinAnswer, error) {
	stream, err := r.client.Stream(ctx, server, peer.Request{
		Method: "PUT", Path: peer.Path(path, string(join.RoomID()), string(join.ID())),
		Body: json.RawMessage(join.Bytes()), Timeout: sendTime,
	})
	if err != nil {
		return nil, err
	}
	defer stream.Body.Close()
	a := &joinAnswer{}
	if err := a.read(join.Version(), io.LimitReader(stream.Body, maxJoinAnswer)); err != nil {
		return nil, &peer.Unreachable{Server: server, Err: fmt.Errorf("read its answer to a join: %w", err)}
	}
	return a, nil
}

var (
	errJoinShape  = errors.New("it is not of the form of the specification")
	errJoinEvents = errors.New("it has too many events")
)

// read reads the answer event by event, so that no more of it is in memory than its events. The first version
// of the endpoint puts it into a list behind a status.
func (a *joinAnswer) read(v *rules.Version, from io.Reader) error {
	d := json.NewDecoder(from)
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t == json.Delim('[') {
		if _, err := d.Token(); err != nil { // the status
			return err
		}
		if t, err = d.Token(); err != nil {
			return err
		}
	}
	if t != json.Delim('{') {
		return errJoinShape
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if err := a.member(v, d, key); err != nil {
			return err
		}
	}
	return nil
}

// member reads one member of the answer.
func (a *joinAnswer) member(v *rules.Version, d *json.Decoder, key json.Token) (err error) {
	switch key {
	case "state":
		a.state, err = readEvents(v, d)
	case "auth_chain":
		a.authChain, err = readEvents(v, d)
	case "event":
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		if len(raw) > 0 && raw[0] == '{' {
			a.join, err = rules.Read(v, raw)
		}
	case "servers_in_room":
		err = d.Decode(&a.servers)
	default:
		var skipped json.RawMessage
		err = d.Decode(&skipped)
	}
	return err
}

// readEvents reads a list of events. One that the strict reader refuses is left out.
func readEvents(v *rules.Version, d *json.Decoder) ([]*rules.Event, error) {
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, errors.Join(err, errJoinShape)
	}
	var out []*rules.Event
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, err
		}
		ev, err := rules.Read(v, raw)
		if err != nil {
			continue
		}
		if out = append(out, ev); len(out) > maxJoinEvents {
			return nil, errJoinEvents
		}
	}
	_, err := d.Token()
	return out, err
}
