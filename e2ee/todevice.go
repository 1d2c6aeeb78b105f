package e2ee

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

// Messages are what is sent to devices: contents by user and device. The device * is all of the user's.
//
// Spec: PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}
type Messages map[matrix.UserID]map[matrix.DeviceID]json.RawMessage

// Sending is a request of a device to send messages of one type.
type Sending struct {
	Sender   matrix.UserID
	Device   matrix.DeviceID
	Type     string
	TxnID    string
	Messages Messages
}

// everyDevice stands for all devices of a user.
const everyDevice matrix.DeviceID = "*"

const (
	// maxAnswered bounds the messages of one answer.
	maxAnswered = 100
	// maxQueue bounds the messages that wait for a device that does not sync, or for another server. The
	// oldest go first: what is encrypted now needs the newest keys.
	maxQueue = 10_000
	// shards is into how many parts users are divided.
	shards = 256
)

// Send queues messages for devices. Devices that are not there are passed over. A repeated transaction id
// sends nothing again.
func (e *Encryption) Send(ctx context.Context, s Sending) error {
	if err := s.check(); err != nil {
		return err
	}
	return e.db.Update(ctx, func(tx *store.Tx) error {
		fresh, err := insertTxn(tx, s, e.millis())
		if err != nil || !fresh {
			return err
		}
		if err := e.deliver(tx, s); err != nil {
			return err
		}
		return e.queueMessages(tx, s)
	})
}

func (s *Sending) check() error {
	if !isText(s.Type, maxName) || !isText(s.TxnID, maxName) {
		return matrix.InvalidParam("the event type and the transaction ID must be text of at most %d bytes", maxName)
	}
	n := 0
	for user, devices := range s.Messages {
		if _, err := matrix.ParseUserID(string(user)); err != nil {
			return err
		}
		if n += len(devices); n > maxAsked {
			return matrix.InvalidParam("more than %d devices at once", maxAsked)
		}
		for device, content := range devices {
			if !isText(string(device), maxName) {
				return matrix.InvalidParam("a device ID must be text of at most %d bytes", maxName)
			}
			if len(content) > maxMessage {
				return matrix.E(matrix.CodeTooLarge, "a message to a device is larger than %d bytes", maxMessage)
			}
			canonical, err := canonicaljson.Canonical(nil, content, canonicaljson.Strict)
			if err != nil || canonical[0] != '{' {
				return matrix.BadJSON("the content of a message to a device must be an object")
			}
		}
	}
	return nil
}

// queued is a message in the queue of a device.
type queued struct {
	deviceID
	message []byte
}

// deliver queues the messages for users of this server, in the order of users and devices.
func (e *Encryption) deliver(tx *store.Tx, s Sending) error {
	var queue []queued
	var users []matrix.UserID
	for _, user := range slices.Sorted(maps.Keys(s.Messages)) {
		if !e.ours(user) {
			continue
		}
		n := len(queue)
		devices, err := lockDevices(tx, user, s.Messages[user])
		if err != nil {
			return fmt.Errorf("find the devices of %s: %w", user, err)
		}
		for _, device := range devices {
			content, named := s.Messages[user][device]
			if !named {
				content = s.Messages[user][everyDevice]
			}
			queue = append(queue, queued{deviceID{user, device}, s.event(content)})
		}
		if len(queue) > n {
			users = append(users, user)
		}
	}
	if len(queue) == 0 {
		return nil
	}
	last, err := tx.NextPos(int64(len(queue)))
	if err != nil {
		return err
	}
	for _, user := range users {
		tx.Announce(bus.Change{Kind: bus.User, Key: string(user), Pos: last})
	}
	return insertMessages(tx, queue, last)
}

// event is the message as clients see it.
func (s *Sending) event(content json.RawMessage) []byte {
	b := make([]byte, 0, len(content)+len(s.Type)+len(s.Sender)+40)
	b = append(append(b, `{"content":`...), content...)
	b = canonicaljson.AppendText(append(b, `,"sender":`...), s.Sender)
	b = canonicaljson.AppendText(append(b, `,"type":`...), s.Type)
	return append(b, '}')
}

// Inbox is a part of the queue of a device.
type Inbox struct {
	Messages []json.RawMessage
	// Told is the position up to which the client has everything with this answer.
	Told int64
	// Rest says that there are messages in the queue that the client is known to have.
	Rest bool
}

// inbox reads the first messages of a device after a position.
func inbox(tx *store.Tx, d deviceID, a Asked) (in Inbox, empty bool, err error) {
	in.Told, empty = a.Upto, true
	most := maxAnswered
	if a.Limit > 0 {
		most = min(most, a.Limit)
	}
	rows, err := readMessages(tx, d, a.After, most+1)
	if err != nil {
		return in, false, err
	}
	if len(rows) > most {
		rows = rows[:most]
		in.Told = rows[most-1].pos
	}
	for _, m := range rows {
		in.Messages = append(in.Messages, m.message)
	}
	if a.After > 0 {
		if empty, in.Rest, err = readOlder(tx, d, a.After, a.Had); err != nil {
			return in, false, err
		}
	}
	return in, empty && len(rows) == 0, nil
}

// Forget deletes the messages of a device that its client has: up to the position of its token.
func (e *Encryption) Forget(ctx context.Context, user matrix.UserID, device matrix.DeviceID, upto int64) error {
	return e.db.Update(ctx, func(tx *store.Tx) error { return deleteMessages(tx, deviceID{user, device}, upto) })
}

// boundQueues drops what is too much of the queues, part by part.
func (e *Encryption) boundQueues(ctx context.Context, most int64) error {
	for shard := range int64(shards) {
		var long []longQueue
		err := e.db.View(ctx, func(tx *store.Tx) (err error) {
			long, err = readLongQueues(tx, shard, most)
			return err
		})
		if err != nil {
			return fmt.Errorf("find queues that are too long: %w", err)
		}
		for _, q := range long {
			err := e.db.Update(ctx, func(tx *store.Tx) error { return deleteMessages(tx, q.deviceID, q.upto) })
			if err != nil {
				return fmt.Errorf("shorten the queue of %s %s: %w", q.user, q.device, err)
			}
			e.log.Info("a device does not take its messages: the oldest were dropped", "user", q.user, "device", q.device)
		}
	}
	return e.db.Update(ctx, func(tx *store.Tx) error { return boundOutbound(tx, most) })
}

// longQueue is a queue that is too long, and up to where it is dropped.
type longQueue struct {
	deviceID
	upto int64
}
