package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
)

// The answer to a join is bounded: in bytes, in events, and each of its values but the lists of events.
const (
	maxJoinAnswer = 512 << 20
	maxJoinEvents = 500_000
	maxJoinValue  = 4 << 20
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
	a := joinAnswer{told: told, body: &boundedBody{from: stream.Body, left: maxJoinAnswer}, most: maxJoinEvents}
	err = a.read()
	var own *matrix.Error
	if err != nil && !errors.As(err, &own) {
		err = &peer.Unreachable{Server: server, Err: fmt.Errorf("read its answer to a join: %w", err)}
	}
	return a.join, err
}

// boundedBody is a body of which no more is read than it may have, and of each value of it no more than that may.
type boundedBody struct {
	from  io.Reader
	left  int64
	value int64
}

var (
	errJoinShape = errors.New("it is not of the form of the specification")
	errJoinValue = errors.New("an event or another value of it is too large")
	errJoinSize  = matrix.E(matrix.CodeTooLarge, "the room is larger than this server takes: more than %d MB, or %d events",
		maxJoinAnswer>>20, maxJoinEvents).WithStatus(http.StatusBadGateway)
)

func (b *boundedBody) Read(p []byte) (int, error) {
	switch {
	case b.left <= 0:
		return 0, errJoinSize
	case b.value <= 0:
		return 0, errJoinValue
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left, b.value)])
	b.left -= int64(n)
	b.value -= int64(n)
	return n, err
}

// joinAnswer is the answer to a join, while it is read: event by event, so that no more of it is in memory.
type joinAnswer struct {
	told *spool
	body *boundedBody
	most int // events of a list
	d    *json.Decoder
	join *rules.Event
}

// read reads the answer. The first version of the endpoint puts it into a list behind a status.
func (a *joinAnswer) read() error {
	a.d = json.NewDecoder(a.body)
	t, err := a.token()
	if err != nil {
		return err
	}
	if t == json.Delim('[') {
		if _, err := a.token(); err != nil { // the status
			return err
		}
		if t, err = a.token(); err != nil {
			return err
		}
	}
	if t != json.Delim('{') {
		return errJoinShape
	}
	for a.d.More() {
		key, err := a.token()
		if err != nil {
			return err
		}
		if err := a.member(key); err != nil {
			return err
		}
	}
	_, err = a.token()
	return err
}

func (a *joinAnswer) token() (json.Token, error) {
	a.body.value = maxJoinValue
	return a.d.Token()
}

func (a *joinAnswer) value(into *json.RawMessage) error {
	a.body.value = maxJoinValue
	return a.d.Decode(into)
}

// member reads one member of the answer.
func (a *joinAnswer) member(key json.Token) error {
	switch key {
	case "state":
		return a.events(true)
	case "auth_chain":
		return a.events(false)
	}
	var raw json.RawMessage
	err := a.value(&raw)
	if err == nil && key == "event" && len(raw) > 0 && raw[0] == '{' {
		a.join, err = rules.Read(a.told.version, raw)
	}
	return err
}

// events reads a list of events. One that the strict reader refuses is left out.
func (a *joinAnswer) events(state bool) error {
	if t, err := a.token(); err != nil || t != json.Delim('[') {
		return errors.Join(err, errJoinShape)
	}
	var raw json.RawMessage
	for n := 0; a.d.More(); n++ {
		if err := a.value(&raw); err != nil {
			return err
		}
		if n >= a.most {
			return errJoinSize
		}
		if ev, err := rules.Read(a.told.version, raw); err == nil {
			if err := a.told.add(ev, state); err != nil {
				return err
			}
		}
	}
	_, err := a.token()
	return err
}
