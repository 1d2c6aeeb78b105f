package policy

import (
	"context"

	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// HistoryPurge is a wish that old messages of a room are removed.
type HistoryPurge struct {
	Room matrix.RoomID
	roomserver.Bound
	Ours bool // those of our users too
}

type historyWish struct {
	Room   matrix.RoomID `json:"room_id"`
	Before int64         `json:"before"` // place of the timeline
	Ours   bool          `json:"ours"`
}

type historyDone struct {
	Begun bool  `json:"begun"`
	Place int64 `json:"place"`
}

// StartPurge begins to remove old messages.
func (p *Policy) StartPurge(ctx context.Context, h HistoryPurge) (task string, err error) {
	before, err := p.rooms.PurgePlace(ctx, h.Room, h.Bound)
	if err != nil {
		return "", err
	}
	return p.start(ctx, PurgeHistory, string(h.Room), historyWish{h.Room, before, h.Ours}, nil)
}

func (p *Policy) purgeHistory(ctx context.Context, t *Task) error {
	var wish historyWish
	var done historyDone
	if err := t.read(&wish, &done); err != nil {
		return err
	}
	if !done.Begun {
		done = historyDone{Begun: true, Place: -1 << 62} // before every place
	}
	for done.Place < wish.Before {
		var err error
		if done.Place, err = p.rooms.PurgeHistory(ctx, wish.Room, done.Place, wish.Before, wish.Ours); err != nil {
			return err
		}
		if err := p.save(ctx, t, &done); err != nil {
			return err
		}
	}
	return nil
}
