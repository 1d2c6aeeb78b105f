package peer

import (
	"crypto/ed25519"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// signedRequest is what a request's signature is taken over.
//
// Spec: SS "Request Authentication"
type signedRequest struct {
	Method, URI         string
	Origin, Destination matrix.ServerName
	Content             []byte // canonical; nil: none
}

// bytes are the canonical JSON that is signed.
func (s *signedRequest) bytes() []byte {
	out := make([]byte, 0, len(s.Content)+len(s.URI)+200)
	out = append(out, '{')
	if s.Content != nil {
		out = append(out, `"content":`...)
		out = append(append(out, s.Content...), ',')
	}
	out = canonicaljson.AppendText(append(out, `"destination":`...), s.Destination)
	out = canonicaljson.AppendText(append(out, `,"method":`...), s.Method)
	out = canonicaljson.AppendText(append(out, `,"origin":`...), s.Origin)
	out = canonicaljson.AppendText(append(out, `,"uri":`...), s.URI)
	return append(out, '}')
}

// sign gives the Authorization header of a request of this server.
func (c *Client) sign(s signedRequest) string {
	s.Origin = c.o.Server
	sig := ed25519.Sign(c.o.Key, s.bytes())
	return fmt.Sprintf(`X-Matrix origin="%s",destination="%s",key="%s",sig="%s"`, s.Origin, s.Destination, c.o.KeyID, canonicaljson.Base64(sig))
}
