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
	// admittedFor is for how long an access token is believed to be good of which nothing was heard.
	admittedFor = time.Minute
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

// sync tells what is new since a token, and waits for it if there is nothing. Where that takes longer, the
// connection is parked.
//
// Spec: GET /_matrix/client/v3/sync
func (a *API) sync(w http.ResponseWriter, r *http.Request, c *httpapi.Caller) error {
	req, err := parseSync(r.URL.Query())
	if err != nil {
		return err
	}
	p, err := a.begin(r.Context(), c, req)
	if err != nil {
		return err
	}
	token := tokenOf(r)
	admitted := func(ctx context.Context, r *http.Request) error {
		_, err := a.admitted(ctx, token, r)
		return err
	}
	n, err := a.await(r.Context(), p, func(ctx context.Context) error { return admitted(ctx, r) }, a.now().Add(a.parkAfter))
	if err == nil && n == nil {
		return &httpapi.Later{
			Park: func(d *httpapi.Detached) { a.park(p, d, admitted) },
			Wait: func(w http.ResponseWriter, r *http.Request) error {
				defer p.waiter.stop()
				n, err := a.await(r.Context(), p, func(ctx context.Context) error { return admitted(ctx, r) }, time.Time{})
				if err != nil {
					return err
				}
				return httpapi.WriteJSON(w, r, http.StatusOK, n)
			},
		}
	}
	p.waiter.stop()
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, n)
}

// tokenOf is the access token of a request.
func tokenOf(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") {
		token = r.URL.Query().Get("access_token")
	}
	return strings.Clone(token) // not a part of the request, which may go
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
	_, err := a.admitted(ctx, tokenOf(r), r)
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
	p, err := a.begin(ctx, c, req)
	if err != nil {
		return nil, err
	}
	defer p.waiter.stop()
	return a.await(ctx, p, admitted, time.Time{})
}

// begin reads a request and begins to listen: before the first reading, so that what comes between is not missed.
func (a *API) begin(ctx context.Context, c *httpapi.Caller, req *syncRequest) (*poll, error) {
	p, err := a.prepare(ctx, c, req)
	if err != nil {
		return nil, err
	}
	p.waiter, p.admitted = a.waker.listen(c.User), a.now()
	return p, nil
}

// await looks for what is new until there is something, or the time is over. Before is the time until which it
// waits: then there is no answer yet, which is nil. The zero time is none.
func (a *API) await(ctx context.Context, p *poll, admitted func(context.Context) error, before time.Time) (*news, error) {
	for {
		n, err := a.attempt(ctx, p, admitted)
		if n != nil || err != nil {
			return n, err
		}
		switch p.wait(ctx, before) {
		case wakesAgain:
			p.waited = true
		case waitsOn:
			p.waited = true
			return nil, nil
		case waitIsOver:
			p.last = true
		}
	}
}

// attempt looks once, as is done first and whenever there may be news. It gives nil where the request waits on.
// One that has waited is asked again whether it may be answered: before it is, and now and then.
func (a *API) attempt(ctx context.Context, p *poll, admitted func(context.Context) error) (*news, error) {
	now := a.now()
	doubtful := p.waited && (p.waiter.doubted.Swap(false) || now.Sub(p.admitted) >= admittedFor)
	if doubtful {
		if err := admitted(ctx); err != nil {
			return nil, err
		}
		p.admitted = now
	}
	n, err := a.look(ctx, &p.question)
	if err != nil {
		return nil, err
	}
	a.alive(ctx, &p.question)
	why := "news"
	if n.empty() {
		if why = "timeout"; !p.last && p.left() > 0 {
			return nil, nil
		}
	}
	if p.waited && !doubtful {
		if err := admitted(ctx); err != nil {
			return nil, err
		}
	}
	answers.WithLabelValues(why).Inc()
	return n, nil
}

// poll is one request that waits for news.
type poll struct {
	question
	until  time.Time
	waiter *waiter
	now    func() time.Time
	waited bool // the access token was looked at some time ago
	last   bool // the next answer is given, whatever it says

	admitted time.Time // when the access token was looked at last
}

// left is how long the request may still wait.
func (p *poll) left() time.Duration { return p.until.Sub(p.now()) }

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

// What ends a sleep.
type awakening int

const (
	wakesAgain awakening = iota // there may be news
	waitIsOver                  // there will be none in time
	waitsOn                     // there may be, but not before the time asked about
)

// nextLook is how long a sleeper sleeps before it looks by itself. Each does so at a time of its own, so that they
// do not all look at once.
func nextLook() time.Duration { return lookEvery + rand.N(lookEvery/3) }

// wait sleeps until there may be news, or until before, if that is a time.
func (p *poll) wait(ctx context.Context, before time.Time) awakening {
	sleep := min(p.left(), nextLook())
	why := wakesAgain
	if !before.IsZero() && before.Sub(p.now()) < sleep {
		sleep, why = before.Sub(p.now()), waitsOn
	}
	timer := time.NewTimer(sleep)
	defer timer.Stop()
	select {
	case <-p.waiter.woken:
		return wakesAgain
	case <-timer.C:
		return why
	case <-httpapi.Stopping(ctx):
	case <-ctx.Done():
	}
	return waitIsOver
}
