package federation

import (
	"context"
	"encoding/json"

	"astrocyte/federation/inbound"
	"astrocyte/httpapi"
)

func (a *API) transactionRoutes(r *httpapi.Router) {
	r.Handle("PUT", "/_matrix/federation/v1/send/{txnID}", httpapi.Signed(a.transaction), httpapi.PerServer("transactions"), httpapi.BodyLimit(maxTransaction))
}

// maxTransaction bounds the body of a transaction: fifty events and a hundred EDUs of full size, and what is around
// them.
const maxTransaction = 12 << 20

type transactionRequest struct {
	TxnID string            `path:"txnID"`
	PDUs  []json.RawMessage `json:"pdus"`
	EDUs  []json.RawMessage `json:"edus"`
}

type transactionResponse struct {
	PDUs inbound.Results `json:"pdus"`
}

// transaction takes what another server brings: events of rooms, and EDUs.
//
// Spec: PUT /_matrix/federation/v1/send/{txnId}
func (a *API) transaction(ctx context.Context, c *httpapi.Caller, q *transactionRequest) (*transactionResponse, error) {
	results, err := a.inbound.Take(ctx, inbound.Transaction{Origin: c.Origin, ID: q.TxnID, PDUs: q.PDUs, EDUs: q.EDUs})
	if err != nil {
		return nil, err
	}
	return &transactionResponse{results}, nil
}
