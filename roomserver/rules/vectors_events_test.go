package rules_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver/rules"
)

func checkersEvents() map[string]checker {
	return map[string]checker{
		"canonical":                   checkCanonical,
		"events/sign":                 checkSign,
		"events/receive":              checkReceive,
		"events/json_sign":            checkJSONSign,
		"events/event_sign_published": checkPublished,
	}
}

func checkCanonical(_ *vectorFile, record json.RawMessage) error {
	type answer struct {
		OK  bool
		Out []byte
		Why string
	}
	var r struct {
		In            []byte
		Strict, Loose answer
		InEvent       map[string]bool `json:"in_event"`
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return err
	}
	for mode, want := range map[canonicaljson.Mode]answer{canonicaljson.Strict: r.Strict, canonicaljson.Loose: r.Loose} {
		out, err := canonicaljson.Canonical(nil, r.In, mode)
		if (err == nil) != want.OK {
			return fmt.Errorf("mode %d of %q: %v, wanted ok=%v %s", mode, short(r.In), err, want.OK, want.Why)
		}
		if err == nil && !bytes.Equal(out, want.Out) {
			return fmt.Errorf("mode %d of %q: %q, wanted %q", mode, short(r.In), short(out), short(want.Out))
		}
	}
	for name, want := range r.InEvent {
		v, _ := rules.ByID(matrix.RoomVersion(name[1:]))
		pdu := `{"auth_events":[],"content":{"x":` + string(r.In) + `},"depth":1,"hashes":{"sha256":"` + strings.Repeat("A", 43) + `"},` +
			`"origin_server_ts":1,"prev_events":[],"sender":"@a:b","signatures":{"b":{}},"type":"m","room_id":`
		if name == "v1" {
			pdu += `"!r:b","event_id":"$e:b"}`
		} else {
			pdu += `"!` + strings.Repeat("A", 43) + `"}`
		}
		if _, err := rules.Read(v, []byte(pdu)); (err == nil) != want {
			return fmt.Errorf("in an event of %s, %q: %v, wanted %v", name, short(r.In), err, want)
		}
	}
	return nil
}

func short(b []byte) string { return string(b[:min(len(b), 200)]) }

// server is a signing server of the vectors.
type server struct {
	name matrix.ServerName
	key  matrix.KeyID
	priv ed25519.PrivateKey
	pub  ed25519.PublicKey
}

func signer(name, keyID, seed string) (server, error) {
	raw, ok := canonicaljson.ParseBase64(seed)
	if !ok || len(raw) != ed25519.SeedSize {
		return server{}, fmt.Errorf("no seed for %s", name)
	}
	priv := ed25519.NewKeyFromSeed(raw)
	return server{matrix.ServerName(name), matrix.KeyID(keyID), priv, priv.Public().(ed25519.PublicKey)}, nil
}

// checkSign takes an event without hashes through all that is done to it: hashed, signed, named, redacted.
func checkSign(f *vectorFile, record json.RawMessage) error {
	var r struct {
		V             matrix.RoomVersion
		Event         json.RawMessage
		Server        string
		ContentHash   string `json:"content_hash"`
		Signature     string
		Redacted      json.RawMessage
		ReferenceHash string `json:"reference_hash"`
		EventID       string `json:"event_id"`
		Refused       bool
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return err
	}
	v, ok := rules.ByID(r.V)
	if !ok {
		return fmt.Errorf("no room version %q", r.V)
	}
	s, err := signer(r.Server, f.Keys[r.Server].KeyID, f.Keys[r.Server].Seed)
	if err != nil {
		return err
	}
	pdu := bytes.TrimSpace(r.Event)
	signatures := `{}`
	if v.EventIDInside { // the reader wants to see that the server of the id has signed
		id, _ := canonicaljson.Field(r.Event, "event_id")
		text, _ := canonicaljson.Text(id)
		signatures = `{"` + string(matrix.EventID(text).Server()) + `":{}}`
	}
	pdu = append(bytes.Clone(pdu[:len(pdu)-1]), `,"hashes":{"sha256":"`+r.ContentHash+`"},"signatures":`+signatures+`}`...)
	e, err := rules.Read(v, pdu)
	if (err != nil) != r.Refused {
		return fmt.Errorf("read: %v, wanted refused=%v", err, r.Refused)
	}
	if err != nil {
		return nil
	}
	if !e.ContentHashOK() {
		return fmt.Errorf("content hash: not %s", r.ContentHash)
	}
	signed := e.Sign(s.name, s.key, s.priv)
	if sig, _ := canonicaljson.Field(signed.Bytes(), "signatures", string(s.name), string(s.key)); string(sig) != `"`+r.Signature+`"` {
		return fmt.Errorf("signature: %s, wanted %s", sig, r.Signature)
	}
	if err := signed.VerifySignature(s.name, s.key, s.pub); err != nil {
		return err
	}
	if hash := e.ReferenceHash(); r.ReferenceHash != "" && canonicaljson.Base64(hash[:]) != r.ReferenceHash {
		return fmt.Errorf("reference hash: %s, wanted %s", canonicaljson.Base64(hash[:]), r.ReferenceHash)
	}
	if r.EventID != "" && string(e.ID()) != r.EventID {
		return fmt.Errorf("event id: %s, wanted %s", e.ID(), r.EventID)
	}
	if r.Redacted != nil {
		if err := sameEvent(v, signed.Redact(), r.Redacted); err != nil {
			return fmt.Errorf("redacted: %w", err)
		}
	}
	return checkBuild(v, signed, s)
}

