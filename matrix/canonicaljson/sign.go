package canonicaljson

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
)

// ErrSignature is given where a signature is missing or does not fit.
var ErrSignature = errors.New("no valid signature")

// SigningBytes is the canonical object without its signatures and unsigned: what is signed of it.
//
// Spec: Appendices "Signing JSON".
func SigningBytes(object []byte) ([]byte, error) {
	canonical, err := canonicalObject(object)
	if err != nil {
		return nil, err
	}
	return unsigned(canonical), nil
}

func canonicalObject(object []byte) ([]byte, error) {
	canonical, err := Canonical(make([]byte, 0, len(object)), object, Strict)
	if err != nil {
		return nil, err
	}
	if canonical[0] != '{' {
		return nil, &SyntaxError{Why: "only an object can be signed"}
	}
	return canonical, nil
}

// unsigned drops what is not signed of a canonical object.
func unsigned(canonical []byte) []byte {
	out := make([]byte, 0, len(canonical))
	out = append(out, '{')
	w := Walk(canonical)
	for w.Next() {
		switch string(w.RawKey()) {
		case "signatures", "unsigned":
		default:
			out = appendRaw(out, w.RawKey(), w.Value())
		}
	}
	return closeObject(out)
}

// appendRaw appends a member of which the key stands as it is, and a comma.
func appendRaw(dst, key, value []byte) []byte {
	dst = append(dst, '"')
	dst = append(dst, key...)
	dst = append(dst, '"', ':')
	dst = append(dst, value...)
	return append(dst, ',')
}

// closeObject ends an object, over the comma behind its last member.
func closeObject(dst []byte) []byte {
	if n := len(dst); n > 0 && dst[n-1] == ',' {
		dst = dst[:n-1]
	}
	return append(dst, '}')
}

// Sign gives the object in canonical form with one more signature.
//
// Spec: Appendices "Signing JSON".
func Sign(object []byte, signer, keyID string, priv ed25519.PrivateKey) ([]byte, error) {
	canonical, err := canonicalObject(object)
	if err != nil {
		return nil, err
	}
	signatures, ok := Field(canonical, "signatures")
	if !ok {
		signatures = []byte("{}")
	}
	if signatures[0] != '{' {
		return nil, &SyntaxError{Why: "signatures is not an object"}
	}
	sig := ed25519.Sign(priv, unsigned(canonical))
	return AppendWithMember(nil, canonical, "signatures", AppendSignature(nil, signatures, signer, keyID, sig)), nil
}

// AppendSignature appends the canonical signatures object with one more signature in it.
func AppendSignature(dst, signatures []byte, signer, keyID string, sig []byte) []byte {
	if string(signatures) == "{}" {
		dst = append(AppendText(append(dst, '{'), signer), ":{"...)
		dst = append(AppendText(dst, keyID), `:"`...)
		return append(base64.RawStdEncoding.AppendEncode(dst, sig), `"}}`...)
	}
	keys := []byte("{}")
	if have, ok := Field(signatures, signer); ok && len(have) > 0 && have[0] == '{' {
		keys = have
	}
	text := make([]byte, 0, 96)
	text = append(text, '"')
	text = append(text, Base64(sig)...)
	text = append(text, '"')
	return AppendWithMember(dst, signatures, signer, AppendWithMember(nil, keys, keyID, text))
}

// AppendWithMember appends a canonical object with a member set, at its place.
func AppendWithMember(dst, object []byte, name string, value []byte) []byte {
	key := AppendText(nil, name)
	key = key[1 : len(key)-1]
	dst = append(dst, '{')
	set := false
	w := Walk(object)
	for w.Next() {
		if !set {
			order := bytes.Compare([]byte(name), []byte(w.Key()))
			if set = order <= 0; set {
				dst = appendRaw(dst, key, value)
			}
			if order == 0 {
				continue
			}
		}
		dst = appendRaw(dst, w.RawKey(), w.Value())
	}
	if !set {
		dst = appendRaw(dst, key, value)
	}
	return closeObject(dst)
}

// Verify checks a signature of an object. What is wrong with it is told as an ErrSignature.
//
// Spec: Appendices "Checking for a Signature".
func Verify(object []byte, signer, keyID string, pub ed25519.PublicKey) error {
	canonical, err := canonicalObject(object)
	if err != nil {
		return err
	}
	if len(pub) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: the key %s of %s is no ed25519 key", ErrSignature, keyID, signer)
	}
	value, ok := Field(canonical, "signatures", signer, keyID)
	if !ok {
		return fmt.Errorf("%w: none of %s with %s", ErrSignature, signer, keyID)
	}
	sig, ok := AppendBase64Text(nil, value)
	if !ok || len(sig) != ed25519.SignatureSize {
		return fmt.Errorf("%w: that of %s is no signature", ErrSignature, signer)
	}
	if !ed25519.Verify(pub, unsigned(canonical), sig) {
		return fmt.Errorf("%w: that of %s with %s does not fit", ErrSignature, signer, keyID)
	}
	return nil
}
