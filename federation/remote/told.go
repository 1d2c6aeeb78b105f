package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// What a server tells of a room is bounded: in bytes, in events, and each of its values but the lists of events.
const (
	maxTold      = 512 << 20
	maxToldValue = 4 << 20
)

var (
	errToldShape = errors.New("it is not of the form of the specification")
	errToldValue = errors.New("an event or another value of it is too large")
	errToldSize  = matrix.E(matrix.CodeTooLarge, "the room is larger than this server takes: more than %d MB, or %d events",
		maxTold>>20, maxToldEvents).WithStatus(http.StatusBadGateway)
)

// boundedBody is a body of which no more is read than it may have, and of each value of it no more than that may.
type boundedBody struct {
	from  io.Reader
	left  int64
	value int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	switch {
	case b.left <= 0:
		return 0, errToldSize
	case b.value <= 0:
		return 0, errToldValue
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left, b.value)])
	b.left -= int64(n)
	b.value -= int64(n)
	return n, err
}

// toldRoom is an answer with the events of a room, while it is read: event by event, so that no more of it is in memory.
type toldRoom struct {
	told  *spool
	lists map[string]bool // the members that are lists of events, and whether those are of the state
	other func(name string, value json.RawMessage) error
	body  *boundedBody
	d     *json.Decoder
	most  int // events of a list
}

func newToldRoom(told *spool, body io.Reader, lists map[string]bool) *toldRoom {
	return &toldRoom{
		told: told, lists: lists, body: &boundedBody{from: body, left: maxTold}, most: maxToldEvents,
		other: func(string, json.RawMessage) error { return nil },
	}
}

// from reads the answer of a server.
func (a *toldRoom) from(server matrix.ServerName) error {
	err := a.read()
	var own *matrix.Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	return &peer.Unreachable{Server: server, Err: fmt.Errorf("read what it tells of a room: %w", err)}
}

// read reads the answer. The first version of send_join puts it into a list behind a status.
func (a *toldRoom) read() error {
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
		return errToldShape
	}
	for a.d.More() {
		key, err := a.token()
		if err != nil {
			return err
		}
		name, is := key.(string)
		if !is {
			return errToldShape
		}
		if err := a.member(name); err != nil {
			return err
		}
	}
	_, err = a.token()
	return err
}

func (a *toldRoom) token() (json.Token, error) {
	a.body.value = maxToldValue
	return a.d.Token()
}

func (a *toldRoom) value(into *json.RawMessage) error {
	a.body.value = maxToldValue
	return a.d.Decode(into)
}

// member reads one member of the answer.
func (a *toldRoom) member(name string) error {
	if state, is := a.lists[name]; is {
		return a.events(state)
	}
	var raw json.RawMessage
	if err := a.value(&raw); err != nil {
		return err
	}
	return a.other(name, raw)
}

// events reads a list of events. One that the strict reader refuses is left out.
func (a *toldRoom) events(state bool) error {
	if t, err := a.token(); err != nil || t != json.Delim('[') {
		return errors.Join(err, errToldShape)
	}
	var raw json.RawMessage
	for n := 0; a.d.More(); n++ {
		if err := a.value(&raw); err != nil {
			return err
		}
		if n >= a.most {
			return errToldSize
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

// keepTold keeps the events with which a server answers, as auth events and parts of a state, part by part.
func (r *Remote) keepTold(ctx context.Context, server matrix.ServerName, v *rules.Version, room matrix.RoomID, q peer.Request) error {
	stream, err := r.client.Stream(ctx, server, q)
	if err != nil {
		return err
	}
	defer stream.Body.Close()
	told := newSpool(v, room, r.dir)
	defer told.close()
	lists := map[string]bool{"pdus": true, "auth_chain": false}
	if err := newToldRoom(told, stream.Body, lists).from(server); err != nil {
		return err
	}
	if err := r.keys.Prepare(ctx, &told.signers); err != nil {
		return err
	}
	for numbers := range slices.Chunk(told.order(), spoolPart) {
		events, err := told.readAll(numbers)
		if err == nil {
			err = r.keep(ctx, room, events)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
