package peer

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// maxHeaders bounds how many signatures of one request are looked at: a server may sign with several keys.
const maxHeaders = 3

// VerifyRequest finds out which server sent a request. The body is read only when the header makes sense and
// comes from a server that this one speaks with; it is nil where there is none.
//
// Spec: SS "Request Authentication"
func (k *Keys) VerifyRequest(r *http.Request, read func() ([]byte, error)) (matrix.ServerName, error) {
	all, err := k.credentialsOf(r)
	if err != nil {
		return "", err
	}
	body, err := read()
	if err != nil {
		return "", err
	}
	s := signedRequest{Method: r.Method, URI: r.RequestURI, Origin: all[0].origin, Destination: k.client.o.Server}
	if len(body) > 0 {
		s.Content, err = canonicaljson.Canonical(make([]byte, 0, len(body)), body, canonicaljson.Loose)
		if err != nil {
			return "", matrix.E(matrix.CodeNotJSON, "the body is not valid JSON: %v", err)
		}
	}
	signed := s.bytes()
	for _, c := range all {
		if err = k.verifyOne(r.Context(), c, signed); err == nil {
			k.sawAlive(c.origin)
			return c.origin, nil
		}
	}
	return "", err
}

// credentialsOf reads the headers of a request. They are of one server and for this one.
func (k *Keys) credentialsOf(r *http.Request) ([]*credentials, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return nil, unauthorized("the request is not signed")
	}
	if len(headers) > maxHeaders {
		return nil, unauthorized("too many signatures")
	}
	var all []*credentials
	for _, h := range headers {
		c, err := parseCredentials(h)
		switch {
		case err != nil:
			return nil, err
		case c.destination != "" && c.destination != k.client.o.Server:
			return nil, unauthorized("the request is for another server")
		case c.origin == k.client.o.Server:
			return nil, unauthorized("the request claims to come from this server")
		case len(all) > 0 && all[0].origin != c.origin:
			return nil, unauthorized("signatures of different servers")
		case !k.client.Admits(c.origin):
			return nil, matrix.Forbidden("this server does not speak with %s", c.origin)
		}
		all = append(all, c)
	}
	return all, nil
}

func (k *Keys) verifyOne(ctx context.Context, c *credentials, signed []byte) error {
	now := k.now().UnixMilli()
	want := wanted{c.origin, c.key, now}
	found, err := k.find(ctx, []wanted{want}, eager)
	if err != nil {
		return err
	}
	key, ok := found[want]
	if !ok {
		return unauthorized("the key " + string(c.key) + " of " + string(c.origin) + " could not be had, or is no longer valid")
	}
	if !ed25519.Verify(key, signed, c.sig) {
		return unauthorized("the signature does not fit")
	}
	return nil
}

var errNoKey = errors.New("the key could not be had, or was not valid then")
