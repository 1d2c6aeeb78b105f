package syncapi

import (
	"context"
	"encoding/json"
	"fmt"

	"astrocyte/account"
	"astrocyte/e2ee"
	"astrocyte/ephemeral"
	"astrocyte/matrix"
	"astrocyte/push"
	"astrocyte/roomserver"
)

// slidExtensions is what an answer tells besides rooms.
type slidExtensions struct {
	ask      *slidingExtensions
	devices  e2ee.DeviceNews
	lists    e2ee.Lists
	account  []account.AccountDatum
	data     []roomData
	receipts []passing
	typing   []passing
	threads  []push.Subscription
	older    string // token of the threads for which there was no place

	sticky     []slidSticky
	stickyNext int64 // position up to which they are told
	stickyNews bool  // some of them are not those that the client was told before
}

// roomData is account data of a room.
type roomData struct {
	room matrix.RoomID
	data []account.AccountDatum
}

// passing is the ephemeral event of a kind in a room.
type passing struct {
	room    matrix.RoomID
	content json.RawMessage
}

func (x *slidExtensions) empty() bool {
	return len(x.devices.Messages) == 0 && len(x.lists.Changed) == 0 && len(x.lists.Left) == 0 &&
		len(x.account) == 0 && len(x.data) == 0 && len(x.receipts) == 0 && len(x.typing) == 0 && len(x.threads) == 0 && !x.stickyNews
}

// extend reads what the client wants to know besides its rooms.
func (r *slide) extend() error {
	x := &r.news.ext
	x.ask = &r.ask.ext
	if err := r.extendDevice(x); err != nil {
		return err
	}
	if x.ask.account.enabled {
		if err := r.extendAccount(x); err != nil {
			return err
		}
	}
	if x.ask.receipts.enabled {
		if err := r.extendReceipts(x); err != nil {
			return err
		}
	}
	if x.ask.threads.enabled && r.a.push.Threads() {
		if err := r.extendThreads(x); err != nil {
			return err
		}
	}
	if x.ask.sticky.enabled {
		if err := r.extendSticky(x); err != nil {
			return err
		}
	}
	return r.extendTyping(x)
}

// threadsMost bounds the subscriptions to threads that one answer tells.
const threadsMost = 100

// extendThreads reads to which threads the user has subscribed, or not any more, the newest first.
//
// Extension: MSC4308.
func (r *slide) extendThreads(x *slidExtensions) error {
	most := threadsMost
	if x.ask.threads.limit > 0 {
		most = min(most, x.ask.threads.limit)
	}
	var err error
	if x.threads, err = r.a.push.Subscriptions(r.tx, r.viewer.User, r.from.Pos, r.upto, most+1); err != nil {
		return err
	}
	if len(x.threads) > most {
		x.threads = x.threads[:most]
		x.older = push.MoreSubscriptions(x.threads)
	}
	return nil
}

// extendDevice reads messages to the device, its keys, and whose devices changed.
func (r *slide) extendDevice(x *slidExtensions) error {
	if r.a.encryption == nil || r.viewer.Device == "" || !x.ask.toDevice.enabled && !x.ask.e2ee.enabled {
		return nil
	}
	user := r.viewer.User
	asked := e2ee.Asked{After: r.upto, Upto: r.upto}
	if x.ask.toDevice.enabled {
		had := x.ask.toDevice.had
		if had > r.upto {
			had = 0 // the database was restored from a backup
		}
		asked = e2ee.Asked{Had: had, After: max(had, x.ask.toDevice.after), Upto: r.upto, Limit: x.ask.toDevice.limit}
	}
	var err error
	x.devices, err = r.a.encryption.News(r.tx, user, r.viewer.Device, asked, func(since int64) bool {
		return r.a.waker.users.changed(user, since)
	})
	if err != nil {
		return fmt.Errorf("read what is new for the device: %w", err)
	}
	r.out.devices = x.devices
	if !x.ask.e2ee.enabled {
		return nil
	}
	err = r.readLists()
	x.lists = r.out.lists
	return err
}

// forgetUpTo deletes the messages that the client has. Where that fails they are deleted with a later answer.
func (a *API) forgetUpTo(ctx context.Context, v roomserver.Viewer, had int64) {
	if err := a.encryption.Forget(ctx, v.User, v.Device, had); err != nil && ctx.Err() == nil {
		a.log.Error("delete messages to a device", "user", v.User, "error", err)
	}
}

// extendAccount reads account data: the user's own that is new, and that of the rooms in view.
func (r *slide) extendAccount(x *slidExtensions) error {
	fresh, err := r.newAccountData()
	if err != nil {
		return err
	}
	x.account = r.out.account
	for _, s := range r.scope {
		if !s.told || !s.inside() || !x.ask.account.covers(s) {
			continue
		}
		data := fresh[s.id]
		if s.fresh {
			upto := r.conn.rooms[s.room].upto // 0: the room is new to the client
			if data, err = account.ReadRoomDataSince(r.tx, r.viewer.User, s.id, upto, r.upto); err != nil {
				return fmt.Errorf("read the account data of %s: %w", s.id, err)
			}
		}
		if len(data) > 0 {
			x.data = append(x.data, roomData{s.id, data})
		}
	}
	return nil
}

