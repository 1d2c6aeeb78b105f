package peer

import (
	"crypto/ed25519"

	"astrocyte/matrix"
	"astrocyte/store"
)

// readKey reads a key of another server.
func readKey(tx *store.Tx, name keyName) (knownKey, bool, error) {
	return store.One(tx, func(r store.Row) (k knownKey, err error) {
		var public []byte
		err = r.Scan(&public, &k.validUntil, &k.expired)
		k.public = public
		return k, err
	}, `
		SELECT public, valid_until, expired FROM server_keys
		WHERE server = $1 AND key_id = $2`, string(name.server), string(name.id))
}

// readKeysOf reads the keys of servers.
func readKeysOf(tx *store.Tx, servers []matrix.ServerName) (map[keyName]knownKey, error) {
	found := make(map[keyName]knownKey)
	err := store.Each(tx, func(r store.Row) error {
		var name keyName
		var k knownKey
		var server, id string
		var public []byte
		if err := r.Scan(&server, &id, &public, &k.validUntil, &k.expired); err != nil {
			return err
		}
		name.server, name.id, k.public = matrix.ServerName(server), matrix.KeyID(id), public
		found[name] = k
		return nil
	}, `SELECT server, key_id, public, valid_until, expired FROM server_keys WHERE server {IN $1 TEXT}`, store.List(servers))
	return found, err
}

// writeKeys writes what a server told of its keys, unless something later is there.
func writeKeys(tx *store.Tx, o *keyObject, now int64) error {
	for id, k := range o.keys {
		_, err := tx.Exec(`
			INSERT INTO server_keys (server, key_id, public, valid_until, expired, stated, fetched, object)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (server, key_id) DO UPDATE SET public = excluded.public, valid_until = excluded.valid_until,
				expired = excluded.expired, stated = excluded.stated, fetched = excluded.fetched, object = excluded.object
			WHERE excluded.stated >= server_keys.stated`,
			string(o.server), string(id), []byte(k.public), k.validUntil, k.expired, o.validUntil, now, o.raw)
		if err != nil {
			return err
		}
	}
	return nil
}

// storedObject is what told a key.
type storedObject struct {
	key             matrix.KeyID
	expired         bool
	stated, fetched int64
	raw             []byte
}

// readObjects reads what told the keys of a server.
func readObjects(tx *store.Tx, server matrix.ServerName) ([]storedObject, error) {
	return store.Select(tx, func(r store.Row) (o storedObject, err error) {
		var id string
		var expired int64
		err = r.Scan(&id, &expired, &o.stated, &o.fetched, &o.raw)
		o.key, o.expired = matrix.KeyID(id), expired != 0
		return o, err
	}, `SELECT key_id, expired, stated, fetched, object FROM server_keys WHERE server = $1 ORDER BY key_id`, string(server))
}

// signWith notes the key that this server signs with from now on, and ends the others.
func signWith(tx *store.Tx, id matrix.KeyID, public ed25519.PublicKey, now int64) error {
	_, err := tx.Exec(`
		INSERT INTO own_keys (key_id, public, expired) VALUES ($1, $2, 0)
		ON CONFLICT (key_id) DO UPDATE SET public = excluded.public, expired = 0`, string(id), []byte(public))
	if err == nil {
		_, err = tx.Exec(`UPDATE own_keys SET expired = $2 WHERE key_id <> $1 AND expired = 0`, string(id), now)
	}
	return err
}

// readOldKeys reads the keys that this server has signed with before.
func readOldKeys(tx *store.Tx) (map[matrix.KeyID]knownKey, error) {
	all := make(map[matrix.KeyID]knownKey)
	err := store.Each(tx, func(r store.Row) error {
		var id string
		var public []byte
		var expired int64
		err := r.Scan(&id, &public, &expired)
		all[matrix.KeyID(id)] = knownKey{public: public, expired: expired}
		return err
	}, `SELECT key_id, public, expired FROM own_keys WHERE expired > 0`)
	return all, err
}
