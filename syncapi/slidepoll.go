package syncapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// slidingRoutes registers the endpoints of sliding sync.
func (a *API) slidingRoutes(r *httpapi.Router) {
	r.Handle(http.MethodPost, "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", httpapi.Raw(a.slideUnstable), httpapi.GuestsToo())
	r.Handle(http.MethodPost, "/_matrix/client/v4/sync", httpapi.Raw(a.slideStable), httpapi.GuestsToo())
}

// slideUnstable serves sliding sync in the form that clients have used since 2024.
//
// Extension: POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync
func (a *API) slideUnstable(w http.ResponseWriter, r *http.Request, c *httpapi.Caller) error {
	return a.serveSlide(w, r, c, func(body []byte) (*slidingAsk, error) { return parseUnstable(r.URL.Query(), body, c.User) })
}

// slideStable serves sliding sync in the form that was accepted.
//
// Extension: POST /_matrix/client/v4/sync
func (a *API) slideStable(w http.ResponseWriter, r *http.Request, c *httpapi.Caller) error {
	return a.serveSlide(w, r, c, parseStable)
}

func (a *API) serveSlide(w http.ResponseWriter, r *http.Request, c *httpapi.Caller, parse func([]byte) (*slidingAsk, error)) error {
	body, err := httpapi.ReadBody(w, r)
	if err != nil {
		return err
	}
	if len(body) == 0 {
		body = []byte("{}")
	}
	if err := httpapi.CheckObject(body); err != nil {
		return err
	}
	ask, err := parse(body)
	if err != nil {
		return err
	}
	p, err := a.prepareSlide(r.Context(), c, ask)
	if err != nil {
		return err
	}
	return a.servePoll(w, r, p)
}

// prepareSlide reads where a client is and how long it waits.
func (a *API) prepareSlide(ctx context.Context, c *httpapi.Caller, ask *slidingAsk) (*poll, error) {
	var from position
	var err error
	p := &poll{question: question{viewer: roomserver.Viewer{User: c.User, Device: c.Device}}, now: a.now}
	if ask.pos != "" { // the first answer is given at once
		if from, err = parsePosition(ask.pos); err != nil {
			return nil, err
		}
		p.until = a.now().Add(waitOf(ask.timeout))
	}
	if p.presence, err = presenceWish(ask.presence); err != nil {
		return nil, err
	}
	a.alive(ctx, &p.question)
	p.look = func(ctx context.Context) (answer, error) { return a.slideNow(ctx, p.viewer, ask, from) }
	p.give = func(ctx context.Context, n answer) error {
		return a.keepAnswer(ctx, p.viewer, ask.conn, from.generation, from.generation, n.(*slid))
	}
	return p, nil
}

// slideNow answers a request as of now, and measures that.
func (a *API) slideNow(ctx context.Context, v roomserver.Viewer, ask *slidingAsk, from position) (*slid, error) {
	began := time.Now()
	n, err := a.slideOnce(ctx, v, ask, from)
	if err != nil {
		return nil, err
	}
	kind := "sliding news"
	switch {
	case from == (position{}):
		kind = "sliding initial"
	case n.empty():
		kind = "sliding nothing"
	}
	readSeconds.WithLabelValues(kind).Observe(time.Since(began).Seconds())
	return n, nil
}

// keepAnswer keeps what the client knows with an answer, where that is not what it knew. has is the generation that
// the client is known to have, and from the one that the answer follows.
func (a *API) keepAnswer(ctx context.Context, v roomserver.Viewer, conn string, has, from int64, n *slid) error {
	key := connectionKey{v.User, v.Device, conn}
	if !n.changed {
		a.noteUsed(ctx, key, n.conn)
		return nil
	}
	if err := a.keepConnection(ctx, key, has, from, n.conn); err != nil {
		return err
	}
	n.pos.generation = n.conn.generation
	return nil
}

// DevicesGone forgets the connections of devices: a hook for package account.
func (a *API) DevicesGone(tx *store.Tx, user matrix.UserID, devices []matrix.DeviceID) error {
	if err := deleteConnections(tx, user, devices); err != nil {
		return fmt.Errorf("delete the connections of %s: %w", user, err)
	}
	return nil
}

// sweepEach is how often connections are looked for that nobody uses any more.
const sweepEach = 6 * time.Hour

// sweepConnections deletes connections that nobody uses any more, until ctx ends.
func (a *API) sweepConnections(ctx context.Context) error {
	tick := time.NewTicker(sweepEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		before := a.now().Add(-connectionAge).UnixMilli()
		err := a.db.Update(ctx, func(tx *store.Tx) error { return deleteUnused(tx, before) })
		if err != nil && ctx.Err() == nil {
			a.log.Warn("delete connections that nobody uses", "error", err)
		}
	}
}
