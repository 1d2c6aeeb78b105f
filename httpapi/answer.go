package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"astrocyte/matrix"
)

// statuses are the HTTP statuses of error codes; codes that are not here are 400.
//
// Spec: CS "Common error codes", "Other error codes", and the texts of endpoints.
var statuses = map[matrix.Code]int{
	matrix.CodeAppserviceLoginUnsupported:  http.StatusBadRequest,
	matrix.CodeCannotLeaveServerNoticeRoom: http.StatusForbidden,
	matrix.CodeCannotOverwriteMedia:        http.StatusConflict,
	matrix.CodeConnectionFailed:            http.StatusBadGateway,
	matrix.CodeConnectionTimeout:           http.StatusGatewayTimeout,
	matrix.CodeForbidden:                   http.StatusForbidden,
	matrix.CodeGuestAccessForbidden:        http.StatusForbidden,
	matrix.CodeInviteBlocked:               http.StatusForbidden,
	matrix.CodeLimitExceeded:               http.StatusTooManyRequests,
	matrix.CodeMissingToken:                http.StatusUnauthorized,
	matrix.CodeNotFound:                    http.StatusNotFound,
	matrix.CodeNotYetUploaded:              http.StatusGatewayTimeout,
	matrix.CodeResourceLimitExceeded:       http.StatusForbidden,
	matrix.CodeThreepidAuthFailed:          http.StatusUnauthorized,
	matrix.CodeThreepidDenied:              http.StatusForbidden,
	matrix.CodeTooLarge:                    http.StatusRequestEntityTooLarge,
	matrix.CodeUnableToGrantJoin:           http.StatusBadRequest,
	matrix.CodeUnauthorized:                http.StatusUnauthorized,
	matrix.CodeUnknownToken:                http.StatusUnauthorized,
	matrix.CodeUnrecognized:                http.StatusNotFound,
	matrix.CodeUserDeactivated:             http.StatusForbidden,
	matrix.CodeUserLimitExceeded:           http.StatusForbidden,
	matrix.CodeUserLocked:                  http.StatusUnauthorized,
	matrix.CodeUserSuspended:               http.StatusForbidden,
	matrix.CodeWrongRoomKeysVersion:        http.StatusForbidden,
}

// statusOf is the HTTP status of a caller's fault.
func statusOf(e *matrix.Error) int {
	if e.Status != 0 {
		return e.Status
	}
	if status, found := statuses[e.Code]; found {
		return status
	}
	return http.StatusBadRequest
}

// compressFrom is the size from which answers are compressed: one that fits a packet gains nothing.
const compressFrom = 1400

// writeTime is how long a client may take to read an answer of no size; more is given by the megabyte.
const writeTime = 60 * time.Second

var (
	buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	zippers = sync.Pool{New: func() any {
		z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		return z
	}}
)

// maxPooled is the size up to which a buffer is kept for the next answer.
const maxPooled = 1 << 20

func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= maxPooled {
		b.Reset()
		buffers.Put(b)
	}
}

// Appender is an answer that writes its own JSON, which is taken as it is.
type Appender interface{ AppendJSON(dst []byte) []byte }

// WriteJSON writes an answer: JSON without HTML escaping, compressed where it pays and the client takes it.
func WriteJSON(w http.ResponseWriter, r *http.Request, status int, v any) error {
	body := buffers.Get().(*bytes.Buffer)
	defer putBuffer(body)
	if err := encode(body, v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	writeBody(w, r, status, body)
	return nil
}

func encode(body *bytes.Buffer, v any) error {
	if a, ok := v.(Appender); ok {
		*body = *bytes.NewBuffer(a.AppendJSON(body.AvailableBuffer()))
		return nil
	}
	enc := json.NewEncoder(body)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	if err == nil {
		body.Truncate(body.Len() - 1) // the encoder's newline
	}
	return err
}

// writeBody sends a JSON body. What goes wrong here is the connection: nobody is left to tell.
func writeBody(w http.ResponseWriter, r *http.Request, status int, body *bytes.Buffer) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if body.Len() >= compressFrom && h.Get("Content-Encoding") == "" {
		h.Add("Vary", "Accept-Encoding")
		if acceptsGzip(r) {
			zipped := buffers.Get().(*bytes.Buffer)
			defer putBuffer(zipped)
			zip(zipped, body.Bytes())
			h.Set("Content-Encoding", "gzip")
			body = zipped
		}
	}
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	allowed := writeTime + time.Duration(body.Len()>>20)*10*time.Second
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(allowed))
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

func zip(dst *bytes.Buffer, src []byte) {
	z := zippers.Get().(*gzip.Writer)
	defer zippers.Put(z)
	z.Reset(dst)
	_, _ = z.Write(src)
	_ = z.Close()
}

// acceptsGzip reads Accept-Encoding: gzip or *, unless its weight is zero.
func acceptsGzip(r *http.Request) bool {
	for _, header := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(header, ",") {
			name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
			if name = strings.TrimSpace(name); name != "gzip" && name != "*" {
				continue
			}
			q, found := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
			if !found || strings.Trim(q, "0.") != "" {
				return true
			}
		}
	}
	return false
}

// errorBody is the standard error body; an error without a code, such as a challenge of interactive
// authentication, has its own members only.
func errorBody(e *matrix.Error) map[string]any {
	body := make(map[string]any, len(e.Fields)+2)
	for name, value := range e.Fields {
		body[name] = value
	}
	if e.Code != "" {
		body["errcode"], body["error"] = e.Code, e.Message
	}
	return body
}

// WriteError answers with a caller's fault. Handlers return their errors; this is for those that have
// taken the connection over.
func WriteError(w http.ResponseWriter, r *http.Request, e *matrix.Error) {
	if after, ok := retryAfter(e); ok {
		w.Header().Set("Retry-After", strconv.Itoa(after))
	}
	if err := WriteJSON(w, r, statusOf(e), errorBody(e)); err != nil {
		http.Error(w, `{"errcode":"M_UNKNOWN","error":"internal error"}`, http.StatusInternalServerError)
	}
}

// retryAfter is the header of a limit's error, in whole seconds.
func retryAfter(e *matrix.Error) (seconds int, ok bool) {
	if e.Code != matrix.CodeLimitExceeded {
		return 0, false
	}
	var ms float64
	switch n := e.Fields["retry_after_ms"].(type) {
	case int64:
		ms = float64(n)
	case int:
		ms = float64(n)
	default:
		return 0, false
	}
	return int(math.Ceil(ms / 1000)), true
}

// asFault finds the caller's fault in an error, and nil where the fault is ours.
func asFault(err error) *matrix.Error {
	var fault *matrix.Error
	if errors.As(err, &fault) {
		return fault
	}
	return nil
}
