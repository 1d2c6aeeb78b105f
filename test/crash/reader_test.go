package crash

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"astrocyte/testkit/story"
)

// reader reads all rooms by long poll or by WebSocket, and keeps what it saw. What it is told is joined to
// what it has: a gap is filled by /messages.
type reader struct {
	user   *account
	socket bool

	since string
	seen  map[string][]string // by room: events, in the order of the timeline
	known map[string]bool
	fault error
}

func newReader(u *account, socket bool) *reader {
	return &reader{user: u, socket: socket, seen: map[string][]string{}, known: map[string]bool{}}
}

// run reads until the server is gone.
func (r *reader) run(ctx context.Context) {
	if r.socket {
		r.listen(ctx)
		return
	}
	for ctx.Err() == nil && r.poll(ctx, 5000) == nil {
	}
}

// poll asks once.
func (r *reader) poll(ctx context.Context, wait int) error {
	q := url.Values{"timeout": {fmt.Sprint(wait)}, "filter": {`{"room":{"timeline":{"limit":100}}}`}}
	if r.since != "" {
		q.Set("since", r.since)
	}
	a, err := r.user.call(ctx, "GET", "/sync?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK {
		r.fault = fmt.Errorf("sync from %q: status %d: %s", r.since, a.Status, a)
		return r.fault
	}
	if err := r.take(ctx, a.JSON); err != nil {
		return err
	}
	r.since = a.At("next_batch").Text()
	return nil
}

func (r *reader) listen(ctx context.Context) {
	conn, err := dial(ctx, r.user, r.since)
	if err != nil {
		if ctx.Err() == nil {
			r.fault = fmt.Errorf("open a socket: %w", err)
		}
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	for ctx.Err() == nil {
		f, err := readFrame(conn)
		if err != nil {
			return
		}
		switch f.At("type").Text() {
		case "sync":
			if err := r.take(ctx, f.At("delta")); err != nil {
				return
			}
			r.since = f.At("token").Text()
			err = conn.WriteJSON(map[string]any{"type": "ack", "token": r.since})
		case "ping":
			err = conn.WriteJSON(map[string]any{"type": "pong"})
		case "error":
			r.fault = fmt.Errorf("over the socket: %s", f)
			return
		}
		if err != nil {
			return
		}
	}
}

// take joins an answer to what was seen. All of it or nothing: a fill that the crash cut off is done anew.
func (r *reader) take(ctx context.Context, delta story.JSON) error {
	news := map[string][]string{}
	for _, room := range delta.At("rooms", "join").Keys() {
		timeline := delta.At("rooms", "join", room, "timeline")
		events := timeline.At("events").Texts("event_id")
		if timeline.At("limited").Bool() && len(r.seen[room]) > 0 {
			before, err := r.fill(ctx, room, timeline.At("prev_batch").Text())
			if err != nil {
				return err
			}
			events = append(before, events...)
		}
		news[room] = events
	}
	for room, events := range news {
		for _, e := range events {
			if r.known[e] {
				r.fault = fmt.Errorf("%s came twice in %s", e, room)
				return r.fault
			}
			r.known[e] = true
		}
		r.seen[room] = append(r.seen[room], events...)
	}
	return nil
}

// fill reads a room backward from a token to what was seen last, and gives what is between, oldest first.
func (r *reader) fill(ctx context.Context, room, from string) ([]string, error) {
	last := r.seen[room][len(r.seen[room])-1]
	var found []string
	for from != "" {
		q := url.Values{"dir": {"b"}, "limit": {"100"}, "from": {from}}
		page, err := r.user.call(ctx, "GET", story.Path("rooms", room, "messages")+"?"+q.Encode(), nil)
		if err != nil {
			return nil, err
		}
		for _, e := range page.At("chunk").Texts("event_id") {
			if e == last {
				slices.Reverse(found)
				return found, nil
			}
			found = append(found, e)
		}
		from = page.At("end").Text()
	}
	r.fault = fmt.Errorf("before a gap in %s, %s is not found any more", room, last)
	return nil, r.fault
}
