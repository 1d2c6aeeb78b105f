package media

import (
	"astrocyte/matrix"
	"astrocyte/store"
)

// oldLocal lists files of users of this server that nobody has asked for since a time, after one of their ids.
func oldLocal(tx *store.Tx, own matrix.ServerName, before, larger int64, after string, limit int) ([]*File, error) {
	return store.Select(tx, scanMedia, `
		SELECT `+mediaColumns+` FROM media
		WHERE origin = $1 AND media_id > $2 AND user_id <> '' AND LENGTH(hash) > 0 AND accessed < $3 AND media.size > $4 AND quarantined = 0
		ORDER BY media_id LIMIT $5`, string(own), after, before, larger, int64(limit))
}

// refsTo lists the newest events that show a file.
func refsTo(tx *store.Tx, id ID, limit int) ([]int64, error) {
	return store.Select(tx, scanInt, `
		SELECT event_nid FROM media_refs WHERE origin = $1 AND media_id = $2 ORDER BY event_nid DESC LIMIT $3`, string(id.Origin), id.Media, int64(limit))
}
