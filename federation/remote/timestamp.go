package remote

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// maxByTime bounds the answer to a question for an event by its time.
const maxByTime = 64 << 10

// EventByTime finds the event nearest to a time. Where history is missing here, other servers are asked; what
// they find is fetched, so that a client can read on around it.
//
// Spec: GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event
func (r *Remote) EventByTime(ctx context.Context, v roomserver.Viewer, room matrix.RoomID, ts int64, backward bool) (*roomserver.Event, error) {
	local, err := r.rooms.EventByTime(ctx, v, room, ts, backward)
	var none *matrix.Error
	if err != nil && !(errors.As(err, &none) && none.Code == matrix.CodeNotFound) {
		return nil, err
	}
	if _, gaps, gapErr := r.rooms.HoleAt(ctx, room, ts); gapErr != nil || !gaps {
		return local, errors.Join(err, gapErr)
	}
	ctx, cancel := context.WithTimeout(ctx, backfillTime)
	defer cancel()
	for _, server := range r.knowing(ctx, "", room) {
		found, askErr := r.askByTime(ctx, server, room, ts, backward)
		if askErr != nil {
			r.log.Debug("a server finds no event by its time", "server", server, "room", room, "error", askErr)
			continue
		}
		if local != nil && !found.nearer(local.OriginServerTS(), backward) {
			break
		}
		if fetchErr := r.reach(ctx, server, room, found); fetchErr != nil {
			r.log.Debug("an event found by its time is not taken", "server", server, "room", room, "event", found.EventID, "error", fetchErr)
			continue
		}
		return r.rooms.EventByTime(ctx, v, room, ts, backward)
	}
	return local, err
}

// timed is an event that another server found by its time.
type timed struct {
	EventID matrix.EventID `json:"event_id"`
	TS      int64          `json:"origin_server_ts"`
}

// nearer says whether the event is nearer to the time that was asked for than one of another time.
func (t timed) nearer(than int64, backward bool) bool {
	if backward {
		return t.TS > than
	}
	return t.TS < than
}

// askByTime asks one server. An answer from the wrong side of the time is none.
//
// Spec: GET /_matrix/federation/v1/timestamp_to_event/{roomId}
func (r *Remote) askByTime(ctx context.Context, server matrix.ServerName, room matrix.RoomID, ts int64, backward bool) (timed, error) {
	var found timed
	dir := "f"
	if backward {
		dir = "b"
	}
	err := r.client.Do(ctx, server, peer.Request{
		Method: "GET", Path: peer.Path("/_matrix/federation/v1/timestamp_to_event", string(room)),
		Query: url.Values{"ts": {strconv.FormatInt(ts, 10)}, "dir": {dir}}, Into: &found, Limit: maxByTime, Timeout: backfillAnswer,
	})
	if err == nil && (found.EventID == "" || backward && found.TS > ts || !backward && found.TS < ts) {
		err = errors.New("its answer is not on that side of the time")
	}
	return found, err
}

// reach makes an event part of the timeline here: by filling the hole that it stands in once, or else by
// itself.
func (r *Remote) reach(ctx context.Context, server matrix.ServerName, room matrix.RoomID, found timed) error {
	hole, open, err := r.rooms.HoleAt(ctx, room, found.TS)
	if err != nil || !open {
		return err
	}
	if _, err := r.Backfill(ctx, hole); err != nil {
		return err
	}
	placed, err := r.rooms.Placed(ctx, room, []matrix.EventID{found.EventID})
	if err != nil || placed[found.EventID] {
		return err
	}
	if hole, open, err = r.rooms.HoleAt(ctx, room, found.TS); err != nil || !open {
		return err
	}
	events := r.genuine(ctx, r.read(hole.Version, room, []json.RawMessage{r.event(ctx, server, found.EventID)}))
	if len(events) != 1 || events[0].ID() != found.EventID {
		return errors.New("the event could not be fetched")
	}
	told, err := r.stateBefore(ctx, server, hole.Version, room, found.EventID)
	if err != nil {
		return err
	}
	if err := r.fetch(ctx, server, hole.Version, room, events[0].Auth()); err != nil {
		return err
	}
	return r.rooms.AddIsland(ctx, hole, events[0], told)
}
