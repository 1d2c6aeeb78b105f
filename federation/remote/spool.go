package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
)

const (
	// spoolMemory is how much of a room is in memory while it is told; what is more goes to a file.
	spoolMemory = 4 << 20
	// spoolPart is how many events are read back, verified and kept at a time.
	spoolPart = 200
)

// spool keeps the events of a room as another server tells them, in whatever order: on disk, where they are many. In
// memory is what orders them, some hundred bytes each, and who has signed them.
type spool struct {
	version *rules.Version
	room    matrix.RoomID
	dir     string

	numbers map[matrix.EventID]int32 // of events that were told or referred to
	events  []spooled                // by number
	auth    []int32                  // to which they refer, one after the other
	create  int32                    // the number of the create event, -1: it was not told
	signers peer.Signers

	size   int64 // of all that was told
	memory int   // how long the buffer gets
	buffer []byte
	file   *os.File
}

// spooled is where an event stands; without a size it was only referred to.
type spooled struct {
	id         matrix.EventID
	at         int64
	size       int32
	state      bool
	cites      uint8
	firstCited int32
}

func newSpool(v *rules.Version, room matrix.RoomID, dir string) *spool {
	return &spool{version: v, room: room, dir: dir, numbers: make(map[matrix.EventID]int32), create: -1, memory: spoolMemory}
}

// close forgets the events.
func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name()) // where it could not be removed while it was open
	}
}

// add keeps an event. Those of other rooms are left out.
func (s *spool) add(ev *rules.Event, state bool) error {
	if ev.RoomID() != s.room {
		return nil
	}
	n := s.number(ev.ID())
	e := &s.events[n]
	e.state = e.state || state
	if e.size > 0 {
		return nil
	}
	e.at, e.size = s.size, int32(len(ev.Bytes()))
	e.firstCited, e.cites = int32(len(s.auth)), uint8(len(ev.Auth()))
	for _, id := range ev.Auth() {
		s.auth = append(s.auth, s.number(id))
	}
	if ev.IsState("m.room.create", "") && s.create < 0 {
		s.create = n
	}
	s.signers.Add(ev)
	s.size += int64(len(ev.Bytes()))
	if s.buffer = append(s.buffer, ev.Bytes()...); len(s.buffer) < s.memory {
		return nil
	}
	return s.flush()
}

// number is the number of an event.
func (s *spool) number(id matrix.EventID) int32 {
	n, known := s.numbers[id]
	if !known {
		n = int32(len(s.events))
		id = matrix.EventID(strings.Clone(string(id))) // which is a part of more
		s.numbers[id] = n
		s.events = append(s.events, spooled{id: id})
	}
	return n
}

// flush writes the buffer to the file, which has no name where the system allows that, so that it ends with the
// program.
func (s *spool) flush() error {
	if s.file == nil {
		file, err := os.CreateTemp(s.dir, "room-*.tmp")
		if err != nil {
			return fmt.Errorf("keep a large room: %w", err)
		}
		s.file = file
		_ = os.Remove(file.Name())
	}
	if _, err := s.file.Write(s.buffer); err != nil {
		return fmt.Errorf("keep a large room: %w", err)
	}
	s.buffer = s.buffer[:0]
	return nil
}

// read reads an event back.
func (s *spool) read(n int32) (*rules.Event, error) {
	e := &s.events[n]
	text := make([]byte, e.size)
	if inFile := s.size - int64(len(s.buffer)); e.at >= inFile {
		copy(text, s.buffer[e.at-inFile:])
	} else if _, err := s.file.ReadAt(text, e.at); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read a kept room: %w", err)
	}
	return rules.Load(s.version, e.id, text)
}

func (s *spool) readAll(numbers []int32) ([]*rules.Event, error) {
	events := make([]*rules.Event, len(numbers))
	for i, n := range numbers {
		var err error
		if events[i], err = s.read(n); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// order gives the numbers of the events so that each comes after those that it refers to, the create event first:
// from room version 12 all others refer to it without naming it. One that refers to itself has no end.
func (s *spool) order() []int32 {
	const begun, done = 1, 2
	state := make([]uint8, len(s.events))
	sorted := make([]int32, 0, len(s.events))
	var open []int32
	visit := func(first int32) {
		open = append(open[:0], first)
		for len(open) > 0 {
			n := open[len(open)-1]
			if e := &s.events[n]; state[n] != 0 || e.size == 0 {
				open = open[:len(open)-1]
				if state[n] == begun {
					state[n] = done
					sorted = append(sorted, n)
				}
				continue
			}
			state[n] = begun
			for _, a := range s.cited(n) {
				if state[a] == 0 {
					open = append(open, a)
				}
			}
		}
	}
	if s.create >= 0 {
		visit(s.create)
	}
	for n := range s.events {
		visit(int32(n))
	}
	return sorted
}

// cited are the numbers of the events to which one refers.
func (s *spool) cited(n int32) []int32 {
	e := &s.events[n]
	return s.auth[e.firstCited : e.firstCited+int32(e.cites)]
}

// parts gives the events that a room was told to have, part by part: verified, each after those that it refers to.
// While one part is used the next one is verified. Events that are not signed as they should be are left out: what
// needs them is refused.
func (r *Remote) parts(ctx context.Context, told *spool) iter.Seq2[[]roomserver.Piece, error] {
	return func(yield func([]roomserver.Piece, error) bool) {
		if err := r.keys.Prepare(ctx, &told.signers); err != nil {
			yield(nil, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		ready := make(chan partOrError)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() {
			defer close(ready)
			for numbers := range slices.Chunk(told.order(), spoolPart) {
				part, err := r.part(ctx, told, numbers)
				select {
				case ready <- partOrError{part, err}:
				case <-ctx.Done():
					return
				}
			}
		})
		for p := range ready {
			if !yield(p.part, p.err) || p.err != nil {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
		}
	}
}

type partOrError struct {
	part []roomserver.Piece
	err  error
}

// part reads and verifies some events.
func (r *Remote) part(ctx context.Context, told *spool, numbers []int32) ([]roomserver.Piece, error) {
	events, err := told.readAll(numbers)
	if err != nil {
		return nil, err
	}
	part := make([]roomserver.Piece, 0, len(events))
	for i, v := range r.keys.VerifyEvents(ctx, events) {
		if v.Err != nil {
			r.log.Debug("an event of a room that is joined is not taken", "event", v.Event.ID(), "error", v.Err)
			continue
		}
		part = append(part, roomserver.Piece{Event: v.Event, State: told.events[numbers[i]].state})
	}
	return part, ctx.Err()
}
