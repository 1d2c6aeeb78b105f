package syncapi

import (
	"encoding/json"
	"errors"

	"astrocyte/httpapi"
	"astrocyte/matrix"
)

// Close codes of a socket. docs/websocket.md tells clients what to do upon each.
const (
	closeBadFrame    = 4400 // a frame that is not JSON of the described form
	closeRefused     = 4401 // the token is not, or no longer, good
	closeNoAuth      = 4408 // the first frame did not come in time
	closeReplaced    = 4409 // the device has opened newer sockets
	closeSlow        = 4410 // the client did not read, or not acknowledge, in time
	closeSilent      = 4411 // nothing came from the client in time
	closeFlood       = 4412 // the client sends too many frames
	closeInternal    = 1011
	closeRestart     = 1012
	closeNormal      = 1000
	maxReasonLength  = 100
	frameMost        = 256 << 10 // bytes of a client's frame
	requestIDLongest = 64
)

// frame is what a client sends. Which members count depends on the type.
type frame struct {
	Type string `json:"type"`
	ID   string `json:"id"`

	// auth
	AccessToken   string          `json:"access_token"`
	Since         string          `json:"since"`
	Filter        json.RawMessage `json:"filter"`
	UseStateAfter bool            `json:"use_state_after"`
	SetPresence   string          `json:"set_presence"`
	View          json.RawMessage `json:"view"` // a request of sliding sync; in view requests too
	Delivered     bool            `json:"delivered"`

	// ack
	Token string `json:"token"`

	// requests about rooms
	RoomID      matrix.RoomID   `json:"room_id"`
	EventType   string          `json:"event_type"`
	TxnID       string          `json:"txn_id"`
	StateKey    *string         `json:"state_key"`
	Content     json.RawMessage `json:"content"`
	Typing      bool            `json:"typing"`
	Timeout     int64           `json:"timeout"`
	EventID     matrix.EventID  `json:"event_id"`
	ReceiptType string          `json:"receipt_type"`
	ThreadID    *string         `json:"thread_id"`
	From        int64           `json:"from"`
	To          int64           `json:"to"`
}

// readyFrame is the server's answer to a good first frame.
type readyFrame struct {
	Type        string          `json:"type"` // ready
	User        matrix.UserID   `json:"user_id"`
	Device      matrix.DeviceID `json:"device_id"`
	HeartbeatMS int64           `json:"heartbeat_ms"`
	Window      int             `json:"window"`
	FrameMost   int             `json:"max_frame_bytes"`
}

// answerFrame answers a request. One of Result and Error is there.
type answerFrame struct {
	Type   string         `json:"type"` // answer
	ID     string         `json:"id"`
	Result any            `json:"result,omitempty"`
	Error  map[string]any `json:"error,omitempty"`
}

// plainFrame is a frame that has nothing but what it is.
type plainFrame struct {
	Type        string         `json:"type"` // ping, pong, reconnect, error
	ID          string         `json:"id,omitempty"`
	AfterMS     *int64         `json:"after_ms,omitempty"` // of reconnect
	MatrixError map[string]any `json:"error,omitempty"`    // of error
}

// faultOf gives the standard error body of a caller's fault, and whether it was one.
func faultOf(err error) (map[string]any, bool) {
	var e *matrix.Error
	if !errors.As(err, &e) {
		return map[string]any{"errcode": matrix.CodeUnknown, "error": "internal error"}, false
	}
	if e.Code == matrix.CodeLimitExceeded {
		httpapi.CountLimited(e)
	}
	body := map[string]any{"errcode": e.Code, "error": e.Message}
	for k, v := range e.Fields {
		body[k] = v
	}
	return body, true
}
