package syncapi

import (
	"context"
	"math/rand/v2"
	"time"

	"astrocyte/ephemeral"
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

type syncRequest struct {
	Filter        string `query:"filter"`
	Since         string `query:"since"`
	FullState     bool   `query:"full_state"`
	SetPresence   string `query:"set_presence"`
	Timeout       int64  `query:"timeout"`
	StateAfter    bool   `query:"use_state_after"`
	StateAfterOld bool   `query:"org.matrix.msc4222.use_state_after"`
}

// sync tells what is new since a token, and waits for it if there is nothing.
//
// Spec: GET /_matrix/client/v3/sync
func (a *API) sync(ctx context.Context, c *httpapi.Caller, req *syncRequest) (*news, error) {
	p, err := a.prepare(ctx, c, req)
	if err != nil {
		return nil, err
	}
	p.waiter = a.waker.listen(c.User) // before the reading: what comes between is not missed
	defer p.waiter.stop()
	for {
		n, err := a.look(ctx, &p.question)
		if err != nil {
			return nil, err
		}
		switch {
		case !n.empty():
			answers.WithLabelValues("news").Inc()
			return n, nil
		case !p.wait(ctx):
			answers.WithLabelValues("timeout").Inc()
			return n, nil
		}
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
	p := &poll{question: question{viewer: roomserver.Viewer{User: c.User, Device: c.Device}, fullState: req.FullState}, now: a.now}
	var err error
	if p.initial = req.Since == ""; !p.initial {
		if p.since, err = ParseToken(req.Since); err != nil {
			return nil, err
		}
		p.shown, p.follows = p.since, p.since
	}
	if err := a.setPresence(c.User, req.SetPresence); err != nil {
		return nil, err
	}
	if req.Timeout < 0 {
		return nil, matrix.InvalidParam("timeout cannot be less than 0")
	}
	if p.filter, err = a.filterOf(ctx, c.User, req.Filter); err != nil {
		return nil, err
	}
	switch {
	case req.StateAfter:
		p.after = stateAtEnd
	case req.StateAfterOld:
		p.after = stateAtEndUnstable
	}
	p.until = a.now().Add(min(time.Duration(min(req.Timeout, timeoutMost.Milliseconds()))*time.Millisecond, timeoutMost))
	if p.initial || p.fullState {
		p.until = time.Time{} // such an answer is given at once
	}
	return p, nil
}

// setPresence notes that the user is there, unless the client does not want that.
func (a *API) setPresence(user matrix.UserID, presence string) error {
	state := ephemeral.State(presence)
	switch state {
	case "":
		state = ephemeral.Online
	case ephemeral.Online, ephemeral.Unavailable:
	case ephemeral.Offline:
		return nil
	default:
		return matrix.InvalidParam("set_presence must be online, offline or unavailable")
	}
	if a.ephemeral != nil {
		a.ephemeral.Seen(user, state)
	}
	return nil
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
