package federation

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
)

func (a *API) joinRoutes(r *httpapi.Router) {
	join := httpapi.PerServer("handshakes")
	r.Handle("GET", "/_matrix/federation/v1/make_join/{roomID}/{userID}", httpapi.Signed(a.makeJoin), join)
	r.Handle("PUT", "/_matrix/federation/v1/send_join/{roomID}/{eventID}", httpapi.RawSigned(a.sendJoinV1), join)
	r.Handle("PUT", "/_matrix/federation/v2/send_join/{roomID}/{eventID}", httpapi.RawSigned(a.sendJoin), join)
}

// makeJoin proposes the event by which a user of another server may join.
//
// Spec: GET /_matrix/federation/v1/make_join/{roomId}/{userId}
func (a *API) makeJoin(ctx context.Context, c *httpapi.Caller, q *makeRequest) (*makeResponse, error) {
	return a.template(ctx, c, q, matrix.Join)
}

// sendJoin takes a join of another server's user into a room and answers with the room.
//
// Spec: PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}
func (a *API) sendJoin(w http.ResponseWriter, r *http.Request, c *httpapi.Caller) error {
	return a.answerJoin(w, r, c, "", "")
}

// sendJoinV1 is sendJoin in its first form, which has the answer in a list behind a status.
//
// Spec: PUT /_matrix/federation/v1/send_join/{roomId}/{eventId}
func (a *API) sendJoinV1(w http.ResponseWriter, r *http.Request, c *httpapi.Caller) error {
	return a.answerJoin(w, r, c, "[200,", "]")
}

// answerJoin takes a join and writes the room event by event: it may be larger than what should be held in memory.
func (a *API) answerJoin(w http.ResponseWriter, r *http.Request, c *httpapi.Caller, before, after string) error {
	ctx := r.Context()
	q, err := readSend(w, r)
	if err != nil {
		return err
	}
	servers, err := a.rooms.ServersOf(ctx, q.RoomID) // before the join
	if err != nil {
		return err
	}
	join, err := a.join(ctx, c, q)
	if err != nil {
		return err
	}
	short := r.URL.Query().Get("omit_members") == "true"
	told, err := a.before(ctx, c, join, short)
	if err != nil {
		return fmt.Errorf("find the state before a join: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	out := &roomWriter{w: w, rooms: a.rooms}
	out.text(before + "{")
	out.member("origin", a.server)
	out.member("members_omitted", short)
	out.member("servers_in_room", append(servers, a.server))
	out.member("event", json.RawMessage(join.Bytes()))
	out.events(ctx, "auth_chain", told.AuthChain)
	out.text(",")
	out.events(ctx, "state", told.State)
	out.text("}" + after)
	return out.err
}

// before is the state before a join, whole or short.
func (a *API) before(ctx context.Context, c *httpapi.Caller, join *rules.Event, short bool) (*roomserver.Told, error) {
	if short {
		return a.rooms.WithoutMembers(ctx, join)
	}
	return a.rooms.StateBefore(ctx, join.RoomID(), join.ID(), c.Origin)
}

func readSend(w http.ResponseWriter, r *http.Request) (*sendRequest, error) {
	body, err := httpapi.ReadBody(w, r)
	if err != nil {
		return nil, err
	}
	return &sendRequest{RoomID: matrix.RoomID(r.PathValue("roomID")), EventID: matrix.EventID(r.PathValue("eventID")), Event: body}, nil
}

// join takes a join into its room. In a restricted room this server vouches for the user, who must be in one of
// the rooms that its rules name; then the event bears our signature too.
//
// Spec: SS "Restricted rooms"
func (a *API) join(ctx context.Context, c *httpapi.Caller, q *sendRequest) (*rules.Event, error) {
	ev, err := a.brought(ctx, c, q, matrix.Join)
	if err != nil {
		return nil, err
	}
	if ev, err = a.rooms.Vouch(ctx, ev); err != nil {
		return nil, err
	}
	if err := a.verified(ctx, ev); err != nil {
		return nil, err
	}
	return ev, a.take(ctx, ev)
}

// roomWriter writes a long answer piece by piece, and remembers the first failure.
type roomWriter struct {
	w     http.ResponseWriter
	rooms *roomserver.Rooms
	err   error
}

func (o *roomWriter) text(s string) { o.bytes([]byte(s)) }

func (o *roomWriter) bytes(b []byte) {
	if o.err == nil {
		_, o.err = o.w.Write(b)
	}
}

// member writes a member with a comma behind it.
func (o *roomWriter) member(name string, value any) {
	text, err := json.Marshal(value)
	if o.err == nil {
		o.err = err
	}
	o.text(`"` + name + `":`)
	o.bytes(text)
	o.text(",")
}

// events writes a list of events.
func (o *roomWriter) events(ctx context.Context, name string, nids []int64) {
	o.text(`"` + name + `":[`)
	first := true
	err := o.rooms.Each(ctx, nids, func(e *rules.Event) error {
		if !first {
			o.text(",")
		}
		first = false
		o.bytes(e.Bytes())
		return o.err
	})
	if o.err == nil {
		o.err = err
	}
	o.text("]")
}
