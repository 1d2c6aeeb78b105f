package e2ee

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

// Keys are the keys of users, as somebody may see them.
//
// Spec: POST /_matrix/client/v3/keys/query
type Keys struct {
	Devices     map[matrix.UserID]map[matrix.DeviceID]json.RawMessage
	Master      map[matrix.UserID]json.RawMessage
	SelfSigning map[matrix.UserID]json.RawMessage
	UserSigning map[matrix.UserID]json.RawMessage
	Failures    Failures
}

func newKeys() *Keys {
	return &Keys{
		Devices: make(map[matrix.UserID]map[matrix.DeviceID]json.RawMessage), Master: make(map[matrix.UserID]json.RawMessage),
		SelfSigning: make(map[matrix.UserID]json.RawMessage), UserSigning: make(map[matrix.UserID]json.RawMessage),
		Failures: make(Failures),
	}
}

// follower names the cursor of what sees who leaves rooms, and followedFor is how long a question waits for it.
const (
	follower    = "device lists"
	followedFor = time.Second
)

// Query reads keys of users as asker may see them: of the devices that are named, or of all where none is.
// The user-signing key is shown to its owner alone. Signatures that are shown are those by the owner, and
// by the asker. Of users of other servers it shows what is kept here, and asks their servers for the rest,
// each for as long as the client has patience; 0: a while.
func (e *Encryption) Query(ctx context.Context, asker matrix.UserID, wanted Wanted, wait time.Duration) (*Keys, error) {
	ours, theirs, err := e.sortWanted(wanted)
	if err != nil {
		return nil, err
	}
	if len(theirs) > 0 { // a list is not to be trusted whose user was away meanwhile: that is noticed by following
		if err := e.rooms.Reached(ctx, follower, followedFor); err != nil {
			return nil, err
		}
	}
	var k *Keys
	var kept *keptLists
	err = e.db.View(ctx, func(tx *store.Tx) error {
		k = newKeys()
		if err := k.readAll(tx, asker, ours); err != nil {
			return err
		}
		kept, err = e.readKept(tx, asker, theirs)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := e.beginKeeping(ctx, kept.unknown); err != nil { // before the asking: what changes meanwhile is heard of
		return nil, err
	}
	if len(kept.missing) > 0 {
		k.Failures = askAll(ctx, e, wait, byServer(kept.missing), e.remote.QueryKeys, kept.take)
	}
	kept.addTo(k)
	return k, nil
}

// sortWanted tells our users from those of other servers.
func (e *Encryption) sortWanted(wanted Wanted) (ours, theirs Wanted, err error) {
	if len(wanted) > maxAsked {
		return nil, nil, matrix.InvalidParam("more than %d users at once", maxAsked)
	}
	ours, theirs = make(Wanted), make(Wanted)
	for user, devices := range wanted {
		if _, err := matrix.ParseUserID(string(user)); err != nil {
			return nil, nil, err
		}
		if e.ours(user) {
			ours[user] = devices
		} else {
			theirs[user] = devices
		}
	}
	return ours, theirs, nil
}

// readAll reads the keys of users of this server.
func (k *Keys) readAll(tx *store.Tx, asker matrix.UserID, wanted Wanted) error {
	users := slices.Collect(maps.Keys(wanted))
	devices, err := readDevices(tx, users)
	if err != nil {
		return fmt.Errorf("read devices: %w", err)
	}
	signed, err := readOwnSignatures(tx, users)
	if err != nil {
		return fmt.Errorf("read signatures: %w", err)
	}
	if asker != stranger && asker != confidant {
		theirs, err := readSignatures(tx, asker, users)
		if err != nil {
			return fmt.Errorf("read the signatures of %s: %w", asker, err)
		}
		for user, all := range theirs {
			if user != asker {
				signed[user] = append(signed[user], all...)
			}
		}
	}
	cross, err := readCrossKeys(tx, users)
	if err != nil {
		return fmt.Errorf("read cross-signing keys: %w", err)
	}
	for user, only := range wanted {
		k.addDevices(asker, user, only, devices[user], signed[user])
		k.addCross(asker, user, cross[user], signed[user])
	}
	return nil
}

// Askers that are another server: one that is not told the names of devices, and one that is.
const (
	stranger  matrix.UserID = ""
	confidant matrix.UserID = "*"
)

// anotherServer is another server as asker.
func (e *Encryption) anotherServer() matrix.UserID {
	if e.tellNames {
		return confidant
	}
	return stranger
}

// addDevices shows those devices of a user that are named, or all where none is.
func (k *Keys) addDevices(asker, user matrix.UserID, only []matrix.DeviceID, devices []storedDevice, signed []keySignature) {
	k.Devices[user] = make(map[matrix.DeviceID]json.RawMessage, len(devices))
	for _, d := range devices {
		if len(only) > 0 && !slices.Contains(only, d.id) {
			continue
		}
		if asker == stranger {
			d.name = ""
		}
		k.Devices[user][d.id] = d.withName(withSignatures(d.object, string(d.id), signed))
	}
}

// addCross shows the cross-signing keys of a user.
func (k *Keys) addCross(asker, user matrix.UserID, cross map[string]*crossKey, signed []keySignature) {
	for usage, to := range map[string]map[matrix.UserID]json.RawMessage{master: k.Master, selfSigning: k.SelfSigning, userSigning: k.UserSigning} {
		if key, has := cross[usage]; has && (usage != userSigning || asker == user) {
			to[user] = withSignatures(key.object, key.public, signed)
		}
	}
}

// storedDevice is a device that has keys.
type storedDevice struct {
	id     matrix.DeviceID
	name   string
	object []byte
}

// withName adds the name that the user gave the device.
func (d *storedDevice) withName(object []byte) []byte {
	unsigned := []byte("{}")
	if d.name != "" {
		unsigned = canonicaljson.AppendWithMember(nil, unsigned, "device_display_name", canonicaljson.AppendText(nil, d.name))
	}
	return canonicaljson.AppendWithMember(nil, object, "unsigned", unsigned)
}

// keySignature is a signature that was made later than the key that it signs.
type keySignature struct {
	signer    matrix.UserID
	key       string
	targetKey string
	signature string
}

// withSignatures adds signatures of a key to its object.
func withSignatures(object []byte, key string, all []keySignature) []byte {
	for _, s := range all {
		if s.targetKey != key {
			continue
		}
		by, found := canonicaljson.Field(object, "signatures")
		if !found {
			by = []byte("{}")
		}
		own, found := canonicaljson.Field(by, string(s.signer))
		if !found {
			own = []byte("{}")
		}
		own = canonicaljson.AppendWithMember(nil, own, s.key, canonicaljson.AppendText(nil, s.signature))
		by = canonicaljson.AppendWithMember(nil, by, string(s.signer), own)
		object = canonicaljson.AppendWithMember(nil, object, "signatures", by)
	}
	return object
}
