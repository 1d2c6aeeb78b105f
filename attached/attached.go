// Package attached knows which files the events of rooms show, and has those deleted of which the last such
// event is redacted or purged.
//
// A follower of the stream notes each mxc:// URI in the content of an event, wherever it stands. Encrypted
// events show nothing that a server could see, and so their files are deleted by nobody but administrators.
//
// Invariants:
//   - a file is deleted only by the redaction or the purge of an event whose sender has brought it, when no other event
//     that this server knows shows it, nor the profile of the sender;
//   - history that is fetched from other servers does not pass, and does not count.
package attached

import (
	"bytes"
	"context"
	"fmt"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/media"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Options are what it needs.
type Options struct {
	DB    *store.DB
	Bus   bus.Bus
	Rooms *roomserver.Rooms
	Media *media.Repository
}

// Attached follows the rooms.
type Attached struct{ o Options }

// New makes it.
func New(o Options) *Attached {
	a := &Attached{o}
	o.Rooms.OnPurge(roomserver.PurgeHooks{Purged: []func(*store.Tx, []roomserver.Purged) error{a.purged}})
	return a
}

// Name is that of the follower.
const Name = "attached"

// Run follows the rooms until the context ends.
func (a *Attached) Run(ctx context.Context) error {
	return a.o.Rooms.Follow(ctx, a.o.Bus, roomserver.Follower{Name: Name, Take: a.take})
}

// step is what one event means: that it shows files, or that another one is redacted.
type step struct {
	event    int64
	shows    []media.ID
	redacted matrix.UserID // the sender of the event, where it is that
}

func (a *Attached) take(ctx context.Context, passed []roomserver.Passed) (func(tx *store.Tx) error, error) {
	steps, err := a.steps(ctx, passed)
	if err != nil || len(steps) == 0 {
		return nil, err
	}
	nids := make([]int64, len(steps))
	for i, s := range steps {
		nids[i] = s.event
	}
	return func(tx *store.Tx) error {
		there, err := a.o.Rooms.Hold(tx, nids) // what is purged meanwhile has shown nothing
		if err != nil {
			return fmt.Errorf("look for what was purged: %w", err)
		}
		for _, s := range steps {
			if !there[s.event] {
				continue
			}
			if err := a.do(tx, s); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (a *Attached) do(tx *store.Tx, s step) error {
	if s.redacted == "" {
		return a.o.Media.Refer(tx, s.event, s.shows)
	}
	return a.withdraw(tx, []media.Shown{{Event: s.event, Sender: s.redacted}})
}

// purged takes the files back that events have shown which are removed for good: a hook for package roomserver.
func (a *Attached) purged(tx *store.Tx, gone []roomserver.Purged) error {
	shown := make([]media.Shown, len(gone))
	for i, e := range gone {
		shown[i] = media.Shown{Event: e.NID, Sender: e.Sender}
	}
	return a.withdraw(tx, shown)
}

func (a *Attached) withdraw(tx *store.Tx, shown []media.Shown) error {
	return a.o.Media.Withdraw(tx, shown, func(user matrix.UserID, id media.ID) (bool, error) { return inProfile(tx, user, id) })
}

// inProfile says whether the profile of a user of this server shows a file.
func inProfile(tx *store.Tx, user matrix.UserID, id media.ID) (bool, error) {
	profiles, err := account.ReadProfiles(tx, []matrix.UserID{user})
	return profiles[user].AvatarURL == id.String(), err
}

// steps reads what has passed.
func (a *Attached) steps(ctx context.Context, passed []roomserver.Passed) (steps []step, err error) {
	err = a.o.DB.View(ctx, func(tx *store.Tx) error {
		steps = nil
		for _, p := range passed {
			e := p.Event
			if e == nil {
				continue
			}
			if ids := shown(e.Content()); len(ids) > 0 {
				steps = append(steps, step{event: e.NID, shows: ids})
			}
			if e.Redacts() == "" {
				continue
			}
			target, err := a.redacted(tx, p.Room, e.Redacts())
			if err != nil {
				return err
			}
			if target != nil {
				steps = append(steps, step{event: target.NID, redacted: target.Sender()})
			}
		}
		return nil
	})
	return steps, err
}

// redacted finds an event of which a redaction took effect; nil: there is none.
func (a *Attached) redacted(tx *store.Tx, room roomserver.RoomNID, id matrix.EventID) (*roomserver.Event, error) {
	it, found, err := a.o.Rooms.Place(tx, room, id)
	if err != nil || !found {
		return nil, err
	}
	events, err := a.o.Rooms.Events(tx, []int64{it.NID})
	if err != nil {
		return nil, err
	}
	if e := events[it.NID]; e != nil && e.RedactedBy != 0 {
		return e, nil
	}
	return nil, nil
}

// maxShown bounds the files of one event.
const maxShown = 100

// scheme begins the URI of a file.
var scheme = []byte("mxc://")

// shown finds the URIs of files in the content of an event, also within texts.
func shown(content []byte) (ids []media.ID) {
	seen := make(map[media.ID]bool)
	for len(seen) < maxShown {
		_, rest, found := bytes.Cut(content, scheme)
		if !found {
			break
		}
		content = rest
		end := bytes.IndexFunc(rest, func(c rune) bool {
			return c == '"' || c == '\\' || c == '\'' || c == '?' || c == '#' || c == '<' || c == '>' || c <= ' '
		})
		if end < 0 {
			end = len(rest)
		}
		origin, name, found := bytes.Cut(rest[:end], []byte("/"))
		if !found {
			continue
		}
		id, err := media.ParseID(string(origin), string(name))
		if err == nil && !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}
