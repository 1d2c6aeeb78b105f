package rules_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/spec"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// The benchmarks of this file do the same with this package and with gomatrixserverlib, in turns, and
// report both costs and how many times ours goes into theirs. "-crypto" is without the signature itself,
// which costs both the same and is measured in the same turns.

// side measures one thing in turns with others.
type side struct {
	fn    func() error
	turns []float64 // ns of one, by turn
}

// inTurns runs the sides in turns of a few dozen, so that a busy machine slows all of them.
func inTurns(b *testing.B, sides ...*side) {
	const turn = 32
	for left := b.N; left > 0; left -= turn {
		for _, s := range sides {
			n := min(turn, left)
			start := time.Now()
			for range n {
				if err := s.fn(); err != nil {
					b.Fatal(err)
				}
			}
			s.turns = append(s.turns, float64(time.Since(start).Nanoseconds())/float64(n))
		}
	}
}

// ns is the median over the turns.
func (s *side) ns() float64 {
	slices.Sort(s.turns)
	return s.turns[len(s.turns)/2]
}

// report prints the figures; crypto is nil where none is in them.
func report(b *testing.B, ours, theirs, crypto *side) {
	b.ReportMetric(0, "ns/op") // the sum of all sides says nothing
	b.ReportMetric(ours.ns(), "ours-ns")
	b.ReportMetric(theirs.ns(), "library-ns")
	b.ReportMetric(theirs.ns()/ours.ns(), "times")
	if crypto != nil {
		c := crypto.ns()
		b.ReportMetric(ours.ns()-c, "ours-ns-crypto")
		b.ReportMetric(theirs.ns()-c, "library-ns-crypto")
		b.ReportMetric((theirs.ns()-c)/(ours.ns()-c), "times-crypto")
	}
}

var benchPub = testKey.Public().(ed25519.PublicKey)

// benchProto is a message as people write them.
func benchProto() *rules.Proto {
	id := func(c string) rules.EventRef { return rules.EventRef{ID: matrix.EventID("$" + strings.Repeat(c, 43))} }
	return &rules.Proto{
		RoomID: "!IvHScdYDIjSwGPuodA:example.org", Sender: "@alice:example.org", Type: "m.room.message",
		Content: json.RawMessage(`{"body":"Shall we meet at the station at eight? I bring the tickets, and \"something\" to read.","m.mentions":{"user_ids":["@bob:example.org"]},"msgtype":"m.text"}`),
		Prev:    []rules.EventRef{id("p")}, Auth: []rules.EventRef{id("a"), id("b"), id("c"), id("d")}, Depth: 4711, OriginServerTS: 1700000000000,
	}
}

func benchEvent(b *testing.B) *rules.Event {
	b.Helper()
	e, err := rules.Build(version(b, "10"), benchProto())
	if err != nil {
		b.Fatal(err)
	}
	return e.Sign("example.org", "ed25519:1", testKey)
}

// BenchmarkBuild makes an event: canonical form, content hash, id, signature.
func BenchmarkBuild(b *testing.B) {
	v, p := version(b, "10"), benchProto()
	theirVersion := gomatrixserverlib.MustGetRoomVersion("10")
	ids := func(refs []rules.EventRef) (out []string) {
		for _, r := range refs {
			out = append(out, string(r.ID))
		}
		return out
	}
	ours := &side{fn: func() error {
		e, err := rules.Build(v, p)
		if err == nil {
			e.Sign("example.org", "ed25519:1", testKey)
		}
		return err
	}}
	theirs := &side{fn: func() error {
		_, err := theirVersion.NewEventBuilderFromProtoEvent(&gomatrixserverlib.ProtoEvent{
			SenderID: string(p.Sender), RoomID: string(p.RoomID), Type: p.Type, Content: spec.RawJSON(p.Content),
			PrevEvents: ids(p.Prev), AuthEvents: ids(p.Auth), Depth: p.Depth,
		}).Build(time.UnixMilli(p.OriginServerTS), "example.org", "ed25519:1", testKey)
		return err
	}}
	signed := benchEvent(b).Redact().Bytes()
	crypto := &side{fn: func() error { ed25519.Sign(testKey, signed); return nil }}
	inTurns(b, ours, theirs, crypto)
	report(b, ours, theirs, crypto)
}

