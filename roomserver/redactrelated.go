package roomserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/store"
)

// RedactRelatedJob is the kind of the jobs that RedactRelated does.
const RedactRelatedJob = "redact related"

// relatedPage is how many related events are read at a time.
const relatedPage = 100

// related is what is still to be redacted, since somebody redacted an event with all that is about it.
type related struct {
	Room    matrix.RoomID   `json:"room"`
	Sender  matrix.UserID   `json:"sender"`
	Target  matrix.EventID  `json:"target"`
	Kinds   []string        `json:"kinds"`
	Content json.RawMessage `json:"content"`
}

// askRelated asks for the redaction of what is about an event, in the transaction of its own redaction.
func askRelated(tx *store.Tx, d *Draft, redaction matrix.EventID) error {
	payload, err := json.Marshal(related{d.Room, d.Sender, d.Redacts, d.Related, d.Content})
	if err != nil {
		return fmt.Errorf("write a job: %w", err)
	}
	return tx.Enqueue(store.Job{Kind: RedactRelatedJob, Key: string(redaction), Payload: payload})
}

// RedactRelated redacts the events that are about one that was redacted, where its sender wished so: those
// that they may redact. What was done when it stops is not done again.
//
// Extension: MSC3912.
func (r *Rooms) RedactRelated(ctx context.Context, j store.Job) error {
	var w related
	if err := json.Unmarshal(j.Payload, &w); err != nil {
		return fmt.Errorf("read a job: %w", err)
	}
	nid, err := r.find(ctx, w.Room)
	if err != nil {
		return ifOurs(err)
	}
	kinds := w.Kinds
	if slices.Contains(kinds, "*") {
		kinds = nil
	}
	for after := int64(0); ; {
		var page []relative
		err := r.db.View(ctx, func(tx *store.Tx) (err error) {
			page, err = relatedTo(tx, nid, w.Target, kinds, after, relatedPage)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, e := range page {
			after = e.seq
			_, err := r.Send(ctx, Draft{Room: w.Room, Sender: w.Sender, Type: "m.room.redaction", Content: w.Content, Redacts: e.id})
			if err := ifOurs(err); err != nil {
				return err
			}
		}
	}
}

// ifOurs leaves out what is the fault of a user: they may not do it, and it is not tried again.
func ifOurs(err error) error {
	var refused *matrix.Error
	if errors.As(err, &refused) {
		return nil
	}
	return err
}
