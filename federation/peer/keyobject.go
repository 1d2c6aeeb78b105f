package peer

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// keyObject is what a server publishes of its keys, verified.
type keyObject struct {
	server matrix.ServerName
	keys   map[matrix.KeyID]knownKey
	// validUntil is what the server says, not yet cut.
	validUntil int64
	raw        []byte // canonical, with all signatures
}

const (
	// maxKeyAnswer bounds an answer with the keys of one server, and of many.
	maxKeyAnswer = 64 << 10
	// maxKeysOfOne bounds the keys of one server that are taken.
	maxKeysOfOne = 64
)

// readKeys verifies what is said to be the keys of a server: of its present keys those count that have signed
// it, and of its old ones all, since a present one has.
//
// Spec: GET /_matrix/key/v2/server
func readKeys(raw []byte, now int64) (*keyObject, error) {
	canonical, err := canonicaljson.Canonical(make([]byte, 0, len(raw)), raw, canonicaljson.Strict)
	if err != nil {
		return nil, err
	}
	var said struct {
		Server     string                                `json:"server_name"`
		Keys       map[matrix.KeyID]struct{ Key string } `json:"verify_keys"`
		ValidUntil int64                                 `json:"valid_until_ts"`
		Old        map[matrix.KeyID]struct {
			Key     string
			Expired int64 `json:"expired_ts"`
		} `json:"old_verify_keys"`
	}
	if err := json.Unmarshal(canonical, &said); err != nil {
		return nil, err
	}
	server, err := matrix.ParseServerName(said.Server)
	if err != nil {
		return nil, err
	}
	if len(said.Keys)+len(said.Old) > maxKeysOfOne {
		return nil, fmt.Errorf("%s publishes more than %d keys", server, maxKeysOfOne)
	}
	o := &keyObject{server: server, keys: make(map[matrix.KeyID]knownKey), raw: canonical, validUntil: said.ValidUntil}
	until := min(said.ValidUntil, now+mostValid.Milliseconds())
	for id, k := range said.Keys {
		public, ok := publicKey(id, k.Key)
		if ok && canonicaljson.Verify(canonical, string(server), string(id), public) == nil {
			o.keys[id] = knownKey{public: public, validUntil: until}
		}
	}
	if len(o.keys) == 0 {
		return nil, fmt.Errorf("the keys of %s are signed by none of them", server)
	}
	for id, k := range said.Old {
		_, present := o.keys[id]
		if public, ok := publicKey(id, k.Key); ok && !present && k.Expired > 0 {
			o.keys[id] = knownKey{public: public, expired: k.Expired}
		}
	}
	return o, nil
}

func publicKey(id matrix.KeyID, text string) (ed25519.PublicKey, bool) {
	key, ok := canonicaljson.ParseBase64(text)
	return key, ok && isKeyID(id) && len(key) == ed25519.PublicKeySize
}