// newAccountData reads the user's own account data that is new, and gives that of rooms that is. Of a client that
// begins nothing is read but what it is told: there may be thousands of rooms.
func (r *slide) newAccountData() (map[matrix.RoomID][]account.AccountDatum, error) {
	if !r.initial {
		if err := r.readAccountData(); err != nil {
			return nil, err
		}
		byRoom := make(map[matrix.RoomID][]account.AccountDatum)
		for _, d := range r.all {
			byRoom[d.Room] = append(byRoom[d.Room], d)
		}
		return byRoom, nil
	}
	var err error
	if r.out.account, err = account.ReadRoomDataSince(r.tx, r.viewer.User, "", 0, r.upto); err != nil {
		return nil, fmt.Errorf("read account data: %w", err)
	}
	return nil, r.readPushRules()
}

// extendReceipts reads who has read the rooms in view. Of a room that is new to the client only the receipts of
// the events that it is told, and the user's own.
//
// Spec: MSC3960.
func (r *slide) extendReceipts(x *slidExtensions) error {
	first := make(map[matrix.RoomID]int64)
	whole := make(map[matrix.RoomID]bool)
	for _, n := range r.news.rooms {
		if n.initial || n.expanded {
			first[n.id], whole[n.id] = n.firstSeq, true
		}
	}
	var live []roomserver.RoomNID
	for _, s := range r.scope {
		if !s.told || !s.inside() || !x.ask.receipts.covers(s) {
			continue
		}
		t := r.conn.rooms[s.room]
		var receipts []ephemeral.Receipt
		var err error
		switch {
		case whole[s.id]:
			receipts, err = r.a.ephemeral.ReceiptsFrom(r.tx, s.room, first[s.id], r.viewer.User)
		case t.upto > 0:
			receipts, err = r.a.ephemeral.ReceiptsSince(r.tx, []roomserver.RoomNID{s.room}, t.upto, r.upto, r.viewer.User)
		default:
			live = append(live, s.room)
		}
		if err == nil {
			err = x.addReceipts(s.id, receipts)
		}
		if err != nil {
			return fmt.Errorf("read the receipts of %s: %w", s.id, err)
		}
	}
	return r.liveReceipts(x, live)
}

// liveReceipts reads the receipts that are new in rooms that stay in view.
func (r *slide) liveReceipts(x *slidExtensions, rooms []roomserver.RoomNID) error {
	if r.initial || len(rooms) == 0 {
		return nil
	}
	all, err := r.a.ephemeral.ReceiptsSince(r.tx, rooms, r.since.Pos, r.upto, r.viewer.User)
	if err != nil {
		return fmt.Errorf("read receipts: %w", err)
	}
	byRoom := make(map[roomserver.RoomNID][]ephemeral.Receipt)
	for _, receipt := range all {
		byRoom[receipt.Room] = append(byRoom[receipt.Room], receipt)
	}
	for _, s := range r.scope {
		if err := x.addReceipts(s.id, byRoom[s.room]); err != nil {
			return err
		}
	}
	return nil
}

// addReceipts adds the receipts of a room. The answer has one event for them: where somebody has receipts of
// several threads at one event it has room for one.
func (x *slidExtensions) addReceipts(room matrix.RoomID, receipts []ephemeral.Receipt) error {
	if len(receipts) == 0 {
		return nil
	}
	contents, err := ephemeral.Contents(receipts)
	if err == nil {
		x.receipts = append(x.receipts, passing{room, contents[0]})
	}
	return err
}

// extendTyping reads who types: in rooms that came into view all who do, in others where that changed.
//
// Spec: MSC4508.
func (r *slide) extendTyping(x *slidExtensions) error {
	fresh, old := make(map[matrix.RoomID]bool), make(map[matrix.RoomID]bool)
	for _, s := range r.scope {
		if !x.ask.typing.enabled || !s.told || !s.inside() || !x.ask.typing.covers(s) {
			continue
		}
		if s.fresh || s.began > r.since.Pos {
			fresh[s.id] = true
		} else {
			old[s.id] = true
		}
	}
	now, mark := r.a.ephemeral.TypingSince(func(room matrix.RoomID) bool { return fresh[room] }, ephemeral.TypingMark{})
	if !r.initial {
		var changed map[matrix.RoomID][]matrix.UserID
		changed, mark = r.a.ephemeral.TypingSince(func(room matrix.RoomID) bool { return old[room] },
			ephemeral.TypingMark{Epoch: r.since.Epoch, Serial: r.since.Typing})
		for room, users := range changed {
			now[room] = users
		}
	}
	r.out.next.Epoch, r.out.next.Typing = mark.Epoch, mark.Serial
	for _, s := range r.scope {
		users, ok := now[s.id]
		if !ok {
			continue
		}
		e, err := typingEvent(users)
		if err != nil {
			return err
		}
		x.typing = append(x.typing, passing{s.id, e.Content})
	}
	return nil
}