// checkPublished checks an example of the specification. They lack members that events must have, so
// that they do not pass the strict reader.
func checkPublished(_ *vectorFile, record json.RawMessage) error {
	var r struct {
		V           matrix.RoomVersion
		Event       map[string]any
		Server      string
		KeyID       string `json:"key_id"`
		Seed        string
		ContentHash string `json:"content_hash"`
		Signature   string
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return err
	}
	v, _ := rules.ByID(r.V)
	s, err := signer(r.Server, r.KeyID, r.Seed)
	if err != nil {
		return err
	}
	delete(r.Event, "unsigned")
	r.Event["hashes"] = map[string]string{"sha256": r.ContentHash}
	stored, err := canonicaljson.Marshal(r.Event)
	if err != nil {
		return err
	}
	e, err := rules.Load(v, "$published", stored)
	if err != nil {
		return err
	}
	if !e.ContentHashOK() {
		return fmt.Errorf("content hash: not %s", r.ContentHash)
	}
	signed := e.Sign(s.name, s.key, s.priv)
	if sig, _ := canonicaljson.Field(signed.Bytes(), "signatures", r.Server, r.KeyID); string(sig) != `"`+r.Signature+`"` {
		return fmt.Errorf("signature: %s, wanted %s", sig, r.Signature)
	}
	return nil
}

// sameEvent compares an event with JSON, of which unsigned does not count.
func sameEvent(v *rules.Version, e *rules.Event, want json.RawMessage) error {
	mode := canonicaljson.Strict
	if !v.StrictJSON {
		mode = canonicaljson.Loose
	}
	canonical, err := canonicaljson.Canonical(nil, want, mode)
	if err != nil {
		return err
	}
	kept := []byte("{")
	err = canonicaljson.Fields(canonical, func(key string, value []byte) error {
		if key != "unsigned" {
			kept = append(canonicaljson.AppendText(kept, key), ':')
			kept = append(append(kept, value...), ',')
		}
		return nil
	})
	kept[len(kept)-1] = '}'
	if err == nil && !bytes.Equal(e.Bytes(), kept) {
		err = fmt.Errorf("%s, wanted %s", e.Bytes(), kept)
	}
	return err
}

// checkBuild makes the event anew from its parts, where it has no others than Build knows: the bytes must
// be the same.
func checkBuild(v *rules.Version, e *rules.Event, s server) error {
	keys := map[string][]byte{}
	if err := canonicaljson.Fields(e.Bytes(), func(k string, v []byte) error { keys[k] = v; return nil }); err != nil {
		return err
	}
	p := rules.Proto{
		RoomID: e.RoomID(), Sender: e.Sender(), Type: e.Type(), Content: e.Content(),
		Depth: e.Depth(), OriginServerTS: e.OriginServerTS(),
		Prev: refs(keys["prev_events"], v), Auth: refs(keys["auth_events"], v),
	}
	if key, ok := e.StateKey(); ok {
		p.StateKey = &key
	}
	if v.EventIDInside {
		p.EventID = e.ID()
	}
	known := []string{
		"auth_events", "content", "depth", "event_id", "hashes", "origin_server_ts", "prev_events", "room_id",
		"sender", "signatures", "state_key", "type",
	}
	if e.Type() == "m.room.redaction" && !v.RedactsInContent {
		known = append(known, "redacts")
		p.Redacts = e.Redacts()
	}
	for key := range keys {
		if !slices.Contains(known, key) {
			return nil
		}
	}
	built, err := rules.Build(v, &p)
	if err != nil {
		if len(e.Bytes()) > 64000 {
			return nil
		}
		return fmt.Errorf("build: %w", err)
	}
	if again := built.Sign(s.name, s.key, s.priv); !bytes.Equal(again.Bytes(), e.Bytes()) || again.ID() != e.ID() {
		return fmt.Errorf("built %s %s, wanted %s %s", again.ID(), again.Bytes(), e.ID(), e.Bytes())
	}
	return nil
}

