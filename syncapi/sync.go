package syncapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// syncRequest is what a client asks of /sync.
type syncRequest struct {
	filter      string
	since       string
	fullState   bool
	setPresence string
	timeout     int64 // milliseconds
	after       stateForm
}

// sync tells what is new since a token, and waits for it if there is nothing.
//
// Spec: GET /_matrix/client/v3/sync
func (a *API) sync(w http.ResponseWriter, r *http.Request, c *httpapi.Caller) error {
	req, err := parseSync(r.URL.Query())
	if err != nil {
		return err
	}
	p, err := a.prepare(r.Context(), c, req)
	if err != nil {
		return err
	}
	return a.servePoll(w, r, p)
}

// parseSync reads the parameters of /sync.
func parseSync(query url.Values) (*syncRequest, error) {
	q := &syncRequest{filter: query.Get("filter"), since: query.Get("since"), setPresence: query.Get("set_presence")}
	var after, unstable bool
	for name, into := range map[string]*bool{
		"full_state": &q.fullState, "use_state_after": &after, "org.matrix.msc4222.use_state_after": &unstable,
	} {
		switch query.Get(name) {
		case "true", "1":
			*into = true
		case "false", "0", "":
		default:
			return nil, matrix.InvalidParam("%s must be true or false", name)
		}
	}
	switch {
	case after:
		q.after = stateAtEnd
	case unstable:
		q.after = stateAtEndUnstable
	}
	if text := query.Get("timeout"); text != "" {
		var err error
		if q.timeout, err = strconv.ParseInt(text, 10, 64); err != nil || q.timeout < 0 {
			return nil, matrix.InvalidParam("timeout must be a number of milliseconds")
		}
	}
	return q, nil
}

// prepare reads a request.
func (a *API) prepare(ctx context.Context, c *httpapi.Caller, req *syncRequest) (*poll, error) {
	p := &poll{question: question{
		viewer: roomserver.Viewer{User: c.User, Device: c.Device}, fullState: req.fullState, after: req.after,
	}, now: a.now}
	var err error
	if p.initial = req.since == ""; !p.initial {
		if p.since, err = ParseToken(req.since); err != nil {
			return nil, err
		}
		p.shown, p.follows = p.since, p.since
	}
	if p.presence, err = presenceWish(req.setPresence); err != nil {
		return nil, err
	}
	a.alive(ctx, &p.question)
	if p.filter, err = a.filterOf(ctx, c.User, req.filter); err != nil {
		return nil, err
	}
	if !p.initial && !p.fullState { // such an answer is given at once
		p.until = a.now().Add(waitOf(req.timeout))
	}
	p.look = func(ctx context.Context) (answer, error) { return a.look(ctx, &p.question) }
	return p, nil
}

// look reads what is new. Where there is nothing for the client, the question moves on to the position
// up to which that is known.
func (a *API) look(ctx context.Context, q *question) (*news, error) {
	began := time.Now()
	n, err := a.read(ctx, *q)
	if err != nil {
		return nil, err
	}
	kind := "news"
	switch {
	case q.initial:
		kind = "initial"
	case n.empty():
		kind = "nothing"
		q.since = n.next
	}
	readSeconds.WithLabelValues(kind).Observe(time.Since(began).Seconds())
	return n, nil
}
