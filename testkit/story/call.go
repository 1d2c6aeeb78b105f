package story

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Call is one request to a server.
type Call struct {
	// URL is where the server is, such as http://127.0.0.1:8008.
	URL string
	// Token is the access token, empty for none.
	Token  string
	Method string
	// Path begins with /_matrix or another root; without it, it is one of /_matrix/client/v3.
	Path string
	// Body is JSON text (string, []byte), nothing (nil), or a value to be encoded.
	Body any
	// Type is the Content-Type of the body, empty for JSON.
	Type string
}

// Answer is what a server answered.
type Answer struct {
	Status int
	Header http.Header
	JSON
}

// Do sends the request and reads the answer. Every answer of the API must be a JSON object: anything else
// is an error, like a connection that broke.
func (c Call) Do(ctx context.Context, client *http.Client) (*Answer, error) {
	body, err := bodyOf(c.Body)
	if err != nil {
		return nil, err
	}
	path := c.Path
	if !strings.HasPrefix(path, "/_") && !strings.HasPrefix(path, "/.") {
		path = "/_matrix/client/v3" + path
	}
	r, err := http.NewRequestWithContext(ctx, c.Method, c.URL+path, body)
	if err != nil {
		return nil, err
	}
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if c.Body != nil {
		r.Header.Set("Content-Type", cmp.Or(c.Type, "application/json"))
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", c.Method, path, err)
	}
	a := &Answer{Status: resp.StatusCode, Header: resp.Header}
	if a.JSON, err = ParseJSON(text); err != nil {
		return nil, fmt.Errorf("%s %s: status %d and an answer that is not JSON: %.200q", c.Method, path, a.Status, text)
	}
	return a, nil
}

func bodyOf(body any) (io.Reader, error) {
	switch body := body.(type) {
	case nil:
		return http.NoBody, nil
	case string:
		return strings.NewReader(body), nil
	case []byte:
		return bytes.NewReader(body), nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode a body: %w", err)
	}
	return bytes.NewReader(text), nil
}

// Path joins segments to a path, each percent-encoded.
func Path(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}
