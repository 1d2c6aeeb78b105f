package clientapi

import (
	"context"
	"maps"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/push"
)

func (a *API) threadRoutes(r *httpapi.Router) {
	if !a.push.Threads() {
		return
	}
	const of = "/_matrix/client/unstable/io.element.msc4306/rooms/{roomID}/thread/{eventID}/subscription"
	limit := httpapi.Limit("ephemeral")
	r.Handle("GET", of, httpapi.Authed(a.threadSubscription))
	r.Handle("PUT", of, httpapi.Authed(a.subscribeToThread), limit)
	r.Handle("DELETE", of, httpapi.Authed(a.unsubscribeFromThread), limit)
	r.Handle("GET", "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions", httpapi.Authed(a.threadSubscriptions))
}

// features are the proposals that are served by their unstable names, with those that a setting turns on.
func (a *API) features() map[string]bool {
	if !a.push.Threads() {
		return unstableFeatures
	}
	all := maps.Clone(unstableFeatures)
	all["org.matrix.msc4306"] = true
	return all
}

type threadRequest struct {
	RoomID matrix.RoomID  `path:"roomID"`
	Thread matrix.EventID `path:"eventID"`
}

type subscriptionResponse struct {
	Automatic bool `json:"automatic"`
}

// threadSubscription tells whether the caller is subscribed to a thread.
//
// Extension: GET /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription
func (a *API) threadSubscription(ctx context.Context, c *httpapi.Caller, q *threadRequest) (*subscriptionResponse, error) {
	s, err := a.push.Subscription(ctx, viewer(c), q.RoomID, q.Thread)
	if err != nil {
		return nil, err
	}
	return &subscriptionResponse{s.Automatic}, nil
}

type subscribeRequest struct {
	threadRequest
	Cause matrix.EventID `json:"automatic"`
}

// subscribeToThread subscribes the caller to a thread. A client that does so by itself names the event that
// made it do so.
//
// Extension: PUT /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription
func (a *API) subscribeToThread(ctx context.Context, c *httpapi.Caller, q *subscribeRequest) (*nothing, error) {
	return nil, a.push.Subscribe(ctx, viewer(c), q.RoomID, q.Thread, q.Cause)
}

// unsubscribeFromThread ends the subscription of the caller to a thread.
//
// Extension: DELETE /_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription
func (a *API) unsubscribeFromThread(ctx context.Context, c *httpapi.Caller, q *threadRequest) (*nothing, error) {
	return nil, a.push.Unsubscribe(ctx, viewer(c), q.RoomID, q.Thread)
}

type subscriptionsRequest struct {
	Dir   string `query:"dir" required:"true"`
	From  string `query:"from"`
	To    string `query:"to"`
	Limit *int   `query:"limit"`
}

type subscriptionsResponse struct {
	Subscribed   map[matrix.RoomID]map[matrix.EventID]followedThread `json:"subscribed,omitempty"`
	Unsubscribed map[matrix.RoomID]map[matrix.EventID]droppedThread  `json:"unsubscribed,omitempty"`
	End          string                                              `json:"end,omitempty"`
}

type followedThread struct {
	Automatic bool  `json:"automatic"`
	Bump      int64 `json:"bump_stamp"`
}

type droppedThread struct {
	Bump int64 `json:"bump_stamp"`
}

const subscriptionsDefault = 100

// threadSubscriptions lists the threads that the caller is subscribed to, or was, the one that changed last
// first.
//
// Extension: GET /_matrix/client/unstable/io.element.msc4308/thread_subscriptions
func (a *API) threadSubscriptions(ctx context.Context, c *httpapi.Caller, q *subscriptionsRequest) (*subscriptionsResponse, error) {
	if q.Dir != "b" {
		return nil, matrix.InvalidParam("dir must be b")
	}
	limit := subscriptionsDefault
	if q.Limit != nil {
		if limit = min(*q.Limit, pageMost); limit < 1 {
			return nil, matrix.InvalidParam("limit must be greater than zero")
		}
	}
	var to int64
	if q.To != "" {
		var err error
		if to, err = a.position(q.To); err != nil {
			return nil, err
		}
	}
	page, next, err := a.push.SubscriptionsBack(ctx, c.User, q.From, to, limit)
	if err != nil {
		return nil, err
	}
	return subscriptionsOf(page, next), nil
}

func subscriptionsOf(page []push.Subscription, next string) *subscriptionsResponse {
	out := &subscriptionsResponse{
		Subscribed:   make(map[matrix.RoomID]map[matrix.EventID]followedThread),
		Unsubscribed: make(map[matrix.RoomID]map[matrix.EventID]droppedThread),
		End:          next,
	}
	for _, s := range page {
		if s.Subscribed {
			put(out.Subscribed, s, followedThread{s.Automatic, s.Pos})
		} else {
			put(out.Unsubscribed, s, droppedThread{s.Pos})
		}
	}
	return out
}

func put[T any](in map[matrix.RoomID]map[matrix.EventID]T, s push.Subscription, what T) {
	if in[s.Room] == nil {
		in[s.Room] = make(map[matrix.EventID]T)
	}
	in[s.Room][s.Thread] = what
}
