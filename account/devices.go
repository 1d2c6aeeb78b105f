package account

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/store"
)

// Device is a session of a user.
type Device struct {
	ID       matrix.DeviceID
	Name     string
	Created  int64
	LastSeen int64 // milliseconds, minutes late
	LastIP   string
	Agent    string
}

const (
	maxDeviceID   = 255
	maxDeviceName = 255
)

// CheckDevice says whether an id and a name can be those of a device.
func CheckDevice(id matrix.DeviceID, name string) error {
	if len(id) > maxDeviceID || !utf8.ValidString(string(id)) || strings.IndexByte(string(id), 0) >= 0 {
		return matrix.InvalidParam("a device ID must be text of at most %d bytes", maxDeviceID)
	}
	if len(name) > maxDeviceName {
		return matrix.InvalidParam("the name of a device cannot be longer than %d bytes", maxDeviceName)
	}
	return nil
}

// Devices lists a user's devices.
func (a *Accounts) Devices(ctx context.Context, user matrix.UserID) (devices []Device, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		devices, err = readDevices(tx, user)
		return err
	})
	for i := range devices {
		a.seen.addTo(user, &devices[i])
	}
	return devices, err
}

// Device finds a device.
func (a *Accounts) Device(ctx context.Context, user matrix.UserID, id matrix.DeviceID) (d Device, found bool, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		d, found, err = readDevice(tx, user, id)
		return err
	})
	a.seen.addTo(user, &d)
	return d, found, err
}

// RenameDevice changes the name of a device; false where there is none.
func (a *Accounts) RenameDevice(ctx context.Context, user matrix.UserID, id matrix.DeviceID, name string) (found bool, err error) {
	err = a.db.Update(ctx, func(tx *store.Tx) (err error) {
		if found, err = renameDevice(tx, user, id, name); found {
			tx.Announce(bus.Change{Kind: bus.User, Key: string(user)})
			if err == nil && a.hooks.DeviceRenamed != nil {
				err = a.hooks.DeviceRenamed(tx, user, id)
			}
		}
		return err
	})
	return found, err
}

// CreateDevice makes a device without tokens, for an application service; false where it is there.
func (a *Accounts) CreateDevice(ctx context.Context, user matrix.UserID, d NewDevice) (fresh bool, err error) {
	err = a.db.Update(ctx, func(tx *store.Tx) (err error) {
		fresh, err = insertDevice(tx, user, d.ID, d.Name, a.millis())
		return err
	})
	return fresh, err
}

// DeleteDevices removes devices with their tokens and all that belongs to them.
func (a *Accounts) DeleteDevices(ctx context.Context, user matrix.UserID, ids []matrix.DeviceID) error {
	return a.db.Update(ctx, func(tx *store.Tx) error { return a.removeDevices(tx, user, ids) })
}

func (a *Accounts) removeDevices(tx *store.Tx, user matrix.UserID, ids []matrix.DeviceID) error {
	if len(ids) == 0 {
		return nil
	}
	if err := deleteDevices(tx, user, ids); err != nil {
		return err
	}
	for _, follow := range a.hooks.DevicesGone {
		if err := follow(tx, user, ids); err != nil {
			return fmt.Errorf("delete devices of %s: %w", user, err)
		}
	}
	a.announceTokens(tx, user)
	tx.Announce(bus.Change{Kind: bus.User, Key: string(user)})
	return forgetSettings(tx, user, ids)
}

// settingsOfDevice are the types of account data that belong to one device, whose id follows.
//
// Extension: MSC3890, by its stable and unstable names.
var settingsOfDevice = [...]string{"m.local_notification_settings.", "org.matrix.msc3890.local_notification_settings."}

// forgetSettings deletes the account data that belongs to devices which are gone.
func forgetSettings(tx *store.Tx, user matrix.UserID, ids []matrix.DeviceID) error {
	var types []string
	for _, id := range ids {
		for _, of := range settingsOfDevice {
			types = append(types, of+string(id))
		}
	}
	there, err := typesThere(tx, user, types)
	if err != nil {
		return fmt.Errorf("find the settings of devices of %s: %w", user, err)
	}
	for _, tp := range there {
		if _, err := PutAccountData(tx, user, "", tp, deleted); err != nil {
			return err
		}
	}
	return nil
}

// removeAllDevices removes all devices of a user but keep.
func (a *Accounts) removeAllDevices(tx *store.Tx, user matrix.UserID, keep matrix.DeviceID) error {
	devices, err := readDevices(tx, user)
	if err != nil {
		return err
	}
	var ids []matrix.DeviceID
	for _, d := range devices {
		if d.ID != keep || keep == "" {
			ids = append(ids, d.ID)
		}
	}
	if err := deleteLoginTokensOf(tx, user); err != nil {
		return err
	}
	return a.removeDevices(tx, user, ids)
}

const (
	// seenEvery is how long a device is not noted again after it was seen.
	seenEvery      = 3 * time.Minute
	flushSeenEvery = 30 * time.Second
	maxSeen        = 100_000
)

// seenDevices are the devices seen since the last time that was written.
type seenDevices struct {
	mu      sync.Mutex
	devices map[deviceKey]sighting
}

type deviceKey struct {
	user   matrix.UserID
	device matrix.DeviceID
}

type sighting struct {
	at    int64
	ip    netip.Addr
	agent string
}

func newSeenDevices() *seenDevices { return &seenDevices{devices: map[deviceKey]sighting{}} }

// addTo adds to a device what of it is not written yet: clients want to know of the device they are on.
func (s *seenDevices) addTo(user matrix.UserID, d *Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, seen := s.devices[deviceKey{user, d.ID}]; seen && at.at > d.LastSeen {
		d.LastSeen, d.LastIP, d.Agent = at.at, at.ip.String(), at.agent
	}
}

// take gives what was seen, nil where nothing was, and begins anew.
func (s *seenDevices) take() map[deviceKey]sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.devices) == 0 {
		return nil
	}
	devices := s.devices
	s.devices = map[deviceKey]sighting{}
	return devices
}

// noteSeen remembers that a session was used, unless that was noted in the last minutes.
func (a *Accounts) noteSeen(s *session, r *http.Request, now int64) {
	last := s.seen.Load()
	if now-last < seenEvery.Milliseconds() || !s.seen.CompareAndSwap(last, now) {
		return
	}
	agent := strings.ReplaceAll(strings.ToValidUTF8(r.UserAgent(), ""), "\x00", "")
	at := sighting{at: now, ip: a.address(r), agent: agent[:min(len(agent), 200)]}
	a.seen.mu.Lock()
	defer a.seen.mu.Unlock()
	if len(a.seen.devices) < maxSeen {
		a.seen.devices[deviceKey{s.User, s.Device}] = at
	}
}

// flushSeen writes when devices were last seen. What a crash loses of it is not missed.
func (a *Accounts) flushSeen(ctx context.Context) {
	devices := a.seen.take()
	if len(devices) == 0 {
		return
	}
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		for key, at := range devices {
			if err := writeSeen(tx, key, at); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		a.log.Warn("write when devices were last seen", "error", err)
	}
}