// refs reads references from the value of prev_events or auth_events.
func refs(value []byte, v *rules.Version) []rules.EventRef {
	var out []rules.EventRef
	for w := canonicaljson.WalkArray(value); w.Next(); {
		var ref rules.EventRef
		id := w.Value()
		if v.EventIDInside {
			pair := canonicaljson.WalkArray(id)
			pair.Next()
			id = pair.Value()
			pair.Next()
			claim, _ := canonicaljson.Field(pair.Value(), "sha256")
			text, _ := canonicaljson.Text(claim)
			hash, _ := base64.RawStdEncoding.DecodeString(text)
			copy(ref.Hash[:], hash)
		}
		text, _ := canonicaljson.Text(id)
		ref.ID = matrix.EventID(text)
		out = append(out, ref)
	}
	return out
}

// receive does with a PDU what is done on its arrival, before the authorization rules.
func receive(f *vectorFile, v *rules.Version, pdu []byte) (*rules.Event, string, error) {
	e, err := rules.Read(v, pdu)
	if err != nil {
		return nil, "reject", err
	}
	for _, name := range e.RequiredSigners() {
		if err := signedBy(f, e, name); err != nil {
			return e, "reject", err
		}
	}
	if !e.ContentHashOK() {
		return e.Redact(), "redact", nil
	}
	return e, "accept", nil
}

// signedBy looks for one valid signature of a server with its known key.
func signedBy(f *vectorFile, e *rules.Event, name matrix.ServerName) error {
	k, ok := f.Keys[string(name)]
	if !ok {
		return fmt.Errorf("no key of %s", name)
	}
	pub, ok := canonicaljson.ParseBase64(k.Public)
	if !ok || !slices.Contains(e.KeyIDs(name), matrix.KeyID(k.KeyID)) {
		return fmt.Errorf("not signed by %s", name)
	}
	return e.VerifySignature(name, matrix.KeyID(k.KeyID), pub)
}

func checkReceive(f *vectorFile, record json.RawMessage) error {
	var r struct {
		V       matrix.RoomVersion
		PDU     []byte
		Result  string
		EventID string `json:"event_id"`
		Event   json.RawMessage
		Stage   string
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return err
	}
	v, ok := rules.ByID(r.V)
	if !ok {
		return fmt.Errorf("no room version %q", r.V)
	}
	e, result, why := receive(f, v, r.PDU)
	if result != r.Result {
		return fmt.Errorf("%s (%v), wanted %s at %s: %s", result, why, r.Result, r.Stage, short(r.PDU))
	}
	if e == nil {
		return nil
	}
	if r.EventID != "" && string(e.ID()) != r.EventID {
		return fmt.Errorf("event id: %s, wanted %s", e.ID(), r.EventID)
	}
	if result == "redact" {
		if err := sameEvent(v, e, r.Event); err != nil {
			return err
		}
	}
	return checkStored(v, e)
}

func checkJSONSign(f *vectorFile, record json.RawMessage) error {
	var r struct {
		Object                  json.RawMessage
		Server, Seed, Signature string
		KeyID                   string `json:"key_id"`
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return err
	}
	if r.Seed == "" {
		r.Seed = f.Keys[r.Server].Seed
	}
	s, err := signer(r.Server, r.KeyID, r.Seed)
	if err != nil {
		return err
	}
	signed, err := canonicaljson.Sign(r.Object, r.Server, r.KeyID, s.priv)
	if err != nil {
		return err
	}
	if sig, _ := canonicaljson.Field(signed, "signatures", r.Server, r.KeyID); string(sig) != `"`+r.Signature+`"` {
		return fmt.Errorf("signature: %s, wanted %s", sig, r.Signature)
	}
	return canonicaljson.Verify(signed, r.Server, r.KeyID, s.pub)
}
