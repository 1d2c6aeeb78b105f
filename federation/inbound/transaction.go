package inbound

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// The bounds of a transaction. Spec: SS "Transactions".
const (
	maxPDUs = 50
	maxEDUs = 100
	// maxStaged is how many events of a room may wait; beyond crowded the answer waits for some to be received, so
	// that a server that catches up is no quicker than this one.
	maxStaged  = 1000
	crowded    = 100
	crowdTime  = 10 * time.Second
	crowdLook  = 20 * time.Millisecond
	verifyTime = 30 * time.Second
)

// Transaction is what a server sends at a time.
type Transaction struct {
	Origin matrix.ServerName // that signed it
	ID     string
	PDUs   []json.RawMessage
	EDUs   []json.RawMessage
}

// Result is what became of an event of a transaction.
type Result struct {
	Error string `json:"error,omitempty"`
}

// Results are told by event. Events that cannot be read have no id.
type Results map[matrix.EventID]Result

// Take takes a transaction: when it returns, what is good of it is kept, and the sender need not care any more.
// A repeated one is answered the same.
//
// Spec: PUT /_matrix/federation/v1/send/{txnId}
func (i *Inbound) Take(ctx context.Context, t Transaction) (Results, error) {
	switch {
	case len(t.PDUs) > maxPDUs:
		return nil, matrix.BadJSON("a transaction has at most %d PDUs, not %d", maxPDUs, len(t.PDUs))
	case len(t.EDUs) > maxEDUs:
		return nil, matrix.BadJSON("a transaction has at most %d EDUs, not %d", maxEDUs, len(t.EDUs))
	case t.ID == "" || len(t.ID) > matrix.MaxIDLength:
		return nil, matrix.InvalidParam("a transaction ID has 1 to %d bytes", matrix.MaxIDLength)
	}
	done, err := i.turns.take(ctx, t.Origin)
	if err != nil {
		return nil, err
	}
	defer done()
	if results, known, err := i.answered(ctx, t); err != nil || known {
		return results, err
	}
	events, results, err := i.judge(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("judge the events of a transaction of %s: %w", t.Origin, err)
	}
	edus := readEDUs(t.EDUs)
	if err := i.takeEDUs(ctx, t.Origin, edus, i.lasting); err != nil {
		return nil, err
	}
	crowd, err := i.keep(ctx, t, events, results)
	if err != nil {
		return nil, fmt.Errorf("keep a transaction of %s: %w", t.Origin, err)
	}
	taken.WithLabelValues("transaction").Inc()
	taken.WithLabelValues("pdu").Add(float64(len(events)))
	if err := i.takeEDUs(ctx, t.Origin, edus, i.passing); err != nil {
		i.log.Warn("take what passes of another server", "origin", t.Origin, "error", err)
	}
	i.waitForRoom(ctx, crowd)
	return results, nil
}

// answered finds what a transaction was answered with before.
func (i *Inbound) answered(ctx context.Context, t Transaction) (results Results, known bool, err error) {
	err = i.db.View(ctx, func(tx *store.Tx) error {
		answer, found, err := readAnswer(tx, t.Origin, t.ID)
		if known = found; !found || err != nil {
			return err
		}
		return json.Unmarshal(answer, &results)
	})
	if err != nil {
		return nil, false, fmt.Errorf("look for a repeated transaction: %w", err)
	}
	return results, known, nil
}

// keep stages the events and notes what the transaction is answered with, all or nothing. It gives the rooms in
// which many wait.
func (i *Inbound) keep(ctx context.Context, t Transaction, events []*judged, results Results) (crowd []roomserver.RoomNID, err error) {
	first := int64(0)
	if len(events) > 0 {
		if first, err = i.db.Nids(ctx, "inbound", len(events)); err != nil {
			return nil, err
		}
	}
	var a *arrival
	err = i.db.Update(ctx, func(tx *store.Tx) error {
		crowd, a = nil, nil
		byRoom := make(map[roomserver.RoomNID][]*judged)
		for n, e := range events {
			e.came = first + int64(n)
			byRoom[e.room] = append(byRoom[e.room], e)
		}
		waiting, err := countStaged(tx, slices.Collect(maps.Keys(byRoom)))
		if err != nil {
			return err
		}
		var good []*judged
		for room, some := range byRoom {
			if waiting[room]+len(some) > maxStaged {
				for _, e := range some {
					results[e.ev.ID()] = Result{"too many events of the room wait to be looked at"}
				}
				refused.WithLabelValues("room").Add(float64(len(some)))
				continue
			}
			good = append(good, some...)
			if waiting[room]+len(some) > crowded {
				crowd = append(crowd, room)
			}
		}
		if a, err = i.arrive(tx, t, good); err != nil {
			return err
		}
		answer, err := json.Marshal(results)
		if err != nil {
			return err
		}
		return writeAnswer(tx, t.Origin, t.ID, i.now().UnixMilli(), answer)
	})
	if err == nil {
		err = i.bring(ctx, a)
	}
	return crowd, err
}

// waitForRoom waits a while for rooms in which many events wait.
func (i *Inbound) waitForRoom(ctx context.Context, rooms []roomserver.RoomNID) {
	ctx, cancel := context.WithTimeout(ctx, crowdTime)
	defer cancel()
	for _, room := range rooms {
		for {
			var n int64
			err := i.db.View(ctx, func(tx *store.Tx) (err error) {
				n, err = countReady(tx, room)
				return err
			})
			if err != nil || n <= crowded {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(crowdLook):
			}
		}
	}
}

// receivedEDU is an EDU of a transaction.
type receivedEDU struct {
	kind    string
	content json.RawMessage
}

// readEDUs reads EDUs. What is none is passed over.
func readEDUs(raw []json.RawMessage) []receivedEDU {
	var all []receivedEDU
	for _, edu := range raw {
		kind, _ := canonicaljson.Field(edu, "edu_type")
		content, ok := canonicaljson.Field(edu, "content")
		text, is := canonicaljson.Text(kind)
		if ok && is {
			all = append(all, receivedEDU{text, content})
		}
	}
	return all
}

// takeEDUs takes those EDUs that some functions take. One that is wrong is logged, and keeps no other back.
func (i *Inbound) takeEDUs(ctx context.Context, from matrix.ServerName, edus []receivedEDU, by map[string]takesEDU) error {
	for _, e := range edus {
		takes, known := by[e.kind]
		if !known {
			continue
		}
		err := takes(ctx, from, e.content)
		var wrong *matrix.Error
		switch {
		case errors.As(err, &wrong):
			refused.WithLabelValues("edu").Inc()
			i.log.Info("an EDU of another server is not taken", "origin", from, "type", e.kind, "error", err)
		case err != nil:
			return fmt.Errorf("take an EDU of type %s of %s: %w", e.kind, from, err)
		default:
			taken.WithLabelValues("edu").Inc()
		}
	}
	return nil
}
