package rules

import (
	"crypto/sha256"
	"encoding/base64"

	"astrocyte/matrix"
)

func hashID(v *Version, hash [32]byte) matrix.EventID {
	enc := base64.RawURLEncoding
	if v.StandardBase64 {
		enc = base64.RawStdEncoding
	}
	return matrix.EventID("$" + enc.EncodeToString(hash[:]))
}

// ReferenceHash is the hash of the redacted event without its signatures.
//
// Spec: SS "Calculating the reference hash for an event".
func (e *Event) ReferenceHash() [32]byte { return sha256.Sum256(e.signed()) }

// signed is what is hashed and signed of the event: its redacted form without signatures.
func (e *Event) signed() []byte { return e.raw }
