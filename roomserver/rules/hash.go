package rules

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// stackRoom is how many bytes of an event are put together on the stack before they are hashed or
// signed. Most redacted events are smaller.
const stackRoom = 2048

// hashID makes an event id of a reference hash.
//
// Spec: Room Versions 3 and 4 "Event IDs".
func hashID(v *Version, hash [32]byte) matrix.EventID {
	enc := base64.RawURLEncoding
	if v.StandardBase64 {
		enc = base64.RawStdEncoding
	}
	id := [44]byte{'$'}
	enc.Encode(id[1:], hash[:])
	return matrix.EventID(id[:])
}

// ReferenceHash is the hash of the redacted event without its signatures.
//
// Spec: SS "Calculating the reference hash for an event".
func (e *Event) ReferenceHash() [32]byte {
	var room [stackRoom]byte
	return sha256.Sum256(e.appendRedacted(room[:0], false))
}

// contentHash is the hash of the whole event but for its hashes and signatures.
//
// Spec: SS "Calculating the content hash for an event".
func (e *Event) contentHash() [32]byte {
	var room [stackRoom]byte
	return sha256.Sum256(e.appendHashed(room[:0]))
}

// appendHashed appends what the content hash is taken over: all members but hashes, signatures and
// unsigned. The three outdated members of index.old are left out too: so do the servers that made the
// oldest rooms, and those events are still about.
func (e *Event) appendHashed(dst []byte) []byte {
	if e.at.old {
		return e.appendHashedOld(dst)
	}
	from := 0
	for _, cut := range [...]struct {
		at   span
		name string
	}{{e.at.hashes, "hashes"}, {e.at.signatures, "signatures"}} {
		if cut.at.ok() {
			dst = append(dst, e.raw[from:cut.at.member(cut.name)]...)
			if from = int(cut.at.end); e.raw[from] == ',' {
				from++
			}
		}
	}
	dst = append(dst, e.raw[from:]...)
	return closeObject(dst)
}

// closeObject mends the end of an object of which the last member was left out.
func closeObject(dst []byte) []byte {
	if n := len(dst); n >= 2 && dst[n-2] == ',' {
		dst = append(dst[:n-2], '}')
	}
	return dst
}

func (e *Event) appendHashedOld(dst []byte) []byte {
	dst = append(dst, '{')
	w := canonicaljson.Walk(e.raw)
	for w.Next() {
		switch string(w.RawKey()) {
		case "hashes", "signatures", "unsigned", "age_ts", "outlier", "destinations":
			continue
		}
		dst = append(dst, '"')
		dst = append(dst, w.RawKey()...)
		dst = append(dst, '"', ':')
		dst = append(dst, w.Value()...)
		dst = append(dst, ',')
	}
	return closeObject(append(dst, '}'))
}

// ContentHashOK says whether the event is as its sender hashed it. It is false for a redacted event that
// has lost something, and for one that was tampered with: that one may be kept in redacted form only.
//
// Spec: SS "Validating hashes and signatures on received events".
func (e *Event) ContentHashOK() bool {
	if !e.at.hashes.ok() {
		return false
	}
	claimed, ok := canonicaljson.Field(e.at.hashes.of(e.raw), "sha256")
	if !ok {
		return false
	}
	var room [64]byte
	claim, ok := canonicaljson.AppendBase64Text(room[:0], claimed)
	if !ok {
		return false
	}
	hash := e.contentHash()
	return subtle.ConstantTimeCompare(claim, hash[:]) == 1
}
