package peer

import (
	"crypto/ed25519"
	"strings"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// credentials are what an Authorization header of the scheme X-Matrix says.
type credentials struct {
	origin, destination matrix.ServerName // an empty destination was not given
	key                 matrix.KeyID
	sig                 []byte
}

// maxCredentials bounds the header.
const maxCredentials = 4096

// parseCredentials reads an Authorization header. Parameters that are not known are passed over.
//
// Spec: SS "Request Authentication", RFC 9110 section 11.4
func parseCredentials(header string) (*credentials, error) {
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "X-Matrix") {
		return nil, unauthorized("the request is not signed")
	}
	if len(header) > maxCredentials {
		return nil, unauthorized("the Authorization header is too long")
	}
	given, ok := parseParameters(rest)
	if !ok {
		return nil, unauthorized("the Authorization header is malformed")
	}
	c := &credentials{key: matrix.KeyID(given["key"])}
	var err error
	if c.origin, err = matrix.ParseServerName(given["origin"]); err != nil {
		return nil, unauthorized("the origin is not a server name")
	}
	if to, has := given["destination"]; has {
		if c.destination, err = matrix.ParseServerName(to); err != nil {
			return nil, unauthorized("the destination is not a server name")
		}
	}
	if !isKeyID(c.key) {
		return nil, unauthorized("the key is not an ed25519 key")
	}
	if c.sig, ok = canonicaljson.ParseBase64(given["sig"]); !ok || len(c.sig) != ed25519.SignatureSize {
		return nil, unauthorized("the signature is not one")
	}
	return c, nil
}

func unauthorized(why string) *matrix.Error { return matrix.E(matrix.CodeUnauthorized, "%s", why) }

// parseParameters reads name=value pairs between commas. A value is a quoted string, or a token in which also
// colons and base64 may stand, as old servers write it. A name may not come twice.
func parseParameters(s string) (map[string]string, bool) {
	given := make(map[string]string, 4)
	for s = trimSpace(s); s != ""; {
		name, rest, found := strings.Cut(s, "=")
		name = strings.ToLower(strings.TrimRight(name, " \t"))
		if !found || name == "" || strings.ContainsAny(name, " \t\",") {
			return nil, false
		}
		if _, twice := given[name]; twice {
			return nil, false
		}
		value, rest, ok := parseValue(trimSpace(rest))
		if !ok {
			return nil, false
		}
		given[name] = value
		if s = trimSpace(rest); s == "" {
			break
		}
		if s[0] != ',' {
			return nil, false
		}
		s = strings.TrimLeft(s, ", \t") // empty elements of a list are allowed
	}
	return given, true
}

func parseValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, ", \t\"")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], end > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

func trimSpace(s string) string { return strings.Trim(s, " \t") }

// isKeyID says whether a key can be used: its algorithm is ed25519 and its version is one.
//
// Spec: SS "Publishing Keys"
func isKeyID(id matrix.KeyID) bool {
	version, found := strings.CutPrefix(string(id), "ed25519:")
	if !found || version == "" || len(version) > 100 {
		return false
	}
	for i := 0; i < len(version); i++ {
		switch c := version[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
		case c == '-', c == '.', c == '/', c == '+', c == '=': // met in the wild
		default:
			return false
		}
	}
	return true
}
