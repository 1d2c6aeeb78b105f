package e2ee

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// DeviceNews is what a device is told in each answer of /sync about itself.
//
// Spec: CS "Extensions to /sync" of the modules send-to-device and end-to-end encryption.
type DeviceNews struct {
	Inbox
	OneTimeKeys    map[string]int64 // by algorithm, zero where clients wait for it
	UnusedFallback []string         // algorithms
}

// Asked is how far a device is.
type Asked struct {
	Had   int64 // the position up to which the client is known to have its messages
	After int64 // the position after which they are told
	Upto  int64 // the position of the transaction
	Limit int   // messages that are told at most; 0: as many as one answer has
}

// maxDeviceStates bounds the devices of which the state is kept in memory.
const maxDeviceStates = 50_000

// deviceState is what was last read of a device. It is so up to the position at, and further as long as
// nothing of the user's changes.
type deviceState struct {
	at       int64
	counts   map[string]int64 // never changed
	fallback []string
	empty    bool // there are no messages
}

// News reads what is new for a device. changed says whether anything of the user's changed between a
// position and that of the transaction.
func (e *Encryption) News(tx *store.Tx, user matrix.UserID, device matrix.DeviceID, a Asked, changed func(since int64) bool) (DeviceNews, error) {
	d := deviceID{user, device}
	s, known := e.devices.Get(d)
	known = known && s.at <= a.Upto && !changed(s.at)
	if !known {
		s = deviceState{at: a.Upto}
		var err error
		if s.counts, err = readCounts(tx, user, device); err != nil {
			return DeviceNews{}, err
		}
		if s.fallback, err = readUnusedFallback(tx, user, device); err != nil {
			return DeviceNews{}, err
		}
	}
	n := DeviceNews{OneTimeKeys: s.counts, UnusedFallback: s.fallback, Inbox: Inbox{Told: a.Upto}}
	if !s.empty {
		var err error
		if n.Inbox, s.empty, err = inbox(tx, d, a); err != nil {
			return DeviceNews{}, err
		}
		if !known || s.empty {
			e.devices.Put(d, s, 1)
		}
	}
	return n, nil
}
