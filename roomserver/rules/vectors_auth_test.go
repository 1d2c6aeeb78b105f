package rules_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver/rules"
)

func checkersAuth() map[string]checker {
	return map[string]checker{"auth": checkAuth, "stateres": checkState}
}

// authRecord is one decision of auth.jsonl.gz.
type authRecord struct {
	V          matrix.RoomVersion
	Class      string
	Case       string
	Reason     string
	Event      json.RawMessage
	EventID    matrix.EventID `json:"event_id"`
	AuthEvents []citedRecord  `json:"auth_events"`
	Create     *citedRecord
	Allowed    bool
}

type citedRecord struct {
	EventID  matrix.EventID `json:"event_id"`
	Event    json.RawMessage
	Rejected bool
}

func (r citedRecord) read(v *rules.Version) (rules.Cited, error) {
	e, err := readUnsigned(v, r.EventID, r.Event)
	return rules.Cited{Event: e, Rejected: r.Rejected}, err
}

// readUnsigned takes an event whose signatures the vectors leave out as verified, and checks its id.
func readUnsigned(v *rules.Version, id matrix.EventID, raw []byte) (*rules.Event, error) {
	mode := canonicaljson.Loose
	if v.StrictJSON {
		mode = canonicaljson.Strict
	}
	raw, err := canonicaljson.Canonical(nil, raw, mode)
	if err != nil {
		return nil, err
	}
	if _, signed := canonicaljson.Field(raw, "signatures"); !signed {
		raw = canonicaljson.AppendWithMember(nil, raw, "signatures", []byte("{}"))
	}
	e, err := rules.Load(v, "", raw)
	if err == nil && e.ID() != id {
		err = fmt.Errorf("the event is %s, and should be %s", e.ID(), id)
	}
	return e, err
}

func checkAuth(f *vectorFile, record json.RawMessage) error {
	var r authRecord
	if err := json.Unmarshal(record, &r); err != nil {
		return err
	}
	v, ok := rules.ByID(r.V)
	if !ok {
		return fmt.Errorf("room version %s is not known", r.V)
	}
	var cited []rules.Cited
	for _, a := range r.AuthEvents {
		c, err := a.read(v)
		if err != nil {
			return fmt.Errorf("auth event %s: %w", a.EventID, err)
		}
		cited = append(cited, c)
	}
	if r.Create != nil {
		c, err := r.Create.read(v)
		if err != nil {
			return fmt.Errorf("create event: %w", err)
		}
		cited = append(cited, c)
	}
	err := arrive(f, v, &r, cited)
	if (err == nil) != r.Allowed {
		return fmt.Errorf("%s: allowed should be %v (%s), and it is: %w", r.Case, r.Allowed, r.Reason, orAllowed(err))
	}
	return nil
}

func orAllowed(err error) error {
	if err == nil {
		return errors.New("allowed")
	}
	return err
}

// arrive judges an event as one that arrives: its form, its signatures, its auth events, the state.
func arrive(f *vectorFile, v *rules.Version, r *authRecord, cited []rules.Cited) error {
	e, err := rules.Read(v, r.Event)
	if err != nil {
		return err
	}
	for _, server := range e.RequiredSigners() {
		k, ok := f.Keys[string(server)]
		if !ok {
			return fmt.Errorf("no key of %q", server)
		}
		pub, _ := canonicaljson.ParseBase64(k.Public)
		if err := e.VerifySignature(server, matrix.KeyID(k.KeyID), ed25519.PublicKey(pub)); err != nil {
			return err
		}
	}
	if err := rules.CheckAuthEvents(e, cited); err != nil {
		return err
	}
	return rules.Authorize(e, func(tp, key string) *rules.Event {
		for _, c := range cited {
			if c.IsState(tp, key) {
				return c.Event
			}
		}
		return nil
	})
}
