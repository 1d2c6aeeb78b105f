package clientapi

import (
	"context"
	"encoding/json"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/search"
)

func (a *API) searchRoutes(r *httpapi.Router) {
	v3(r, "POST", "/search", httpapi.Authed(a.searchEvents), httpapi.Limit("search"))
}

// The bounds of a search.
const (
	searchDefault   = 10
	searchMost      = 100
	contextDefault  = 5
	contextMost     = 50
	searchedKeys    = 3
	searchGroupings = 2
)

type searchRequest struct {
	Next       string `query:"next_batch"`
	Categories struct {
		Events *eventCriteria `json:"room_events"`
	} `json:"search_categories" required:"true"`
}

type eventCriteria struct {
	Term         *string         `json:"search_term"`
	Keys         []string        `json:"keys"`
	Filter       json.RawMessage `json:"filter"`
	OrderBy      string          `json:"order_by"`
	Context      *contextWish    `json:"event_context"`
	IncludeState bool            `json:"include_state"`
	Groupings    struct {
		By []struct {
			Key string `json:"key"`
		} `json:"group_by"`
	} `json:"groupings"`
}

type contextWish struct {
	Before   *int `json:"before_limit"`
	After    *int `json:"after_limit"`
	Profiles bool `json:"include_profile"`
}

type searchResponse struct {
	Categories searchedCategories `json:"search_categories"`
}

type searchedCategories struct {
	Events *searchedEvents `json:"room_events,omitempty"`
}

type searchedEvents struct {
	Count      int                                         `json:"count"`
	Highlights []string                                    `json:"highlights"`
	Results    []*searchedEvent                            `json:"results"`
	State      map[matrix.RoomID][]*roomserver.ClientEvent `json:"state,omitempty"`
	Groups     map[string]map[string]*searchedGroup        `json:"groups,omitempty"`
	Next       string                                      `json:"next_batch,omitempty"`
}

type searchedEvent struct {
	Rank    float64                 `json:"rank"`
	Result  *roomserver.ClientEvent `json:"result"`
	Context *searchedContext        `json:"context,omitempty"`
}

type searchedContext struct {
	Start    string                            `json:"start"`
	End      string                            `json:"end"`
	Profiles map[matrix.UserID]searchedProfile `json:"profile_info,omitempty"`
	Before   []*roomserver.ClientEvent         `json:"events_before"`
	After    []*roomserver.ClientEvent         `json:"events_after"`
}

type searchedProfile struct {
	DisplayName string `json:"displayname,omitempty"`
	AvatarURL   string `json:"avatar_url,omitempty"`
}

type searchedGroup struct {
	Next    string           `json:"next_batch,omitempty"`
	Order   int              `json:"order"`
	Results []matrix.EventID `json:"results"`
}

// searchEvents finds messages, room names and topics by their text.
//
// Spec: POST /_matrix/client/v3/search
func (a *API) searchEvents(ctx context.Context, c *httpapi.Caller, q *searchRequest) (*searchResponse, error) {
	w := q.Categories.Events
	if w == nil {
		return &searchResponse{}, nil
	}
	wanted, err := w.query(q.Next)
	if err != nil {
		return nil, err
	}
	if wanted.Viewer, err = a.reader(ctx, c); err != nil {
		return nil, err
	}
	found, err := a.search.Find(ctx, *wanted)
	if err != nil {
		return nil, err
	}
	out := &searchedEvents{
		Count: found.Count, Highlights: orEmpty(found.Highlights), Results: []*searchedEvent{}, Next: found.Next, Groups: w.groups(found),
	}
	for _, h := range found.Hits {
		one := &searchedEvent{Rank: h.Rank, Result: h.Event}
		if w.Context != nil {
			if one.Context, err = a.around(ctx, wanted.Viewer, w.Context, h.Event); err != nil {
				return nil, err
			}
		}
		out.Results = append(out.Results, one)
	}
	if w.IncludeState {
		out.State, err = a.statesOf(ctx, wanted.Viewer, found.Hits)
	}
	return &searchResponse{searchedCategories{out}}, err
}

