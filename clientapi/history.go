package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) historyRoutes(r *httpapi.Router) {
	const room = "/rooms/{roomID}/"
	v3(r, "GET", room+"messages", httpapi.Authed(a.messages), httpapi.GuestsToo())
	v3(r, "GET", room+"context/{eventID}", httpapi.Authed(a.eventContext), httpapi.GuestsToo())
	v3(r, "GET", room+"event/{eventID}", httpapi.Authed(a.event), httpapi.GuestsToo())
	v3(r, "GET", "/events/{eventID}", httpapi.Authed(a.eventAnywhere))
	v3(r, "GET", room+"state", httpapi.Authed(a.state), httpapi.GuestsToo())
	v3(r, "GET", room+"state/{eventType}/{stateKey}", httpapi.Authed(a.stateEvent), httpapi.GuestsToo())
	v3(r, "GET", room+"state/{eventType}", httpapi.Authed(a.stateEvent), httpapi.GuestsToo(), httpapi.TrailingSlash())
	v3(r, "GET", room+"members", httpapi.Authed(a.members), httpapi.GuestsToo())
	v3(r, "GET", room+"joined_members", httpapi.Authed(a.joinedMembers))
}

// The bounds of a page of events.
const (
	pageDefault = 10
	pageMost    = 1000
)

func viewer(c *httpapi.Caller) roomserver.Viewer {
	return roomserver.Viewer{User: c.User, Device: c.Device}
}

// reader is a viewer of a timeline, who does not want to see the messages of those they ignore.
//
// Spec: CS "Ignoring Users".
func (a *API) reader(ctx context.Context, c *httpapi.Caller) (roomserver.Viewer, error) {
	v := viewer(c)
	ignored, err := a.accounts.Ignored(ctx, c.User)
	if err != nil || len(ignored) == 0 {
		return v, err
	}
	list := roomserver.Ignored(ignored)
	v.Ignores = &list
	return v, nil
}

type messagesRequest struct {
	RoomID matrix.RoomID `path:"roomID"`
	From   string        `query:"from"`
	To     string        `query:"to"`
	Dir    string        `query:"dir"`
	Limit  *int          `query:"limit"`
	Filter string        `query:"filter"`
}

type messagesResponse struct {
	Chunk []*roomserver.ClientEvent `json:"chunk"`
	Start string                    `json:"start"`
	End   string                    `json:"end,omitempty"`
	State []*roomserver.ClientEvent `json:"state,omitempty"`
}

// messages reads a page of a room's history.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/messages
func (a *API) messages(ctx context.Context, c *httpapi.Caller, q *messagesRequest) (*messagesResponse, error) {
	// Who may not read the room learns nothing else of the request.
	if err := a.rooms.Readable(ctx, c.User, q.RoomID); err != nil {
		return nil, err
	}
	if q.Dir == "" {
		return nil, matrix.MissingParam("the parameter dir is missing")
	}
	if q.Dir != "b" && q.Dir != "f" {
		return nil, matrix.InvalidParam("dir must be b or f")
	}
	filter, err := roomFilter(q.Filter)
	if err != nil {
		return nil, err
	}
	limit, err := pageLimit(q.Limit, filter, pageDefault)
	if err != nil {
		return nil, err
	}
	v, err := a.reader(ctx, c)
	if err != nil {
		return nil, err
	}
	asked := roomserver.Page{
		Room: q.RoomID, From: q.From, To: q.To, Backward: q.Dir == "b", Limit: max(limit, 1),
		Keep: keeper(filter), Position: a.position,
	}
	if err := a.fill(ctx, func() (roomserver.Hole, bool, error) { return a.rooms.HoleBefore(ctx, v, asked) }); err != nil {
		return nil, err
	}
	page, err := a.rooms.Messages(ctx, v, asked)
	if err != nil {
		return nil, err
	}
	out := &messagesResponse{Chunk: orEmpty(page.Events), Start: page.Start, End: page.End}
	if filter.LazyLoadMembers {
		out.State, err = a.rooms.SendersOf(ctx, v, q.RoomID, page.Events)
	}
	return out, err
}

