package e2ee

import (
	"encoding/json"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/store"
)

// DeviceMessage is a message that waits for a device.
type DeviceMessage struct {
	User    matrix.UserID
	Device  matrix.DeviceID
	Pos     int64
	Message json.RawMessage // as clients see it
}

// ServiceNews is what there is of keys and devices between two positions for a program that acts for many users.
//
// Spec: MSC3202, MSC4203.
type ServiceNews struct {
	Messages []DeviceMessage // to the users asked for
	Keys     []matrix.UserID // of them, those whose one-time or fallback keys changed
	Changed  []matrix.UserID // whoever's devices changed
}

// servicePage is how many rows are read at a time of those among which are the ones asked for.
const servicePage = 1000

// userAt is something of a user at a position.
type userAt struct {
	user matrix.UserID
	pos  int64
}

// ServicePositions reads up to limit positions of each kind of news behind one: of messages and keys those of the wanted.
func (e *Encryption) ServicePositions(tx *store.Tx, after int64, limit int, wanted func(matrix.UserID) bool) (all []int64, err error) {
	for _, it := range []struct {
		read   func(tx *store.Tx, after int64, limit int) ([]userAt, error)
		wanted func(matrix.UserID) bool
	}{
		{queuedAfter, wanted},
		{keyNewsAfter, wanted},
		{listsAfter, func(matrix.UserID) bool { return true }},
	} {
		for from, n := after, 0; n < limit; {
			page, err := it.read(tx, from, servicePage)
			if err != nil {
				return nil, fmt.Errorf("look for news of devices: %w", err)
			}
			for _, at := range page {
				if n < limit && it.wanted(at.user) {
					all, n = append(all, at.pos), n+1
				}
			}
			if len(page) < servicePage {
				break
			}
			from = page[len(page)-1].pos
		}
	}
	return all, nil
}

// ServiceNews reads the news from one position to another.
func (e *Encryption) ServiceNews(tx *store.Tx, from, upto int64, wanted func(matrix.UserID) bool) (*ServiceNews, error) {
	news := new(ServiceNews)
	err := eachQueued(tx, from, upto, func(m DeviceMessage) {
		if wanted(m.User) {
			news.Messages = append(news.Messages, m)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read messages to devices: %w", err)
	}
	keys, err := keyNewsBetween(tx, from, upto)
	if err != nil {
		return nil, fmt.Errorf("read whose keys changed: %w", err)
	}
	for _, user := range keys {
		if wanted(user) {
			news.Keys = append(news.Keys, user)
		}
	}
	if news.Changed, err = listsBetween(tx, from, upto); err != nil {
		return nil, fmt.Errorf("read whose devices changed: %w", err)
	}
	return news, nil
}

// KeysLeft is what of a device's keys waits to be given out.
type KeysLeft struct {
	Counts   map[string]int64 // of one-time keys, by algorithm
	Fallback []string         // algorithms whose fallback key was not given out
}

// KeysLeft tells of all devices of a user that have keys.
func (e *Encryption) KeysLeft(tx *store.Tx, user matrix.UserID) (map[matrix.DeviceID]KeysLeft, error) {
	devices, err := devicesWithKeys(tx, user)
	if err != nil {
		return nil, fmt.Errorf("find the devices of %s: %w", user, err)
	}
	out := make(map[matrix.DeviceID]KeysLeft, len(devices))
	for _, device := range devices {
		var left KeysLeft
		if left.Counts, err = readCounts(tx, user, device); err == nil {
			left.Fallback, err = readUnusedFallback(tx, user, device)
		}
		if err != nil {
			return nil, fmt.Errorf("count the keys of %s %s: %w", user, device, err)
		}
		out[device] = left
	}
	return out, nil
}

// Took deletes messages that were taken by who acts for their devices, and what was before them.
func (e *Encryption) Took(tx *store.Tx, messages []DeviceMessage) error {
	last := map[deviceID]int64{}
	for _, m := range messages {
		d := deviceID{m.User, m.Device}
		last[d] = max(last[d], m.Pos)
	}
	for d, upto := range last {
		if err := deleteMessages(tx, d, upto); err != nil {
			return fmt.Errorf("delete the messages of %s %s: %w", d.user, d.device, err)
		}
	}
	return nil
}
