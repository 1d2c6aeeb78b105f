package canonicaljson

import (
	"bytes"
	"encoding/base64"
)

// Base64 writes unpadded standard base64, as the protocol does wherever it says nothing else.
//
// Spec: Appendices "Unpadded Base64".
func Base64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// ParseBase64 reads base64 with padding or without. The URL-safe alphabet is taken too: some servers
// send it, and nothing is ambiguous by that.
func ParseBase64(s string) ([]byte, bool) { return appendBase64(nil, []byte(s)) }

// AppendBase64Text appends what a JSON string stands for in base64.
func AppendBase64Text(dst, value []byte) ([]byte, bool) {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return dst, false
	}
	return appendBase64(dst, value[1:len(value)-1])
}

func appendBase64(dst, text []byte) ([]byte, bool) {
	text = bytes.TrimRight(text, "=")
	if bytes.ContainsAny(text, "\r\n") { // the decoder would pass over these
		return dst, false
	}
	enc := base64.RawStdEncoding
	if bytes.IndexByte(text, '-') >= 0 || bytes.IndexByte(text, '_') >= 0 {
		enc = base64.RawURLEncoding
	}
	out, err := enc.AppendDecode(dst, text)
	return out, err == nil
}
