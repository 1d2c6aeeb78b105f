package e2ee

import "astrocyte/store"

// writeSignatures stores signatures that came at a position. A repeated one is no news.
func writeSignatures(tx *store.Tx, rows []laterSignature, pos int64) error {
	b := store.Bulk{
		Table:   "key_signatures",
		Columns: []string{"ushard", "user_id", "signing_key", "target", "target_key", "signature", "pos"},
		OnConflict: `ON CONFLICT (ushard, user_id, target, target_key, signing_key) DO UPDATE
			SET signature = excluded.signature, pos = excluded.pos WHERE key_signatures.signature <> excluded.signature`,
	}
	for _, s := range rows {
		b.Rows = append(b.Rows, []any{
			s.signer.Shard(), string(s.signer), s.key, string(s.target), s.targetKey, s.signature, pos,
		})
	}
	_, err := tx.Bulk(b)
	return err
}
