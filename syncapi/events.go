package syncapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"astrocyte/bus"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// eventsMost bounds the events of one answer.
const eventsMost = 100

// eventsRequest is what a client asks of /events.
type eventsRequest struct {
	from string
	room matrix.RoomID // empty: all rooms that the user is in
	wait time.Duration
}

// eventsResponse are events that came after a token.
type eventsResponse struct {
	Start string                    `json:"start"`
	End   string                    `json:"end"`
	Chunk []*roomserver.ClientEvent `json:"chunk"`
}

// events tells what came into the caller's rooms after a token, or into one room that they may read without being
// in it, and waits for it if there is nothing. It is deprecated but for those who peek, so it does without the
// waker: whoever waits looks when any room has news, and by themselves.
//
// Spec: GET /_matrix/client/v3/events
func (a *API) events(w http.ResponseWriter, r *http.Request, c *httpapi.Caller) error {
	q, err := parseEvents(r)
	if err != nil {
		return err
	}
	news := a.waker.bus.Subscribe(bus.Room) // before the reading: what comes between is not missed
	defer news.Close()
	v := roomserver.Viewer{User: c.User, Device: c.Device}
	for until, waited := a.now().Add(q.wait), false; ; waited = true {
		answer, err := a.eventsAfter(r.Context(), v, q)
		if err == nil && waited {
			err = a.stillAdmitted(r.Context(), r)
		}
		if err != nil {
			return err
		}
		if len(answer.Chunk) > 0 || !sleepForNews(r.Context(), news, until.Sub(a.now())) {
			return httpapi.WriteJSON(w, r, http.StatusOK, answer)
		}
		q.from = answer.End
	}
}

func parseEvents(r *http.Request) (q eventsRequest, err error) {
	query := r.URL.Query()
	q.from = query.Get("from")
	if room := query.Get("room_id"); room != "" {
		if q.room, err = matrix.ParseRoomID(room); err != nil {
			return q, err
		}
	}
	if text := query.Get("timeout"); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms < 0 {
			return q, matrix.InvalidParam("timeout must be a number of milliseconds")
		}
		q.wait = time.Duration(min(ms, timeoutMost.Milliseconds())) * time.Millisecond
	}
	return q, nil
}

// sleepForNews waits for news of any room; false: there were none in time.
func sleepForNews(ctx context.Context, news *bus.Subscription, left time.Duration) bool {
	if left <= 0 {
		return false
	}
	timer := time.NewTimer(min(left, lookEvery))
	defer timer.Stop()
	select {
	case <-news.C:
		return true
	case <-timer.C:
		return left > lookEvery
	case <-httpapi.Stopping(ctx):
	case <-ctx.Done():
	}
	return false
}

// eventsAfter reads what came after a token, all of one moment.
func (a *API) eventsAfter(ctx context.Context, v roomserver.Viewer, q eventsRequest) (answer *eventsResponse, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		answer = &eventsResponse{Start: q.from, Chunk: []*roomserver.ClientEvent{}}
		upto, err := tx.Pos()
		switch {
		case err != nil:
			return err
		case q.room != "":
			return a.eventsOfRoom(tx, v, q, upto, answer)
		case q.from == "":
			answer.Start = Token{Pos: upto}.String()
			answer.End = answer.Start
			return nil
		}
		return a.eventsOfAll(tx, v, q, upto, answer)
	})
	return answer, err
}

// eventsOfRoom reads what came into one room. Its tokens are places of the room; those of the stream are taken too.
func (a *API) eventsOfRoom(tx *store.Tx, v roomserver.Viewer, q eventsRequest, upto int64, answer *eventsResponse) error {
	access, err := a.rooms.Access(tx, v.User, q.room)
	if err != nil {
		return err
	}
	from := roomserver.Place(access.Seq)
	if q.from != "" {
		if from, err = a.rooms.ParsePlace(tx, access.Room, q.from, Position); err != nil {
			return err
		}
	} else {
		answer.Start = from.String()
	}
	items, err := a.rooms.After(tx, access.Room, int64(from), eventsMost)
	if err != nil {
		return err
	}
	items = slices.DeleteFunc(items, func(it roomserver.Item) bool { return it.Seq > access.Seq })
	if n := len(items); n > 0 {
		from = roomserver.Place(items[n-1].Seq)
	}
	answer.End = from.String()
	shown, err := a.rooms.Render(tx, v, access.Room, items)
	answer.Chunk = append(answer.Chunk, shown...)
	return err
}

// placed is a timeline event of one of several rooms.
type placed struct {
	room roomserver.RoomNID
	roomserver.Item
}

// eventsOfAll reads what came into all rooms of the user, in the order of the stream.
func (a *API) eventsOfAll(tx *store.Tx, v roomserver.Viewer, q eventsRequest, upto int64, answer *eventsResponse) error {
	since, err := ParseToken(q.from)
	if err != nil {
		return err
	}
	all, err := a.placedAfter(tx, v.User, since.Pos)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(x, y placed) int { return cmp.Compare(x.Pos, y.Pos) })
	if len(all) > eventsMost {
		all = all[:eventsMost]
		upto = all[eventsMost-1].Pos
	}
	answer.End = Token{Pos: upto}.String()
	for _, p := range all {
		shown, err := a.rooms.Render(tx, v, p.room, []roomserver.Item{p.Item})
		if err != nil {
			return err
		}
		answer.Chunk = append(answer.Chunk, shown...)
	}
	return nil
}

// placedAfter finds the first places after a position in each room of a user.
func (a *API) placedAfter(tx *store.Tx, user matrix.UserID, pos int64) (all []placed, err error) {
	rooms, err := a.rooms.UserRooms(tx, user)
	if err != nil {
		return nil, err
	}
	var joined []roomserver.RoomNID
	for _, ur := range rooms {
		if ur.Membership == matrix.Join {
			joined = append(joined, ur.Room)
		}
	}
	heads, err := a.rooms.Heads(tx, joined)
	if err != nil {
		return nil, err
	}
	for nid, h := range heads {
		if h.Pos <= pos {
			continue
		}
		at, _, err := a.rooms.At(tx, nid, pos)
		if err != nil {
			return nil, err
		}
		items, err := a.rooms.After(tx, nid, at.Seq, eventsMost)
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			if it.Pos > pos {
				all = append(all, placed{nid, it})
			}
		}
	}
	return all, nil
}
