package e2ee

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

// EDUs are what other servers send of devices and messages to them: by type, what takes the content. from is
// the server that has signed the request. What is taken twice has no effect the second time.
func (e *Encryption) EDUs() map[string]func(ctx context.Context, from matrix.ServerName, content json.RawMessage) error {
	return map[string]func(context.Context, matrix.ServerName, json.RawMessage) error{
		eduMessages:    e.ReceiveMessages,
		eduListUpdate:  e.ReceiveListUpdate,
		eduSigningKeys: e.ReceiveSigningKeys,
	}
}

// The types of EDUs that are about encryption.
const (
	eduMessages    = "m.direct_to_device"
	eduListUpdate  = "m.device_list_update"
	eduSigningKeys = "m.signing_key_update"
)

// object reads the members of an EDU's content.
func object(content json.RawMessage, into map[string]any) error {
	canonical, err := canonicaljson.Canonical(nil, content, canonicaljson.Strict)
	if err != nil || canonical[0] != '{' {
		return matrix.BadJSON("the content of an EDU must be an object")
	}
	return members(canonical, into)
}

// ofServer checks that a user is one of the server that speaks of them.
func ofServer(user matrix.UserID, from matrix.ServerName) error {
	if _, err := matrix.ParseUserID(string(user)); err != nil {
		return err
	}
	if user.Server() != from {
		return matrix.Forbidden("%s is no user of %s", user, from)
	}
	return nil
}

// ReceiveMessages queues messages for devices that a user of another server has sent.
//
// Spec: SS "Send-to-device messaging" (m.direct_to_device).
func (e *Encryption) ReceiveMessages(ctx context.Context, from matrix.ServerName, content json.RawMessage) error {
	var s Sending
	if err := object(content, map[string]any{"sender": &s.Sender, "type": &s.Type, "message_id": &s.TxnID, "messages": &s.Messages}); err != nil {
		return err
	}
	if err := ofServer(s.Sender, from); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	return e.db.Update(ctx, func(tx *store.Tx) error {
		fresh, err := insertInbound(tx, from, s.TxnID, e.millis())
		if err != nil || !fresh {
			return err
		}
		return e.deliver(tx, s)
	})
}

// listUpdate is what a server tells of one device of its user.
type listUpdate struct {
	user     matrix.UserID
	streamID int64
	previous []int64
	deleted  bool
	id       matrix.DeviceID
	news     bool          // else its user has come into a room with this server, which the room tells
	device   *storedDevice // nil: without keys, or deleted
}

// ReceiveListUpdate takes that a device of a user of another server changed. Where updates before it are
// missing, the whole list is read anew.
//
// Spec: SS "Device Management" (m.device_list_update).
func (e *Encryption) ReceiveListUpdate(ctx context.Context, from matrix.ServerName, content json.RawMessage) error {
	u, err := parseListUpdate(from, content)
	if err != nil {
		return err
	}
	return e.db.Update(ctx, func(tx *store.Tx) error {
		l, err := e.listOf(tx, u.user, u.news)
		if err != nil || l == nil {
			return err
		}
		switch {
		case l.fresh() && u.isIn(l):
			return nil
		case !l.fresh() || !u.follows(l) || u.device != nil && len(l.devices) >= maxRemoteDevices:
			err = askList(tx, u.user)
		default:
			err = u.apply(tx, l)
		}
		if err != nil {
			return err
		}
		return e.remoteChanged(tx, u.user)
	})
}

func parseListUpdate(from matrix.ServerName, content json.RawMessage) (*listUpdate, error) {
	u := &listUpdate{streamID: -1}
	var listed ListedDevice
	announced := false
	err := object(content, map[string]any{
		announcedField: &announced, "user_id": &u.user, "device_id": &listed.ID, "device_display_name": &listed.Name, "stream_id": &u.streamID,
		"prev_id": &u.previous, "deleted": &u.deleted, "keys": &listed.Keys,
	})
	if err != nil {
		return nil, err
	}
	if err := ofServer(u.user, from); err != nil {
		return nil, err
	}
	if u.streamID < 0 || !isText(string(listed.ID), maxName) {
		return nil, matrix.InvalidParam("an update of a device needs a stream_id and a device_id")
	}
	u.id, u.news = listed.ID, !announced
	if u.deleted || len(listed.Keys) == 0 || string(listed.Keys) == "null" {
		return u, nil
	}
	d, err := checkListed(u.user, listed)
	if err != nil {
		return nil, err
	}
	u.device = &d
	return u, nil
}

