package peer

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// Verified is an event whose signatures were checked. Where its content hash was wrong it is the redacted form.
type Verified struct {
	Event *rules.Event
	// Err says why the event must not be taken; nil otherwise.
	Err error
}

// maxSigningKeys bounds how many keys of one server are looked at for one event.
const maxSigningKeys = 4

// VerifyEvents checks the content hashes and the signatures of events, and gives what is to be made of each, in
// the same order. Keys that are not known are fetched first, all together; the signatures are checked on all
// processors.
//
// Spec: SS "Validating hashes and signatures on received events"
func (k *Keys) VerifyEvents(ctx context.Context, events []*rules.Event) []Verified {
	out := make([]Verified, len(events))
	keys, err := k.find(ctx, keysOf(events), patient)
	if err != nil {
		for i, e := range events {
			out[i] = Verified{e, fmt.Errorf("find the keys of event %s: %w", e.ID(), err)}
		}
		return out
	}
	var next atomic.Int64
	var g errgroup.Group
	for range min(runtime.GOMAXPROCS(0), len(events)) {
		g.Go(func() error {
			for i := next.Add(1) - 1; i < int64(len(events)); i = next.Add(1) - 1 {
				out[i] = verifyEvent(events[i], keys)
			}
			return nil
		})
	}
	_ = g.Wait() // what went wrong stands with each event
	return out
}

// Signers are the keys that many events need, so that they can be fetched at once.
type Signers struct {
	keys map[keyName]int64 // by the latest time at which they have to be valid
}

// Add adds those of an event.
func (s *Signers) Add(e *rules.Event) {
	if s.keys == nil {
		s.keys = make(map[keyName]int64)
	}
	for _, server := range e.RequiredSigners() {
		for _, w := range signaturesOf(e, server) {
			at, known := s.keys[w.name()]
			if !known {
				w.server, w.id = matrix.ServerName(strings.Clone(string(w.server))), matrix.KeyID(strings.Clone(string(w.id)))
			}
			s.keys[w.name()] = max(at, w.at)
		}
	}
}

// Prepare fetches keys that are going to be needed: one question a server, or to a notary about many. Those that
// cannot be had are found missing by VerifyEvents.
func (k *Keys) Prepare(ctx context.Context, s *Signers) error {
	wants := make([]wanted, 0, len(s.keys))
	for name, at := range s.keys {
		wants = append(wants, wanted{name.server, name.id, at})
	}
	_, err := k.find(ctx, wants, patient)
	return err
}

// keysOf lists the keys that the signatures of events need.
func keysOf(events []*rules.Event) []wanted {
	seen := make(map[wanted]bool)
	var all []wanted
	for _, e := range events {
		for _, server := range e.RequiredSigners() {
			for _, w := range signaturesOf(e, server) {
				if !seen[w] {
					seen[w] = true
					all = append(all, w)
				}
			}
		}
	}
	return all
}

// signaturesOf lists the keys with which a server says to have signed an event.
func signaturesOf(e *rules.Event, server matrix.ServerName) []wanted {
	at := int64(anyTime)
	if e.Version().KeyValidity {
		at = max(e.OriginServerTS(), 1)
	}
	var all []wanted
	for _, id := range e.KeyIDs(server) {
		if isKeyID(id) && id != rules.PolicyKeyID && len(all) < maxSigningKeys {
			all = append(all, wanted{server, id, at})
		}
	}
	return all
}

func verifyEvent(e *rules.Event, keys map[wanted]ed25519.PublicKey) Verified {
	for _, server := range e.RequiredSigners() {
		if err := verifySigner(e, server, keys); err != nil {
			return Verified{e, fmt.Errorf("event %s: %w", e.ID(), err)}
		}
	}
	if !e.ContentHashOK() {
		e = e.Redact()
	}
	return Verified{Event: e}
}

// verifySigner checks that a server has signed an event with one of its keys.
func verifySigner(e *rules.Event, server matrix.ServerName, keys map[wanted]ed25519.PublicKey) error {
	failed := fmt.Errorf("%w: none of %s", rules.ErrSignature, server)
	for _, w := range signaturesOf(e, server) {
		key, ok := keys[w]
		if !ok {
			failed = fmt.Errorf("%w: %s of %s: %w", rules.ErrSignature, w.id, server, errNoKey)
			continue
		}
		err := e.VerifySignature(server, w.id, key)
		if err == nil {
			return nil
		}
		failed = err
	}
	return failed
}

// IsMissingKey says of the error of an event that it could not be judged, since a key could not be had. It may
// be had later.
func IsMissingKey(err error) bool { return errors.Is(err, errNoKey) }
