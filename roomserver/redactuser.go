package roomserver

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/store"
)

// UserRedaction is the wish of somebody in a room that what a user has sent there is redacted in their name.
type UserRedaction struct {
	Room      matrix.RoomID
	By        matrix.UserID
	Sender    matrix.UserID // whose events
	Limit     int
	Content   json.RawMessage // of each redaction
	Shadowed  bool            // who wishes so: nothing is redacted, and they are not told
	Suspended bool            // who wishes so: they may redact their own events
	// Position reads the position out of a stream token.
	Position func(token string) (int64, error)
	// May is asked before each redaction; its error ends them. nil: as many as the limit says.
	May func() error
}

// UserRedacted is what came of it.
type UserRedacted struct {
	Total, SoftFailed int
	More              bool // there are more of the user's events
}

const (
	// sentScan bounds how many places of the timeline are looked at for the events of a user.
	sentScan = 50_000
	// softFailedMost bounds how many of the events that a room did not take are looked at.
	softFailedMost = 1000
)

// RedactUser redacts what a user has sent to a room, the newest first: of what is in the timeline that which By may see,
// and all that the room did not take. What is redacted already does not count. State stays, but for memberships.
//
// Extension: MSC4194.
func (r *Rooms) RedactUser(ctx context.Context, w UserRedaction) (out UserRedacted, err error) {
	failed, err := r.softFailedOf(ctx, w)
	if err != nil {
		return out, err
	}
	seen, err := r.visibleOf(ctx, w, w.Limit+1-min(len(failed), w.Limit))
	if err != nil {
		return out, err
	}
	all := slices.Concat(failed, seen)
	for i, id := range all[:min(len(all), w.Limit)] {
		if w.May != nil {
			if err = w.May(); err != nil {
				break
			}
		}
		_, err = r.Send(ctx, Draft{Room: w.Room, Sender: w.By, Type: "m.room.redaction", Content: w.Content, Redacts: id, Suspended: w.Suspended, Shadowed: w.Shadowed})
		if err != nil {
			break
		}
		if out.Total++; i < len(failed) {
			out.SoftFailed++
		}
	}
	if out.Total > 0 { // what was done is told; who goes on is told why they cannot
		err = ifOurs(err)
	}
	out.More = out.Total < len(all)
	return out, err
}

// softFailedOf finds what a user has sent that the room did not take and that is not redacted, the newest first.
func (r *Rooms) softFailedOf(ctx context.Context, w UserRedaction) (ids []matrix.EventID, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		ids = nil
		a, err := r.Access(tx, w.By, w.Room)
		if err != nil {
			return err
		}
		nids, err := softFailed(tx, a.Room, softFailedMost)
		if err != nil {
			return fmt.Errorf("find what the room %s did not take: %w", w.Room, err)
		}
		events, err := r.Events(tx, nids)
		for _, nid := range nids {
			if e, ok := events[nid]; ok && e.Sender() == w.Sender && redactable(e) && len(ids) <= w.Limit {
				ids = append(ids, e.ID())
			}
		}
		return err
	})
	return ids, err
}

// visibleOf finds what a user has sent that is not redacted and that By may see, the newest first.
func (r *Rooms) visibleOf(ctx context.Context, w UserRedaction, limit int) (ids []matrix.EventID, err error) {
	p := Page{Room: w.Room, Backward: true, Limit: limit, Position: w.Position, Keep: func(e *ClientEvent) bool {
		return e.Sender() == w.Sender && redactable(e.Event)
	}}
	for looked := 0; looked < sentScan && p.Limit > 0; looked += scanMost {
		chunk, err := r.Messages(ctx, Viewer{User: w.By}, p)
		if err != nil {
			return nil, err
		}
		for _, e := range chunk.Events {
			ids = append(ids, e.ID())
		}
		if p.From, p.Limit = chunk.End, limit-len(ids); p.From == "" {
			break
		}
	}
	return ids, nil
}
