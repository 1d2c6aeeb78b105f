package peer

import (
	"context"
	"time"

	"astrocyte/matrix"
)

// FetchKey is the last step of whoever has looked for a key in memory and in the database, and has not found it.
func (k *Keys) FetchKey(ctx context.Context, server matrix.ServerName, id matrix.KeyID, at time.Time) error {
	return k.fetch(ctx, []wanted{{server, id, at.UnixMilli()}}, patient)
}
