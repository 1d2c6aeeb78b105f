package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"syscall"
	"time"
	"unicode/utf8"

	"astrocyte/matrix"
)

func newRequest(ctx context.Context, method, url string, body []byte) (*http.Request, error) {
	if body == nil {
		return http.NewRequestWithContext(ctx, method, url, http.NoBody)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err == nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, err
}

// refusal reads an answer that is an error.
func refusal(server matrix.ServerName, resp *http.Response) *Refused {
	r := &Refused{Server: server, Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	var body struct {
		Code    matrix.Code `json:"errcode"`
		Message string      `json:"error"`
		Millis  float64     `json:"retry_after_ms"`
	}
	if err := json.Unmarshal(text, &body); err != nil || body.Code == "" {
		r.Unreadable = true
		body.Code, body.Message = matrix.CodeUnknown, "no error of the protocol"
	}
	if r.RetryAfter == 0 && body.Millis > 0 {
		r.RetryAfter = time.Duration(min(body.Millis, float64(maxRetryAfter.Milliseconds()))) * time.Millisecond
	}
	r.Fault = &matrix.Error{Code: matrix.Code(shortText(string(body.Code))), Message: shortText(body.Message), Status: resp.StatusCode}
	var fields map[string]any
	if json.Unmarshal(text, &fields) == nil {
		delete(fields, "errcode")
		delete(fields, "error")
		r.Fault.Fields = fields
	}
	return r
}

// IsFleeting says of a failure that it may be over in a moment, as while a server restarts, and that it does not take long to
// see whether it is.
func IsFleeting(err error) bool {
	var refused *Refused
	if errors.As(err, &refused) {
		return refused.Status >= http.StatusInternalServerError || refused.Status == http.StatusTooManyRequests
	}
	for _, cut := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, cut) {
			return true
		}
	}
	return false
}

// maxRetryAfter bounds how long a server may ask to be left alone.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header, which has seconds or a date.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if n, err := strconv.Atoi(value); err == nil && n > 0 {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(time.Until(at), 0), maxRetryAfter)
	}
	return 0
}

// shortText makes foreign text fit for a log and an answer.
func shortText(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most]
	}
	if !utf8.ValidString(s) {
		s = string(bytes.ToValidUTF8([]byte(s), nil))
	}
	return s
}
