package roomserver

import (
	"fmt"

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
	for range threadHops {
		kind, about := e.Relation()
		switch kind {
		case "":
			return MainThread, nil
		case "m.thread":
			return string(about), nil
		}
		next, err := r.eventByID(tx, e.Room, about)
		if err != nil {
			return "", fmt.Errorf("find the event %s: %w", about, err)
		}
		if next == nil {
			break
		}
		e = next
	}
	return MainThread, nil
}
