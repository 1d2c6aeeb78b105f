package e2ee

import (
	"context"

	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// Refresh does the job of reading a list anew.
func (e *Encryption) Refresh(ctx context.Context, user matrix.UserID) error {
	return e.refresh(ctx, user)
}

// Follower is the follower of lists.
func (e *Encryption) Follower() roomserver.Follower { return e.lists() }

// NoteReached is what is done every second.
func (e *Encryption) NoteReached(ctx context.Context) error { return e.noteReached(ctx) }

// BoundQueues is the bounding of queues, with another bound.
func (e *Encryption) BoundQueues(ctx context.Context, most int64) error {
	return e.boundQueues(ctx, most)
}
