package syncapi

import (
	"context"
	"fmt"

	"astrocyte/e2ee"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// readDevice reads what the device is told about itself: messages to it, and the keys that wait for it.
func (r *reading) readDevice() error {
	if r.a.encryption == nil || r.viewer.Device == "" {
		return nil
	}
	asked := e2ee.Asked{Had: r.shown.messages(), After: r.since.messages(), Upto: r.upto}
	if r.initial {
		asked.Had, asked.After = 0, 0
	}
	user := r.viewer.User
	var err error
	r.out.devices, err = r.a.encryption.News(r.tx, user, r.viewer.Device, asked, func(since int64) bool {
		return r.a.waker.users.changed(user, since)
	})
	if err != nil {
		return fmt.Errorf("read what is new for the device: %w", err)
	}
	if told := r.out.devices.Told; told < r.upto {
		r.out.next.ToDevice = told
	}
	return nil
}

// forgetMessages deletes the messages that the client has for sure. Where that fails they are deleted with
// a later answer.
func (a *API) forgetMessages(ctx context.Context, r *reading) {
	if !r.out.devices.Rest {
		return
	}
	if err := a.encryption.Forget(ctx, r.viewer.User, r.viewer.Device, r.shown.messages()); err != nil && ctx.Err() == nil {
		a.log.Error("delete messages to a device", "user", r.viewer.User, "error", err)
	}
}

// readLists reads whose devices the client has to look at again, and whose it need not follow any more. A
// client that knows nothing looks at all devices anyway.
func (r *reading) readLists() error {
	if r.a.encryption == nil || r.initial {
		return nil
	}
	since, k := r.since.Pos, r.a.waker
	if len(r.changed) == 0 && !k.members.anyChanged(since) && !k.lists.anyChanged(since) && !k.users.changed(r.viewer.User, since) {
		return nil
	}
	s, err := r.sharing()
	if err != nil {
		return err
	}
	if r.out.lists, err = r.a.encryption.Lists(r.tx, r.viewer.User, since, s); err != nil {
		return fmt.Errorf("read whose devices changed: %w", err)
	}
	return nil
}

// sharing finds the rooms that the user is and was in.
func (r *reading) sharing() (s e2ee.Sharing, err error) {
	entered := make(map[roomserver.RoomNID]bool)
	for _, u := range r.changed {
		if u.Pos <= r.since.Pos || u.Membership != matrix.Join && u.Membership != matrix.Leave && u.Membership != matrix.Ban {
			continue
		}
		was, err := r.wasJoined(u.Room, u.Pos)
		if err != nil {
			return s, err
		}
		switch now := u.Membership == matrix.Join; {
		case now && !was:
			entered[u.Room] = true
			s.Entered = append(s.Entered, u.Room)
		case was && !now:
			s.Left = append(s.Left, u.Room)
		}
	}
	for _, j := range r.joined {
		if !entered[j.Room] {
			s.Stayed = append(s.Stayed, j.Room)
		}
	}
	moved, known := since(r.a.waker.members, s.Stayed, func(nid roomserver.RoomNID) roomserver.RoomNID { return nid }, r.since.Pos)
	if s.Moved = moved; !known {
		s.Moved = s.Stayed
	}
	return s, nil
}
