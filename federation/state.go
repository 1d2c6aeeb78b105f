package federation

import (
	"bufio"
	"context"
	"net/http"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

func (a *API) stateRoutes(r *httpapi.Router) {
	r.Handle("GET", "/_matrix/federation/v1/state/{roomID}", httpapi.RawSigned(a.state), httpapi.PerServer("rooms"))
	r.Handle("GET", "/_matrix/federation/v1/state_ids/{roomID}", httpapi.Signed(a.stateIDs), httpapi.PerServer("rooms"))
}

type stateIDsRequest struct {
	Room  matrix.RoomID  `path:"roomID"`
	Event matrix.EventID `query:"event_id" required:"true"`
}

type stateIDsResponse struct {
	Chain []matrix.EventID `json:"auth_chain_ids"`
	State []matrix.EventID `json:"pdu_ids"`
}

// stateIDs tells the ids of the state before an event, and of all that it refers to.
//
// Spec: GET /_matrix/federation/v1/state_ids/{roomId}
func (a *API) stateIDs(ctx context.Context, c *httpapi.Caller, q *stateIDsRequest) (*stateIDsResponse, error) {
	told, err := a.rooms.StateBefore(ctx, q.Room, q.Event, c.Origin)
	if err != nil {
		return nil, err
	}
	out := &stateIDsResponse{}
	if out.State, err = a.rooms.IDs(ctx, told.State); err != nil {
		return nil, err
	}
	out.Chain, err = a.rooms.IDs(ctx, told.AuthChain)
	return out, err
}

// state tells the state before an event, and all that it refers to. It is written as it is read, so that a
// large state is never in memory.
//
// Spec: GET /_matrix/federation/v1/state/{roomId}
func (a *API) state(w http.ResponseWriter, r *http.Request, c *httpapi.Caller) error {
	event := matrix.EventID(r.URL.Query().Get("event_id"))
	if event == "" {
		return matrix.MissingParam("event_id is missing")
	}
	told, err := a.rooms.StateBefore(r.Context(), matrix.RoomID(r.PathValue("roomID")), event, c.Origin)
	if err != nil {
		return err
	}
	return a.writeEvents(w, r, eventList{"auth_chain", told.AuthChain}, eventList{"pdus", told.State})
}

// eventAuth tells all that an event refers to as its permission.
//
// Spec: GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}
func (a *API) eventAuth(w http.ResponseWriter, r *http.Request, c *httpapi.Caller) error {
	chain, err := a.rooms.AuthChain(r.Context(), matrix.RoomID(r.PathValue("roomID")), matrix.EventID(r.PathValue("eventID")), c.Origin)
	if err != nil {
		return err
	}
	return a.writeEvents(w, r, eventList{"auth_chain", chain})
}

// eventList is a member of an answer: events by their numbers.
type eventList struct {
	name string
	nids []int64
}

// writeEvents writes lists of events as they are read. An answer that breaks off is no JSON, which tells the
// other server that it is not whole.
func (a *API) writeEvents(w http.ResponseWriter, r *http.Request, lists ...eventList) error {
	w.Header().Set("Content-Type", "application/json")
	out := bufio.NewWriterSize(w, 64<<10)
	for i, list := range lists {
		open := byte(',')
		if i == 0 {
			open = '{'
		}
		out.WriteByte(open)
		out.WriteString(`"` + list.name + `":[`)
		first := true
		err := a.rooms.Each(r.Context(), list.nids, func(e *rules.Event) error {
			if !first {
				out.WriteByte(',')
			}
			first = false
			_, err := out.Write(e.Bytes())
			return err
		})
		if err != nil {
			return err
		}
		out.WriteByte(']')
	}
	out.WriteString("}\n")
	return out.Flush()
}
