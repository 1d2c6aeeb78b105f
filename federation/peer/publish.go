package peer

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

// ownValid is how long what this server says of its keys is to be believed.
const ownValid = 48 * time.Hour

type verifyKey struct {
	Key string `json:"key"`
}

type oldKey struct {
	Key     string `json:"key"`
	Expired int64  `json:"expired_ts"`
}

// ownKeys is what this server publishes.
type ownKeys struct {
	Server     matrix.ServerName          `json:"server_name"`
	Keys       map[matrix.KeyID]verifyKey `json:"verify_keys"`
	Old        map[matrix.KeyID]oldKey    `json:"old_verify_keys"`
	ValidUntil int64                      `json:"valid_until_ts"`
}

// Open notes which key this server signs with, before it does. Another key than the last time means that the
// key was changed: that one is published as an old one from now on.
func (k *Keys) Open(ctx context.Context) error {
	o := &k.client.o
	public := o.Key.Public().(ed25519.PublicKey)
	var old map[matrix.KeyID]knownKey
	err := k.db.Update(ctx, func(tx *store.Tx) (err error) {
		if err = signWith(tx, o.KeyID, public, k.now().UnixMilli()); err == nil {
			old, err = readOldKeys(tx)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("note the signing key: %w", err)
	}
	k.own = old
	for _, key := range k.old {
		if _, has := k.own[key.ID]; !has {
			k.own[key.ID] = knownKey{public: key.Public, expired: key.Expired.UnixMilli()}
		}
	}
	k.own[o.KeyID] = knownKey{public: public, validUntil: math.MaxInt64}
	return nil
}

// Own gives the keys of this server as they are published, signed.
//
// Spec: GET /_matrix/key/v2/server
func (k *Keys) Own() (json.RawMessage, error) {
	c := &k.client.o
	own := ownKeys{
		Server: c.Server, Keys: make(map[matrix.KeyID]verifyKey), Old: make(map[matrix.KeyID]oldKey),
		ValidUntil: k.now().Add(ownValid).UnixMilli(),
	}
	for id, key := range k.own {
		public := canonicaljson.Base64(key.public)
		if key.expired == 0 {
			own.Keys[id] = verifyKey{public}
		} else {
			own.Old[id] = oldKey{public, key.expired}
		}
	}
	text, err := json.Marshal(own)
	if err != nil {
		return nil, err
	}
	return k.signObject(text)
}

func (k *Keys) signObject(object []byte) ([]byte, error) {
	c := &k.client.o
	signed, err := canonicaljson.Sign(object, string(c.Server), string(c.KeyID), c.Key)
	if err != nil {
		return nil, fmt.Errorf("sign keys: %w", err)
	}
	return signed, nil
}
