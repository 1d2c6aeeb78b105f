package roomserver

import (
	"fmt"

	"astrocyte/matrix"
	"astrocyte/store"
)

// MainThread is the thread of the events that are in no thread.
const MainThread = "main"

// threadHops bounds how far relations are followed to find the thread of an event.
//
// Spec: CS "Threaded read receipts".
const threadHops = 3

// ThreadOf finds the thread that an event belongs to: the id of its root, or MainThread. Reactions, edits
// and the like belong where the event does that they are about.
//
// Spec: CS "Threading".
func (r *Rooms) ThreadOf(tx *store.Tx, e *Event) (string, error) {
	thread, _, err := r.ancestry(tx, e)
	return thread, err
}

// InThread says whether a receipt at an event may be one of a thread: the event is in the thread, or it is
// related to its root over a few others.
//
// Spec: POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}
func (r *Rooms) InThread(tx *store.Tx, e *Event, thread string) (bool, error) {
	if thread == string(e.ID()) {
		return true, nil
	}
	own, top, err := r.ancestry(tx, e)
	return thread == own || own == MainThread && thread == string(top), err
}

// ancestry follows the relations of an event: to the thread that it is in, and to the last event before.
func (r *Rooms) ancestry(tx *store.Tx, e *Event) (thread string, top matrix.EventID, err error) {
	for range threadHops {
		kind, about := e.Relation()
		switch kind {
		case "":
			return MainThread, top, nil
		case "m.thread":
			return string(about), top, nil
		}
		next, err := r.eventByID(tx, e.Room, about)
		if err != nil {
			return "", "", fmt.Errorf("find the event %s: %w", about, err)
		}
		if next == nil {
			break
		}
		e, top = next, about
	}
	return MainThread, top, nil
}