// BenchmarkReceive takes in an event of another server: strict reading, content hash, id, one signature.
func BenchmarkReceive(b *testing.B) {
	v := version(b, "10")
	stored := benchEvent(b).Bytes()
	pdu := append(bytes.Clone(stored[:len(stored)-1]), `,"unsigned":{"age":120}}`...)
	shuffled, err := json.Marshal(shuffle(b, pdu))
	if err != nil {
		b.Fatal(err)
	}
	theirVersion := gomatrixserverlib.MustGetRoomVersion("10")
	for name, pdu := range map[string][]byte{"canonical": pdu, "shuffled": shuffled} {
		b.Run(name, func(b *testing.B) {
			ours := &side{fn: func() error {
				e, err := rules.Read(v, pdu)
				if err != nil || !e.ContentHashOK() {
					return err
				}
				return e.VerifySignature("example.org", "ed25519:1", benchPub)
			}}
			theirs := &side{fn: func() error {
				e, err := theirVersion.NewEventFromUntrustedJSON(pdu)
				if err != nil {
					return err
				}
				redacted, err := theirVersion.RedactEventJSON(e.JSON())
				if err != nil {
					return err
				}
				_ = e.EventID()
				return gomatrixserverlib.VerifyJSON("example.org", "ed25519:1", benchPub, redacted)
			}}
			signed := benchEvent(b).Redact().Bytes()
			sig := ed25519.Sign(testKey, signed)
			crypto := &side{fn: func() error { ed25519.Verify(benchPub, signed, sig); return nil }}
			inTurns(b, ours, theirs, crypto)
			report(b, ours, theirs, crypto)
		})
	}
}

// shuffle gives the members of an event in an order that is not the canonical one.
func shuffle(b *testing.B, pdu []byte) any {
	var m struct {
		Type     json.RawMessage `json:"type"`
		Sender   json.RawMessage `json:"sender"`
		Room     json.RawMessage `json:"room_id"`
		Content  json.RawMessage `json:"content"`
		Prev     json.RawMessage `json:"prev_events"`
		Auth     json.RawMessage `json:"auth_events"`
		TS       json.RawMessage `json:"origin_server_ts"`
		Depth    json.RawMessage `json:"depth"`
		Unsigned json.RawMessage `json:"unsigned"`
		Hashes   json.RawMessage `json:"hashes"`
		Sigs     json.RawMessage `json:"signatures"`
	}
	if err := json.Unmarshal(pdu, &m); err != nil {
		b.Fatal(err)
	}
	return m
}

// BenchmarkParse is reading alone: of others' events, without signature.
func BenchmarkParse(b *testing.B) {
	v := version(b, "10")
	pdu := benchEvent(b).Bytes()
	theirVersion := gomatrixserverlib.MustGetRoomVersion("10")
	ours := &side{fn: func() error {
		e, err := rules.Read(v, pdu)
		if err == nil {
			e.ContentHashOK()
		}
		return err
	}}
	theirs := &side{fn: func() error {
		e, err := theirVersion.NewEventFromUntrustedJSON(pdu)
		if err == nil {
			_ = e.EventID()
		}
		return err
	}}
	inTurns(b, ours, theirs)
	report(b, ours, theirs, nil)
}

// BenchmarkLoad reads an event from our own store.
func BenchmarkLoad(b *testing.B) {
	v := version(b, "10")
	e := benchEvent(b)
	id, stored := e.ID(), e.Bytes()
	theirVersion := gomatrixserverlib.MustGetRoomVersion("10")
	ours := &side{fn: func() error { _, err := rules.Load(v, id, stored); return err }}
	theirs := &side{fn: func() error {
		_, err := theirVersion.NewEventFromTrustedJSONWithEventID(string(id), stored, false)
		return err
	}}
	inTurns(b, ours, theirs)
	report(b, ours, theirs, nil)
}

// The following are ours alone, for allocations and profiles.

func BenchmarkOurs(b *testing.B) {
	v, p, e := version(b, "10"), benchProto(), benchEvent(b)
	id, stored := e.ID(), e.Bytes()
	for _, c := range []struct {
		name string
		fn   func()
	}{
		{"Build", func() { _, _ = rules.Build(v, p) }},
		{"Sign", func() { e.Sign("example.org", "ed25519:1", testKey) }},
		{"Read", func() { _, _ = rules.Read(v, stored) }},
		{"Load", func() { _, _ = rules.Load(v, id, stored) }},
		{"ContentHashOK", func() { e.ContentHashOK() }},
		{"ReferenceHash", func() { e.ReferenceHash() }},
		{"Redact", func() { e.Redact() }},
		{"Verify", func() { _ = e.VerifySignature("example.org", "ed25519:1", benchPub) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				c.fn()
			}
		})
	}
}
