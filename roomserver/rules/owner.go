package rules

import (
	"strings"

	"astrocyte/matrix"
)

const (
	// maxOwnedKey bounds a state key that begins with the id of its owner, in bytes.
	maxOwnedKey = 511
	// maxKeySuffix bounds what follows the id, with the underscore.
	maxKeySuffix = 256
)

// maxKey bounds the state keys of a version, in bytes.
func (v *Version) maxKey() int {
	if v.OwnedKeys {
		return maxOwnedKey
	}
	return maxText
}

// KeyOwner finds whose a state key is that begins with @: the user whose id stands before the first
// underscore behind its colon. false: the version knows no such keys, or this is none.
//
// Extension: MSC3757.
func (v *Version) KeyOwner(key string) (matrix.UserID, bool) {
	if !v.OwnedKeys || !strings.HasPrefix(key, "@") {
		return "", false
	}
	id := key
	if colon := strings.IndexByte(key, ':'); colon >= 0 {
		if end := strings.IndexByte(key[colon:], '_'); end >= 0 {
			id = key[:colon+end]
		}
	}
	owner, err := matrix.ParseUserID(id)
	return owner, err == nil && len(key)-len(id) <= maxKeySuffix
}

// needKeyOfOwner refuses state keys of others, but for those with more power than the owner.
func (c *check) needKeyOfOwner() error {
	if !c.isState || !strings.HasPrefix(c.key, "@") {
		if len(c.key) > maxText {
			return refuse("state-key", "a state key without an owner has at most %d bytes", maxText)
		}
		return nil
	}
	owner, ok := c.e.version.KeyOwner(c.key)
	switch {
	case !ok:
		return refuse("state-key", "a state key that begins with @ must begin with a user ID")
	case owner != c.e.sender && c.levels().User(c.e.sender).Compare(c.levels().User(owner)) <= 0:
		return refuse("state-key", "the state key is of %s, who has no less power than you", owner)
	}
	return nil
}