// fillsMost bounds how many parts of a room's history are fetched for one request.
const fillsMost = 3

// fill fetches from other servers what is missing where a client reads on.
func (a *API) fill(ctx context.Context, hole func() (roomserver.Hole, bool, error)) error {
	for range fillsMost {
		h, found, err := hole()
		if err != nil || !found {
			return err
		}
		if more, err := a.remote.Backfill(ctx, h); err != nil || !more {
			return err
		}
	}
	return nil
}

// roomFilter reads a filter that stands in the query; none lets everything through.
func roomFilter(raw string) (*account.RoomEventFilter, error) {
	if raw == "" {
		return &account.RoomEventFilter{}, nil
	}
	return account.ParseRoomEventFilter(json.RawMessage(raw))
}

// pageLimit is how many events a page has: the smaller one of what the query and the filter say.
func pageLimit(limit *int, f *account.RoomEventFilter, otherwise int) (int, error) {
	n := otherwise
	if limit != nil {
		n = *limit
	}
	if f.Limit != nil && (limit == nil || *f.Limit < n) {
		n = *f.Limit
	}
	if n < 0 {
		return 0, matrix.InvalidParam("limit cannot be less than 0")
	}
	return min(n, pageMost), nil
}

// keeper says which events a filter lets through.
func keeper(f *account.RoomEventFilter) func(*roomserver.ClientEvent) bool {
	return func(e *roomserver.ClientEvent) bool {
		kind, _ := e.Relation()
		return f.MatchesRelation(kind) && f.MatchesRoom(string(e.RoomID())) && f.Matches(string(e.Sender()), e.Type()) &&
			(f.ContainsURL == nil || f.MatchesURL(e.HasURL()))
	}
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

type contextRequest struct {
	RoomID  matrix.RoomID  `path:"roomID"`
	EventID matrix.EventID `path:"eventID"`
	Limit   *int           `query:"limit"`
	Filter  string         `query:"filter"`
}

type contextResponse struct {
	Event  *roomserver.ClientEvent   `json:"event"`
	Before []*roomserver.ClientEvent `json:"events_before"`
	After  []*roomserver.ClientEvent `json:"events_after"`
	Start  string                    `json:"start"`
	End    string                    `json:"end"`
	State  []*roomserver.ClientEvent `json:"state"`
}

// eventContext shows an event with what was said before and after it.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}
func (a *API) eventContext(ctx context.Context, c *httpapi.Caller, q *contextRequest) (*contextResponse, error) {
	filter, err := roomFilter(q.Filter)
	if err != nil {
		return nil, err
	}
	limit, err := pageLimit(q.Limit, filter, pageDefault)
	if err != nil {
		return nil, err
	}
	v, err := a.reader(ctx, c)
	if err != nil {
		return nil, err
	}
	err = a.fill(ctx, func() (roomserver.Hole, bool, error) { return a.rooms.HoleAround(ctx, v, q.RoomID, q.EventID, limit) })
	if err != nil {
		return nil, err
	}
	s, err := a.rooms.Around(ctx, v, q.RoomID, q.EventID, limit, keeper(filter))
	if err != nil {
		return nil, err
	}
	state, err := a.rooms.StateOf(ctx, v, s, filter.LazyLoadMembers)
	if err != nil {
		return nil, err
	}
	return &contextResponse{
		Event: s.Event, Before: orEmpty(s.Before), After: orEmpty(s.After), Start: s.Start, End: s.End, State: orEmpty(state),
	}, nil
}

type eventRequest struct {
	RoomID  matrix.RoomID  `path:"roomID"`
	EventID matrix.EventID `path:"eventID"`
}

// event shows one event.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}
func (a *API) event(ctx context.Context, c *httpapi.Caller, q *eventRequest) (*roomserver.ClientEvent, error) {
	v, err := a.reader(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.rooms.Event(ctx, v, q.RoomID, q.EventID)
}

type eventAnywhereRequest struct {
	EventID matrix.EventID `path:"eventID"`
}

// eventAnywhere shows one event, in whatever room it is. It is deprecated.
//
// Spec: GET /_matrix/client/v3/events/{eventId}
func (a *API) eventAnywhere(ctx context.Context, c *httpapi.Caller, q *eventAnywhereRequest) (*roomserver.ClientEvent, error) {
	v, err := a.reader(ctx, c)
	if err != nil {
		return nil, err
	}
	return a.rooms.EventAnywhere(ctx, v, q.EventID)
}

type stateRequest struct {
	RoomID matrix.RoomID `path:"roomID"`
}

type stateResponse []*roomserver.ClientEvent

// state shows the whole state of a room.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/state
func (a *API) state(ctx context.Context, c *httpapi.Caller, q *stateRequest) (*stateResponse, error) {
	events, err := a.rooms.CurrentState(ctx, viewer(c), q.RoomID)
	if err != nil {
		return nil, err
	}
	out := stateResponse(orEmpty(events))
	return &out, nil
}

type stateEventRequest struct {
	RoomID    matrix.RoomID `path:"roomID"`
	EventType string        `path:"eventType"`
	StateKey  string        `path:"stateKey"`
	Format    string        `query:"format"`
}

// stateEvent shows one state event, or its content alone.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}
func (a *API) stateEvent(ctx context.Context, c *httpapi.Caller, q *stateEventRequest) (*json.RawMessage, error) {
	if q.Format != "" && q.Format != "content" && q.Format != "event" {
		return nil, matrix.InvalidParam("format must be content or event")
	}
	e, err := a.rooms.CurrentStateEvent(ctx, viewer(c), q.RoomID, q.EventType, q.StateKey)
	if err != nil {
		return nil, err
	}
	out := json.RawMessage(e.Shown.Content())
	if q.Format == "event" {
		out = e.AppendJSON(nil, roomserver.WithRoomID)
	}
	return &out, nil
}

type membersRequest struct {
	RoomID        matrix.RoomID     `path:"roomID"`
	At            string            `query:"at"`
	Membership    matrix.Membership `query:"membership"`
	NotMembership matrix.Membership `query:"not_membership"`
}

type membersResponse struct {
	Chunk []*roomserver.ClientEvent `json:"chunk"`
}

// members lists the member events of a room, now or at a token.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/members
func (a *API) members(ctx context.Context, c *httpapi.Caller, q *membersRequest) (*membersResponse, error) {
	keep := func(m matrix.Membership) bool {
		switch {
		case q.Membership == "" && q.NotMembership == "":
			return true
		case q.Membership == "":
			return m != q.NotMembership
		case q.NotMembership == "":
			return m == q.Membership
		}
		return m == q.Membership || m != q.NotMembership
	}
	events, err := a.rooms.MembersAt(ctx, viewer(c), q.RoomID, q.At, a.position, keep)
	if err != nil {
		return nil, err
	}
	return &membersResponse{Chunk: events}, nil
}

type joinedMember struct {
	DisplayName string `json:"display_name,omitempty"`
	AvatarURL   string `json:"avatar_url,omitempty"`
}

type joinedMembersResponse struct {
	Joined map[matrix.UserID]joinedMember `json:"joined"`
}

// joinedMembers lists who is in a room, with their profiles.
//
// Spec: GET /_matrix/client/v3/rooms/{roomId}/joined_members
func (a *API) joinedMembers(ctx context.Context, c *httpapi.Caller, q *stateRequest) (*joinedMembersResponse, error) {
	profiles, err := a.rooms.JoinedMembers(ctx, c.User, q.RoomID)
	if err != nil {
		return nil, err
	}
	out := &joinedMembersResponse{Joined: make(map[matrix.UserID]joinedMember, len(profiles))}
	for user, p := range profiles {
		out.Joined[user] = joinedMember(p)
	}
	return out, nil
}
