package sender

import (
	"context"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

// patience is how long Settle waits at most: somebody waits for what comes after it.
const patience = 1500 * time.Millisecond

// Settle waits until a server has taken the events that wait for it, so that what it is asked next finds what our
// users did before. A server that is not reached is not waited for.
func (s *Sender) Settle(ctx context.Context, server matrix.ServerName) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.rooms.Reached(ctx, follower, patience); err != nil {
		return
	}
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		waits := false
		err := s.db.View(ctx, func(tx *store.Tx) (err error) {
			waits, err = anyStretch(tx, server)
			if err != nil || !waits {
				return err
			}
			paused, err := pauseOf(tx, server)
			waits = paused == 0
			return err
		})
		if err != nil || !waits {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