// query checks what is asked for.
func (w *eventCriteria) query(next string) (*search.Query, error) {
	if w.Term == nil {
		return nil, matrix.MissingParam("search_term is missing")
	}
	q := &search.Query{Text: *w.Term, Keys: w.Keys, Next: next, Limit: searchDefault}
	switch w.OrderBy {
	case "", "rank":
	case "recent":
		q.Recent = true
	default:
		return nil, matrix.InvalidParam("order_by must be rank or recent")
	}
	if len(w.Keys) > searchedKeys {
		return nil, matrix.InvalidParam("there are not more than %d keys", searchedKeys)
	}
	if len(w.Filter) > 0 && string(w.Filter) != "null" {
		filter, err := account.ParseRoomEventFilter(w.Filter)
		if err != nil {
			return nil, err
		}
		q.Filter = *filter
	}
	if q.Filter.Limit != nil {
		q.Limit = min(max(*q.Filter.Limit, 1), searchMost)
	}
	if w.Context != nil {
		if err := w.Context.check(); err != nil {
			return nil, err
		}
	}
	if len(w.Groupings.By) > searchGroupings {
		return nil, matrix.InvalidParam("results cannot be grouped by more than %d keys", searchGroupings)
	}
	for _, g := range w.Groupings.By {
		if g.Key != "room_id" && g.Key != "sender" {
			return nil, matrix.InvalidParam("results can be grouped by room_id and by sender")
		}
	}
	return q, nil
}

func (w *contextWish) check() error {
	for _, limit := range []*int{w.Before, w.After} {
		if limit != nil && *limit < 0 {
			return matrix.InvalidParam("the limits of event_context cannot be less than 0")
		}
	}
	return nil
}

// groups sorts the results of a page by room or sender; the order of the groups is that of their first
// results.
func (w *eventCriteria) groups(found *search.Result) map[string]map[string]*searchedGroup {
	if len(w.Groupings.By) == 0 {
		return nil
	}
	all := make(map[string]map[string]*searchedGroup)
	for _, by := range w.Groupings.By {
		groups := make(map[string]*searchedGroup)
		for _, h := range found.Hits {
			value := string(h.Event.Sender())
			if by.Key == "room_id" {
				value = string(h.Event.RoomID())
			}
			g := groups[value]
			if g == nil {
				g = &searchedGroup{Order: len(groups) + 1, Next: found.NextIn(by.Key, value)}
				groups[value] = g
			}
			g.Results = append(g.Results, h.Event.ID())
		}
		all[by.Key] = groups
	}
	return all
}

// around shows what was said before and after a result.
func (a *API) around(ctx context.Context, v roomserver.Viewer, w *contextWish, e *roomserver.ClientEvent) (*searchedContext, error) {
	limit := func(n *int) int {
		if n == nil {
			return contextDefault
		}
		return min(*n, contextMost)
	}
	s, err := a.rooms.Between(ctx, v, e.RoomID(), e.ID(), limit(w.Before), limit(w.After), nil)
	if err != nil {
		return nil, err
	}
	out := &searchedContext{Start: s.Start, End: s.End, Before: orEmpty(s.Before), After: orEmpty(s.After)}
	if !w.Profiles {
		return out, nil
	}
	profiles, err := a.rooms.ProfilesAt(ctx, s)
	out.Profiles = make(map[matrix.UserID]searchedProfile, len(profiles))
	for user, p := range profiles {
		out.Profiles[user] = searchedProfile(p)
	}
	return out, err
}

// statesOf shows the states of the rooms of a page as they are now, or were when the viewer left.
func (a *API) statesOf(ctx context.Context, v roomserver.Viewer, hits []search.Hit) (map[matrix.RoomID][]*roomserver.ClientEvent, error) {
	out := make(map[matrix.RoomID][]*roomserver.ClientEvent)
	for _, h := range hits {
		id := h.Event.RoomID()
		if _, done := out[id]; done {
			continue
		}
		state, err := a.rooms.CurrentState(ctx, v, id)
		if err != nil {
			return nil, err
		}
		out[id] = orEmpty(state)
	}
	return out, nil
}
