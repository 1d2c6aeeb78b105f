package roomserver

import "astrocyte/store"

// deleteTxns forgets the transaction ids of a shard that are older than a time.
func deleteTxns(tx *store.Tx, shard, before int64) error {
	_, err := tx.Exec(`DELETE FROM client_txns WHERE ushard = $1 AND ts < $2`, shard, before)
	return err
}
