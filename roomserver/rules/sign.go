package rules

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// ErrSignature is given where a signature is missing or does not fit.
var ErrSignature = errors.New("no valid signature")

// Sign gives the event with one more signature. Its id stays.
//
// Spec: SS "Signing Events".
func (e *Event) Sign(server matrix.ServerName, key matrix.KeyID, priv ed25519.PrivateKey) *Event {
	var room [stackRoom]byte
	return e.withSignature(server, key, ed25519.Sign(priv, e.appendRedacted(room[:0], false)))
}

// withSignature gives the event with one more signature, or another one of the same key.
func (e *Event) withSignature(server matrix.ServerName, key matrix.KeyID, sig []byte) *Event {
	var list [512]byte
	signatures := canonicaljson.AppendSignature(list[:0], e.at.signatures.of(e.raw), string(server), string(key), sig)
	s := &Event{version: e.version, words: e.words, prev: e.prev, auth: e.auth, depth: e.depth, ts: e.ts, sticky: e.sticky}
	s.raw, s.at = e.withSignatures(signatures)
	return s
}

// VerifySignature checks the signature of a server's key. What is wrong is told as an ErrSignature.
//
// Spec: SS "Validating hashes and signatures on received events".
func (e *Event) VerifySignature(server matrix.ServerName, key matrix.KeyID, pub ed25519.PublicKey) error {
	if len(pub) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: the key %s of %s is no ed25519 key", ErrSignature, key, server)
	}
	found, ok := canonicaljson.Field(e.at.signatures.of(e.raw), string(server), string(key))
	if !ok {
		return fmt.Errorf("%w: none of %s with %s", ErrSignature, server, key)
	}
	var decoded [96]byte
	sig, ok := canonicaljson.AppendBase64Text(decoded[:0], found)
	if !ok || len(sig) != ed25519.SignatureSize {
		return fmt.Errorf("%w: that of %s is no signature", ErrSignature, server)
	}
	var room [stackRoom]byte
	if !ed25519.Verify(pub, e.appendRedacted(room[:0], false), sig) {
		return fmt.Errorf("%w: that of %s with %s does not fit", ErrSignature, server, key)
	}
	return nil
}

// KeyIDs is the keys with which a server has signed the event, so it claims.
func (e *Event) KeyIDs(server matrix.ServerName) []matrix.KeyID {
	of, ok := canonicaljson.Field(e.at.signatures.of(e.raw), string(server))
	if !ok {
		return nil
	}
	var ids []matrix.KeyID
	w := canonicaljson.Walk(of)
	for w.Next() {
		ids = append(ids, matrix.KeyID(w.Key()))
	}
	return ids
}

// RequiredSigners is the servers without whose signature the event is not taken: the sender's, but for
// an invite that came of a third-party invite; with ids of versions 1 and 2 that of the id, where it is
// another; and for a join that another server has authorised, that one.
//
// Spec: SS "Validating hashes and signatures on received events".
func (e *Event) RequiredSigners() []matrix.ServerName {
	servers := make([]matrix.ServerName, 0, 2)
	add := func(s matrix.ServerName) {
		for _, have := range servers {
			if have == s {
				return
			}
		}
		servers = append(servers, s)
	}
	membership, authoriser, thirdParty := e.signerHints()
	if membership != matrix.Invite || !thirdParty {
		add(e.sender.Server())
	}
	if of := e.id.Server(); e.version.EventIDInside && of != e.sender.Server() {
		add(of)
	}
	if e.version.SignedByAuthoriser && membership == matrix.Join && authoriser != "" {
		add(authoriser.Server())
	}
	return servers
}

// signerHints reads of a member event what decides who must have signed it.
func (e *Event) signerHints() (m matrix.Membership, authoriser matrix.UserID, thirdParty bool) {
	if e.typ != "m.room.member" || !e.at.content.ok() {
		return "", "", false
	}
	w := canonicaljson.Walk(e.Content())
	for w.Next() {
		switch string(w.RawKey()) {
		case "membership":
			s, _ := canonicaljson.Text(w.Value())
			m = matrix.Membership(s)
		case "join_authorised_via_users_server":
			s, _ := canonicaljson.Text(w.Value())
			authoriser = matrix.UserID(s)
		case "third_party_invite":
			thirdParty = true
		}
	}
	return m, authoriser, thirdParty
}

// withSignatures puts other signatures into the event's bytes, and moves the index behind them.
func (e *Event) withSignatures(signatures []byte) ([]byte, index) {
	x := e.at
	raw := make([]byte, 0, len(e.raw)+len(signatures))
	raw = append(raw, e.raw[:x.signatures.start]...)
	raw = append(raw, signatures...)
	raw = append(raw, e.raw[x.signatures.end:]...)

	grown := uint32(len(raw)) - uint32(len(e.raw)) // wraps where it shrank, and so do the sums below
	x.signatures.end += grown
	// Of the members that the index knows these two stand behind signatures.
	for _, behind := range []*span{&x.stateKey, &x.typ} {
		if behind.ok() {
			behind.start, behind.end = behind.start+grown, behind.end+grown
		}
	}
	return raw, x
}
