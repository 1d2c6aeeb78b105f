package search

import (
	"encoding/base64"
	"encoding/json"

	"astrocyte/matrix"
)

// maxRank is above all ranks.
const maxRank = 1e9

// token is where a page ended.
type token struct {
	Recent bool    `json:"t,omitempty"`
	Window int64   `json:"w,omitempty"` // ranked: where the window begins
	Rank   float64 `json:"r,omitempty"`
	Doc    int64   `json:"d,omitempty"` // of the last hit
	Count  int     `json:"c,omitempty"` // as the first page told it
	Group  string  `json:"g,omitempty"` // room_id or sender: only in it
	Value  string  `json:"v,omitempty"`
}

var errToken = matrix.InvalidParam("next_batch is not a token of this search")

// String is the token that clients keep.
func (t token) String() string {
	raw, _ := json.Marshal(t) // numbers and texts
	return base64.RawURLEncoding.EncodeToString(raw)
}

func parseToken(text string) (token, error) {
	var t token
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if len(text) > 2000 || err != nil || json.Unmarshal(raw, &t) != nil || t.Count < 0 {
		return t, errToken
	}
	if t.Group != "" && t.Group != "room_id" && t.Group != "sender" {
		return t, errToken
	}
	return t, nil
}
