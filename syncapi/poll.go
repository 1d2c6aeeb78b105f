package syncapi

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"astrocyte/httpapi"
	"astrocyte/matrix"
)

const (
	// timeoutMost bounds how long a client may wait.
	timeoutMost = 5 * time.Minute
	// lookEvery is how often a sleeper looks by itself, about: a hint may be lost.
	lookEvery = 15 * time.Second
	// admittedFor is for how long an access token is believed to be good of which nothing was heard.
	admittedFor = time.Minute
)

// answer is what a poll is answered with.
type answer interface {
	httpapi.Appender
	empty() bool // there is no news in it
}

// poll is one request that waits for news: of /sync, or of sliding sync.
type poll struct {
	question
	look func(ctx context.Context) (answer, error) // looks once
	give func(ctx context.Context, n answer) error // keeps what the client will know; nil: nothing is kept

	until  time.Time // zero: it does not wait
	waiter *waiter
	now    func() time.Time
	waited bool // the access token was looked at some time ago
	last   bool // the next answer is given, whatever it says

	admitted time.Time // when the access token was looked at last
}

// left is how long the request may still wait.
func (p *poll) left() time.Duration { return p.until.Sub(p.now()) }

// waitOf is how long a client waits that would like to wait so many milliseconds.
func waitOf(timeout int64) time.Duration {
	return time.Duration(min(timeout, timeoutMost.Milliseconds())) * time.Millisecond
}

// servePoll answers a poll. Where that takes longer, the connection is parked.
func (a *API) servePoll(w http.ResponseWriter, r *http.Request, p *poll) error {
	a.begin(p)
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

// begin begins to listen: before the first look, so that what comes between is not missed.
func (a *API) begin(p *poll) {
	p.waiter, p.admitted = a.waker.listen(p.viewer.User), a.now()
}

// await looks for what is new until there is something, or the time is over. Before is the time until which it
// waits: then there is no answer yet, which is nil. The zero time is none.
func (a *API) await(ctx context.Context, p *poll, admitted func(context.Context) error, before time.Time) (answer, error) {
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
func (a *API) attempt(ctx context.Context, p *poll, admitted func(context.Context) error) (answer, error) {
	now := a.now()
	doubtful := p.waited && (p.waiter.doubted.Swap(false) || now.Sub(p.admitted) >= admittedFor)
	if doubtful {
		if err := admitted(ctx); err != nil {
			return nil, err
		}
		p.admitted = now
	}
	n, err := p.look(ctx)
	if err != nil {
		if refused := admitted(ctx); refused != nil { // what was to be read may have gone with the device
			return nil, refused
		}
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
	if p.give != nil {
		if err := p.give(ctx, n); err != nil {
			return nil, err
		}
	}
	answers.WithLabelValues(why).Inc()
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