// listOf locks and reads the list of a user. Where it is not kept, but there is a common room, clients are
// told to ask where there are news, and nil is given. A list that is not kept no client has asked for since the user
// shares a room; that they do is told to clients by the room.
func (e *Encryption) listOf(tx *store.Tx, user matrix.UserID, news bool) (*remoteList, error) {
	kept, err := lockRemoteList(tx, user)
	if err != nil {
		return nil, err
	}
	if kept {
		l, _, err := readRemoteList(tx, user)
		return l, err
	}
	sharing, err := readFollowed(tx, []matrix.UserID{user}, e.server)
	if err != nil || !sharing[user] || !news {
		return nil, err
	}
	return nil, e.remoteChanged(tx, user)
}

// isIn says whether the update is in the list already. An early one without any before it is not: a server
// that has lost its counters begins so.
func (u *listUpdate) isIn(l *remoteList) bool {
	return u.streamID == l.streamID || u.streamID < l.streamID && len(u.previous) > 0
}

// follows says whether all updates that this one names as before it are in the list.
func (u *listUpdate) follows(l *remoteList) bool {
	return u.streamID > l.streamID && !slices.ContainsFunc(u.previous, func(p int64) bool { return p > l.streamID })
}

func (u *listUpdate) apply(tx *store.Tx, l *remoteList) error {
	l.streamID = u.streamID
	if err := writeRemoteList(tx, u.user, l); err != nil {
		return fmt.Errorf("write the list of %s: %w", u.user, err)
	}
	if u.device == nil {
		return deleteRemoteDevice(tx, u.user, u.id)
	}
	return writeRemoteDevices(tx, u.user, []storedDevice{*u.device})
}

// ReceiveSigningKeys takes new cross-signing keys of a user of another server. A key that is not told stays as
// it is: there are servers that tell each by itself. Where one is told before the key that signs it, the
// whole list is read anew.
//
// Spec: SS "Device Management" (m.signing_key_update).
func (e *Encryption) ReceiveSigningKeys(ctx context.Context, from matrix.ServerName, content json.RawMessage) error {
	var user matrix.UserID
	var top, self json.RawMessage
	announced := false
	if err := object(content, map[string]any{announcedField: &announced, "user_id": &user, "master_key": &top, "self_signing_key": &self}); err != nil {
		return err
	}
	if err := ofServer(user, from); err != nil {
		return err
	}
	return e.db.Update(ctx, func(tx *store.Tx) error {
		l, err := e.listOf(tx, user, !announced)
		if err != nil || l == nil {
			return err
		}
		before := *l
		err = l.takeKeys(user, top, self)
		switch {
		case isNone(top) && !isNone(self) && len(l.selfSigning) == 0:
			err = askList(tx, user)
		case err != nil || l.same(&before):
			return err
		default:
			err = writeRemoteList(tx, user, l)
		}
		if err != nil {
			return fmt.Errorf("write the cross-signing keys of %s: %w", user, err)
		}
		return e.remoteChanged(tx, user)
	})
}

// takeKeys puts the cross-signing keys that are told in the place of those that are kept. The second goes
// where the first is another and does not sign it.
func (l *remoteList) takeKeys(user matrix.UserID, top, self json.RawMessage) (err error) {
	if isNone(top) {
		top = l.master
	}
	if isNone(self) {
		self = l.selfSigning
		if _, _, err := checkCrossPair(user, top, self); err != nil {
			self = nil
		}
	}
	l.master, l.selfSigning, err = checkCrossPair(user, top, self)
	return err
}

// isNone says whether a key is not told.
func isNone(key json.RawMessage) bool { return len(key) == 0 || string(key) == "null" }
