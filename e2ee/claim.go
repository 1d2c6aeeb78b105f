package e2ee

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Claims are the one-time keys that somebody wants: an algorithm by user and device.
//
// Spec: POST /_matrix/client/v3/keys/claim
type Claims map[matrix.UserID]map[matrix.DeviceID]string

// Claimed are one-time keys that were given out: by user, device and name.
type Claimed map[matrix.UserID]map[matrix.DeviceID]map[string]json.RawMessage

// Failures are the servers that could not be asked, and why.
type Failures map[matrix.ServerName]*Failure

// Failure says why something could not be done, in the form of an error of the API.
type Failure struct {
	Code    matrix.Code `json:"errcode"`
	Message string      `json:"error"`
}

// maxAsked bounds the devices, or users, of one request.
const maxAsked = 10_000

// deviceID names a device among all.
type deviceID struct {
	user   matrix.UserID
	device matrix.DeviceID
}

func (d deviceID) compare(o deviceID) int {
	return cmp.Or(cmp.Compare(d.user, o.user), cmp.Compare(d.device, o.device))
}

// Claim gives out a one-time key for each device: the one that was uploaded first, or else the fallback
// key. Where there is neither, the device is missing from the answer.
func (e *Encryption) Claim(ctx context.Context, claims Claims) (Claimed, Failures, error) {
	wanted := make(map[deviceID]string)
	failures := make(Failures)
	for user, devices := range claims {
		if _, err := matrix.ParseUserID(string(user)); err != nil {
			return nil, nil, err
		}
		if !e.ours(user) {
			failures[user.Server()] = notReached
			continue
		}
		for device, algorithm := range devices {
			wanted[deviceID{user, device}] = algorithm
		}
	}
	if len(wanted) > maxAsked {
		return nil, nil, matrix.InvalidParam("more than %d devices at once", maxAsked)
	}
	claimed, err := e.claim(ctx, wanted)
	return claimed, failures, err
}

// notReached is said of servers that cannot be asked.
var notReached = &Failure{matrix.CodeUnrecognized, "this server does not federate yet"}

// claim gives out keys of users of this server. It goes by the order of devices, so that two claims do not
// wait for each other.
func (e *Encryption) claim(ctx context.Context, wanted map[deviceID]string) (out Claimed, err error) {
	order := slices.SortedFunc(maps.Keys(wanted), deviceID.compare)
	given := 0
	err = e.db.Update(ctx, func(tx *store.Tx) error {
		out, given = make(Claimed), 0
		var users []matrix.UserID
		for _, d := range order {
			k, found, changed, err := e.claimOne(tx, d, wanted[d])
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			given++
			out.add(d, k)
			if n := len(users); changed && (n == 0 || users[n-1] != d.user) {
				users = append(users, d.user)
			}
		}
		if len(users) == 0 {
			return nil
		}
		pos, err := tx.NextPos(1)
		if err != nil {
			return err
		}
		return noteKeys(tx, pos, users...)
	})
	if err == nil {
		e.claims.add(given)
	}
	return out, err
}

func (c Claimed) add(d deviceID, k namedKey) {
	if c[d.user] == nil {
		c[d.user] = make(map[matrix.DeviceID]map[string]json.RawMessage)
	}
	c[d.user][d.device] = map[string]json.RawMessage{k.name(): k.object}
}

// claimOne gives out a key of a device. changed says that what the device is told in /sync is another now.
func (e *Encryption) claimOne(tx *store.Tx, d deviceID, algorithm string) (k namedKey, found, changed bool, err error) {
	if k, found, err = takeOneTimeKey(tx, d, algorithm, e.millis()); err != nil || found {
		return k, found, true, err
	}
	k, used, found, err := readFallback(tx, d, algorithm)
	if err != nil || !found || used {
		return k, found, false, err
	}
	return k, true, true, useFallback(tx, d, algorithm)
}
