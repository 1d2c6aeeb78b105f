package syncapi

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

const (
	// timeoutMost bounds how long a client may wait.
	timeoutMost = 5 * time.Minute
	// lookEvery is how often a sleeper looks by itself, about: a hint may be lost.
	lookEvery = 15 * time.Second
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
	n, err := a.poll(r.Context(), c, req, func(ctx context.Context) error { return a.stillAdmitted(ctx, r) })
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, n)
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

// stillAdmitted says whether the access token of a request that has waited is still good.
func (a *API) stillAdmitted(ctx context.Context, r *http.Request) error {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") {
		token = r.URL.Query().Get("access_token")
	}
	_, err := a.admitted(ctx, token, r)
	return err
}

// admitted finds the caller of an access token. Who may not be told what is new is refused.
func (a *API) admitted(ctx context.Context, token string, r *http.Request) (*httpapi.Caller, error) {
	c, err := a.authenticate(ctx, token, r)
	if err == nil && c.Locked {
		err = matrix.E(matrix.CodeUserLocked, "this account is locked").With("soft_logout", true)
	}
	return c, err
}

// poll answers a request. One that has waited is asked again whether it may be answered.
func (a *API) poll(ctx context.Context, c *httpapi.Caller, req *syncRequest, admitted func(context.Context) error) (*news, error) {
	p, err := a.prepare(ctx, c, req)
	if err != nil {
		return nil, err
	}
	p.waiter = a.waker.listen(c.User) // before the reading: what comes between is not missed
	defer p.waiter.stop()
	for waited := false; ; waited = true {
		n, err := a.look(ctx, &p.question)
		if err != nil {
			return nil, err
		}
		a.alive(ctx, &p.question)
		switch {
		case !n.empty():
			answers.WithLabelValues("news").Inc()
		case p.wait(ctx):
			if err := admitted(ctx); err != nil {
				return nil, err
			}
			continue
		default:
			answers.WithLabelValues("timeout").Inc()
			waited = waited || !p.until.IsZero()
		}
		if waited {
			err = admitted(ctx)
		}
		return n, err
	}
}

// poll is one request that waits for news.
type poll struct {
	question
	until  time.Time
	waiter *waiter
	now    func() time.Time
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
	p.until = a.now().Add(min(time.Duration(min(req.timeout, timeoutMost.Milliseconds()))*time.Millisecond, timeoutMost))
	if p.initial || p.fullState {
		p.until = time.Time{} // such an answer is given at once
	}
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

// wait sleeps until there may be news; false: there will be none in time.
func (p *poll) wait(ctx context.Context) bool {
	left := p.until.Sub(p.now())
	if left <= 0 {
		return false
	}
	// Each sleeper looks at a time of its own, so that they do not all look at once.
	look := lookEvery + rand.N(lookEvery/3)
	timer := time.NewTimer(min(left, look))
	defer timer.Stop()
	select {
	case <-p.waiter.woken:
		return true
	case <-timer.C:
		return left > look
	case <-httpapi.Stopping(ctx):
	case <-ctx.Done():
	}
	return false
}
