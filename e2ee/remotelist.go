package e2ee

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

// maxRemoteDevices bounds the devices of a user of another server.
const maxRemoteDevices = 2000

// remoteList is what is known of the devices of a user of another server.
type remoteList struct {
	streamID            int64
	asked, done         int64
	master, selfSigning []byte // canonical JSON; empty: none
	devices             []storedDevice
}

// fresh says that nothing is known to have changed since the list was read.
func (l *remoteList) fresh() bool { return l.asked == l.done }

// same says whether two lists tell clients the same.
func (l *remoteList) same(o *remoteList) bool {
	return string(l.master) == string(o.master) && string(l.selfSigning) == string(o.selfSigning) &&
		slices.EqualFunc(l.devices, o.devices, func(a, b storedDevice) bool {
			return a.id == b.id && a.name == b.name && string(a.object) == string(b.object)
		})
}

// checkedList checks what another server tells of a user. What is wrong is left out: the user has it no
// more than if it were not told.
func (e *Encryption) checkedList(user matrix.UserID, devices map[matrix.DeviceID]ListedDevice, top, self json.RawMessage) *remoteList {
	l := new(remoteList)
	for _, id := range slices.Sorted(maps.Keys(devices)) {
		d, err := checkListed(user, devices[id])
		switch {
		case err != nil:
			e.log.Debug("another server tells of a device that cannot be", "user", user, "error", err)
		case len(l.devices) == maxRemoteDevices:
			e.log.Info("a user of another server has too many devices", "user", user)
			return l
		default:
			l.devices = append(l.devices, d)
		}
	}
	var err error
	if l.master, l.selfSigning, err = checkCrossPair(user, top, self); err != nil {
		e.log.Debug("another server tells of cross-signing keys that cannot be", "user", user, "error", err)
	}
	return l
}

// checkListed checks a device of a user of another server.
func checkListed(user matrix.UserID, d ListedDevice) (storedDevice, error) {
	if !isText(string(d.ID), maxName) {
		return storedDevice{}, matrix.InvalidParam("a device ID must be text of at most %d bytes", maxName)
	}
	canonical, err := canonicaljson.Canonical(nil, d.Keys, canonicaljson.Strict)
	if err != nil {
		return storedDevice{}, matrix.BadJSON("the keys of a device must be JSON")
	}
	k, err := checkDeviceKeys(user, d.ID, canonical)
	if err != nil {
		return storedDevice{}, err
	}
	if d.Name == "" {
		d.Name = nameIn(canonical)
	}
	if !isText(d.Name, maxName) {
		d.Name = ""
	}
	return storedDevice{d.ID, d.Name, k.object}, nil
}

// nameIn is the name of a device as it stands beside its keys.
func nameIn(keys []byte) (name string) {
	if raw, has := canonicaljson.Field(keys, "unsigned", "device_display_name"); has {
		_ = json.Unmarshal(raw, &name) // what is not text is no name
	}
	return name
}

// checkCrossPair checks the cross-signing keys of a user of another server: the second must be signed by
// the first.
func checkCrossPair(user matrix.UserID, top, self json.RawMessage) (m, s []byte, err error) {
	if isNone(top) {
		return nil, nil, nil
	}
	first, err := checkForeignCross(user, master, top)
	if err != nil {
		return nil, nil, err
	}
	if isNone(self) {
		return first.object, nil, nil
	}
	second, err := checkForeignCross(user, selfSigning, self)
	if err == nil {
		err = verify(second.object, user, first.keyID(), first.public)
	}
	if err != nil {
		return first.object, nil, err
	}
	return first.object, second.object, nil
}

// checkForeignCross checks a key that did not pass the strict reader of requests yet.
func checkForeignCross(user matrix.UserID, usage string, raw []byte) (*crossKey, error) {
	canonical, err := canonicaljson.Canonical(nil, raw, canonicaljson.Strict)
	if err != nil {
		return nil, matrix.BadJSON("the %s key must be JSON", usage)
	}
	return checkCrossKey(user, usage, canonical)
}

