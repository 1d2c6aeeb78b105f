package sender

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"

	"astrocyte/e2ee"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// The bounds of a transaction. Spec: SS "Transactions".
const (
	maxPDUs = 50
	maxEDUs = 100
	// maxBytes bounds what is in a transaction, but for its first event.
	maxBytes = 2 << 20
	// maxStretch is how many events of a room a server is brought one by one. Where it has missed more, it is
	// brought the newest, and asks for those before it as its users want them.
	maxStretch = 200
)

// transaction is what a server is sent at a time.
type transaction struct {
	server  matrix.ServerName
	edus    []edu
	durable *e2ee.Outgoing // the first of the EDUs
	pdus    []pdu
	moves   []move
	bytes   int
}

// pdu is an event of a transaction.
type pdu struct {
	nid  int64
	id   matrix.EventID
	json json.RawMessage
}

// edu is an EDU of a transaction.
type edu struct {
	json  json.RawMessage
	lasts bool   // it is kept until the server has taken it
	notes []note // what of memory is in it
}

// move is how far a stretch is sent with the transaction.
type move struct {
	waiting
	next int64 // of the first event that is not sent with it
	done bool  // there is none
}

// compose reads what waits for a server: at most so many things, those that come first. nothing waits where
// it has neither things nor moves.
func (s *Sender) compose(ctx context.Context, server matrix.ServerName, most int) (*transaction, error) {
	var t *transaction
	err := s.db.View(ctx, func(tx *store.Tx) error {
		t = &transaction{server: server}
		if err := s.addDurable(tx, t, most); err != nil {
			return fmt.Errorf("read EDUs: %w", err)
		}
		s.passing.add(t, most-len(t.edus))
		if err := s.addEvents(tx, t, most-len(t.edus)); err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make a transaction for %s: %w", server, err)
	}
	return t, nil
}

// addEvents adds the events that wait, those of the room that waits longest first.
func (s *Sender) addEvents(tx *store.Tx, t *transaction, most int) error {
	most = min(most, maxPDUs)
	rooms, err := readWaiting(tx, t.server, maxPDUs)
	if err != nil {
		return err
	}
	for _, w := range rooms {
		if len(t.pdus) >= most || t.bytes >= maxBytes {
			return nil
		}
		if err := s.addRoom(tx, t, w, most); err != nil {
			return err
		}
	}
	return nil
}

// addRoom adds the events of one stretch, and notes how far it goes.
func (s *Sender) addRoom(tx *store.Tx, t *transaction, w waiting, most int) error {
	items, err := s.items(tx, w)
	if err != nil {
		return err
	}
	nids := make([]int64, 0, len(items))
	for _, it := range items {
		if it.Seq <= w.upto {
			nids = append(nids, it.NID)
		}
	}
	events, err := s.rooms.Events(tx, nids)
	if err != nil {
		return err
	}
	if err := s.keepOurs(tx, events); err != nil {
		return err
	}
	for i, nid := range nids {
		e := events[nid]
		if e == nil {
			continue
		}
		if len(t.pdus) >= most || len(t.pdus) > 0 && t.bytes+len(e.Bytes()) > maxBytes {
			t.moves = append(t.moves, move{waiting: w, next: items[i].Seq})
			return nil
		}
		t.addEvent(e)
	}
	t.moves = append(t.moves, move{waiting: w, next: w.upto + 1, done: true})
	return nil
}

func (t *transaction) addEvent(e *roomserver.Event) {
	shown := e.Event
	if e.RedactedBy != 0 {
		shown = shown.Redact()
	}
	t.pdus = append(t.pdus, pdu{e.NID, e.ID(), json.RawMessage(shown.Bytes())})
	t.bytes += len(shown.Bytes())
}

func (t *transaction) empty() bool { return len(t.edus)+len(t.pdus) == 0 }

func (t *transaction) size() int { return len(t.edus) + len(t.pdus) }

// id names the transaction after what is in it and would matter if it were lost or came twice: so a repetition has
// the same id, also after a crash, and another node would give it the same.
func (t *transaction) id(now int64) string {
	sum := sha256.New()
	lasting := len(t.pdus) > 0
	for _, p := range t.pdus {
		sum.Write([]byte(p.id))
	}
	for _, e := range t.edus {
		if e.lasts {
			lasting = true
			sum.Write(e.json)
		}
	}
	if !lasting {
		for _, e := range t.edus {
			sum.Write(e.json)
		}
		sum.Write(strconv.AppendInt(nil, now, 10))
	}
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:18])
}

// body is the transaction as it is sent.
func (t *transaction) body(origin matrix.ServerName, now int64) json.RawMessage {
	b := make([]byte, 0, t.bytes+t.bytes/16+256)
	b = canonicaljson.AppendText(append(b, `{"origin":`...), string(origin))
	b = strconv.AppendInt(append(b, `,"origin_server_ts":`...), now, 10)
	b = append(b, `,"pdus":[`...)
	for i, p := range t.pdus {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, p.json...)
	}
	b = append(b, ']')
	for i, e := range t.edus {
		if i == 0 {
			b = append(b, `,"edus":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(b, e.json...)
	}
	if len(t.edus) > 0 {
		b = append(b, ']')
	}
	return append(b, '}')
}
