package account

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

const (
	// nonceLifetime is how long a nonce of the shared-secret registration lives.
	nonceLifetime = time.Minute
	nonceRandom   = 16
	nonceLength   = 8 + nonceRandom + sha256.Size
	// nonceEndpoint keeps spent nonces apart from the authentications whose table they share.
	nonceEndpoint = "shared-secret registration"
)

// NewNonce begins a registration by shared secret. A nonce is its time, random bytes, and our own
// signature, so that nothing is stored for those who do not know the secret; false without a secret.
func (a *Accounts) NewNonce() (string, bool) {
	secret := a.Registration().SharedSecret
	if secret == "" {
		return "", false
	}
	nonce := binary.BigEndian.AppendUint64(nil, uint64(a.millis()))
	nonce = append(nonce, randomText(mixedAlphabet, nonceRandom)...)
	return base64.RawURLEncoding.EncodeToString(append(nonce, nonceSum(secret, nonce)...)), true
}

func nonceSum(secret string, nonce []byte) []byte {
	h := hmac.New(sha256.New, []byte(nonceEndpoint+secret))
	h.Write(nonce)
	return h.Sum(nil)
}

// CheckSecret says whether mac, in hexadecimal, proves that the caller knows the shared secret, and spends
// the nonce. The text is what was authenticated: nonce and account, separated by NUL.
func (a *Accounts) CheckSecret(ctx context.Context, nonce, text, mac string) error {
	secret := a.Registration().SharedSecret
	raw, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(raw) != nonceLength || secret == "" ||
		!hmac.Equal(raw[8+nonceRandom:], nonceSum(secret, raw[:8+nonceRandom])) ||
		a.millis() > int64(binary.BigEndian.Uint64(raw))+nonceLifetime.Milliseconds() {
		return errNonce
	}
	want := hmac.New(sha1.New, []byte(secret))
	want.Write([]byte(text))
	if got, err := hex.DecodeString(mac); err != nil || !hmac.Equal(got, want.Sum(nil)) {
		return matrix.Forbidden("the HMAC is not right")
	}
	return a.db.Update(ctx, func(tx *store.Tx) error {
		fresh, err := spendNonce(tx, nonce, a.now().Add(2*nonceLifetime).UnixMilli())
		if err == nil && !fresh {
			err = errNonce
		}
		return err
	})
}

var errNonce = matrix.E(matrix.CodeUnknown, "the nonce is not known, or has expired")