// keptLists are the lists of users of other servers for one request: those that are kept here, and those
// that their servers are asked for.
type keptLists struct {
	e       *Encryption
	lists   map[matrix.UserID]*remoteList
	wanted  Wanted
	missing Wanted                           // not kept, or not fresh
	unknown []matrix.UserID                  // who share a room, and are not kept yet
	signed  map[matrix.UserID][]keySignature // by the asker
}

// readKept finds out which of the lists are kept here, and reads those.
func (e *Encryption) readKept(tx *store.Tx, asker matrix.UserID, wanted Wanted) (*keptLists, error) {
	k := &keptLists{e: e, lists: make(map[matrix.UserID]*remoteList), wanted: wanted, missing: make(Wanted)}
	if len(wanted) == 0 {
		return k, nil
	}
	users := slices.Collect(maps.Keys(wanted))
	sharing, err := readFollowed(tx, users, e.server)
	if err != nil {
		return nil, fmt.Errorf("find out who shares a room: %w", err)
	}
	if k.signed, err = readSignatures(tx, asker, users); err != nil {
		return nil, fmt.Errorf("read the signatures of %s: %w", asker, err)
	}
	lists, err := readRemoteLists(tx, users)
	if err != nil {
		return nil, fmt.Errorf("read lists of other servers: %w", err)
	}
	for user := range wanted {
		l, found := lists[user]
		if found && sharing[user] && l.fresh() {
			k.lists[user] = l
			continue
		}
		k.missing[user] = wanted[user]
		if sharing[user] && !found {
			k.unknown = append(k.unknown, user)
		}
	}
	return k, nil
}

// take takes what a server tells of its users.
func (k *keptLists) take(from matrix.ServerName, served *ServedKeys) {
	for user := range k.missing {
		devices, told := served.Devices[user]
		if user.Server() != from || !told && served.Master[user] == nil {
			continue
		}
		listed := make(map[matrix.DeviceID]ListedDevice, len(devices))
		for id, keys := range devices {
			listed[id] = ListedDevice{ID: id, Keys: keys}
		}
		k.lists[user] = k.e.checkedList(user, listed, served.Master[user], served.SelfSigning[user])
	}
}

// addTo adds the lists to an answer, with what the asker has signed.
func (k *keptLists) addTo(answer *Keys) {
	for user, l := range k.lists {
		only := k.wanted[user]
		devices := make(map[matrix.DeviceID]json.RawMessage, len(l.devices))
		for _, d := range l.devices {
			if len(only) == 0 || slices.Contains(only, d.id) {
				devices[d.id] = d.withName(d.object)
			}
		}
		answer.Devices[user] = devices
		if len(l.master) > 0 {
			public, _ := publicKey(l.master)
			answer.Master[user] = withSignatures(l.master, public, k.signed[user])
		}
		if len(l.selfSigning) > 0 {
			answer.SelfSigning[user] = l.selfSigning
		}
	}
}

// publicKey is the one public key of a cross-signing key that was checked.
func publicKey(object []byte) (public string, err error) {
	var named map[string]string
	if err := members(object, map[string]any{"keys": &named}); err != nil {
		return "", err
	}
	for _, public = range named {
	}
	return public, nil
}

// beginKeeping begins to keep the lists of users who share a room: they are read in the background, and
// followed from then on.
func (e *Encryption) beginKeeping(ctx context.Context, users []matrix.UserID) error {
	if len(users) == 0 {
		return nil
	}
	slices.Sort(users)
	return e.db.Update(ctx, func(tx *store.Tx) error {
		for _, user := range users {
			if err := askList(tx, user); err != nil {
				return err
			}
		}
		return nil
	})
}

// askList notes that the list of a user has to be read anew.
func askList(tx *store.Tx, user matrix.UserID) error {
	if err := noteAsked(tx, user); err != nil {
		return fmt.Errorf("note that the list of %s is old: %w", user, err)
	}
	return tx.Enqueue(store.Job{Kind: jobList, Key: string(user)})
}
