package account

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// A token is a prefix that tells its kind, then base64 of: the shard of its user (1 byte), 24 random
// bytes, and a checksum (4 bytes). The shard lets one shard of the database answer for it, and
// the checksum refuses mistyped and invented tokens without any query. The prefix is for secret scanners.
const (
	accessPrefix  = "astro_a_"
	refreshPrefix = "astro_r_"

	tokenRandom = 24
	tokenLength = 1 + tokenRandom + 4
)

// The kinds of the table tokens.
const (
	kindAccess  = 0
	kindRefresh = 1
)

// secret is a token in the form in which it is looked up.
type secret struct {
	shard int64
	hash  [sha256.Size]byte
}

// newToken makes a token for a user of the shard, and what is stored of it.
func newToken(prefix string, shard int64) (string, secret) {
	var raw [tokenLength]byte
	raw[0] = byte(shard)
	rand.Read(raw[1 : 1+tokenRandom]) // never fails
	binary.BigEndian.PutUint32(raw[1+tokenRandom:], tokenSum(prefix, raw[:1+tokenRandom]))
	return prefix + base64.RawURLEncoding.EncodeToString(raw[:]), secret{shard, sha256.Sum256(raw[:])}
}

// parseToken reads a token of the kind that prefix names; false if it cannot be one of ours.
func parseToken(prefix, token string) (secret, bool) {
	text, found := strings.CutPrefix(token, prefix)
	if !found || len(text) != base64.RawURLEncoding.EncodedLen(tokenLength) {
		return secret{}, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != tokenLength {
		return secret{}, false
	}
	body := raw[:1+tokenRandom]
	if binary.BigEndian.Uint32(raw[1+tokenRandom:]) != tokenSum(prefix, body) {
		return secret{}, false
	}
	return secret{int64(raw[0]), sha256.Sum256(raw)}, true
}

func tokenSum(prefix string, body []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte(prefix)), crc32.IEEETable, body)
}

// randomText gives n characters of the alphabet, each chosen evenly.
func randomText(alphabet string, n int) string {
	out := make([]byte, 0, n)
	var pool [64]byte
	most := 256 - 256%len(alphabet) // above it the choice would not be even
	for len(out) < n {
		rand.Read(pool[:]) // never fails
		for _, b := range pool {
			if int(b) < most && len(out) < n {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(out)
}

const (
	upperAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lowerAlphabet = "abcdefghijklmnopqrstuvwxyz234567"
	mixedAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)
