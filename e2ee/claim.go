package e2ee

import (
	"cmp"
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
// key. Where there is neither, the device is missing from the answer. Other servers are asked for those of
// their users, each for as long as the client has patience; 0: a while.
func (e *Encryption) Claim(ctx context.Context, claims Claims, wait time.Duration) (Claimed, Failures, error) {
	ours, theirs := make(Claims), make(Claims)
	for user, devices := range claims {
		if e.ours(user) {
			ours[user] = devices
		} else {
			theirs[user] = devices
		}
	}
	if _, err := theirs.check(); err != nil {
		return nil, nil, err
	}
	claimed, err := e.ClaimOurs(ctx, ours)
	if err != nil || len(theirs) == 0 {
		return claimed, Failures{}, err
	}
	failures := askAll(ctx, e, wait, byServer(theirs), e.remote.ClaimKeys, func(from matrix.ServerName, told Claimed) {
		claimed.take(from, theirs, told)
	})
	return claimed, failures, nil
}

// ClaimOurs is Claim for users of this server alone.
//
// Spec: POST /_matrix/federation/v1/user/keys/claim
func (e *Encryption) ClaimOurs(ctx context.Context, claims Claims) (Claimed, error) {
	wanted, err := claims.check()
	if err != nil {
		return nil, err
	}
	for d := range wanted {
		if !e.ours(d.user) {
			return nil, matrix.InvalidParam("%s is no user of this server", d.user)
		}
	}
	return e.claim(ctx, wanted)
}

// check checks the form of claims.
func (c Claims) check() (map[deviceID]string, error) {
	wanted := make(map[deviceID]string)
	for user, devices := range c {
		if _, err := matrix.ParseUserID(string(user)); err != nil {
			return nil, err
		}
		for device, algorithm := range devices {
			wanted[deviceID{user, device}] = algorithm
		}
	}
	if len(wanted) > maxAsked {
		return nil, matrix.InvalidParam("more than %d devices at once", maxAsked)
	}
	return wanted, nil
}

// take takes the keys that another server has given out: those that were claimed from it, of the algorithm
// that was named, one for each device.
func (c Claimed) take(from matrix.ServerName, wanted Claims, told Claimed) {
	for user, devices := range wanted {
		if user.Server() != from {
			continue
		}
		for device, algorithm := range devices {
			for name, raw := range told[user][device] {
				canonical, err := canonicaljson.Canonical(nil, raw, canonicaljson.Strict)
				if err != nil {
					continue
				}
				if k, err := checkKey(name, canonical); err == nil && k.Algorithm == algorithm {
					c.add(deviceID{user, device}, k)
					break
				}
			}
		}
	}
}

// claim gives out keys of users of this server. It goes by the order of devices, so that two claims do not
// wait for each other.
func (e *Encryption) claim(ctx context.Context, wanted map[deviceID]string) (out Claimed, err error) {
	order := slices.SortedFunc(maps.Keys(wanted), deviceID.compare)
	var pos int64
	err = e.db.Update(ctx, func(tx *store.Tx) error {
		out, pos = make(Claimed), 0
		var users []matrix.UserID
		for _, d := range order {
			k, found, changed, err := e.claimOne(tx, d, wanted[d])
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			out.add(d, k)
			if n := len(users); changed && (n == 0 || users[n-1] != d.user) {
				users = append(users, d.user)
			}
		}
		if len(users) == 0 {
			return nil
		}
		var err error
		if pos, err = tx.NextPos(1); err != nil {
			return err
		}
		if e.epoch.mark != "" {
			if err := noteGiven(tx, e.epoch.mark, pos, e.millis()); err != nil {
				return fmt.Errorf("note that keys were given out: %w", err)
			}
		}
		return noteKeys(tx, pos, users...)
	})
	if err != nil || pos == 0 {
		return out, err
	}
	return out, e.epoch.gave(pos)
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
