package account

import (
	"testing"
	"time"

	"astrocyte/matrix"
)

func TestSessionCache(t *testing.T) {
	t.Parallel()
	c := newSessionCache()
	now := time.Unix(1000, 0)
	user := matrix.UserID("@alice:example.org")
	add := func(u matrix.UserID) secret {
		_, key := newToken(accessPrefix, user.Shard())
		c.keep(key, &session{tokenRow: tokenRow{User: u}, read: now}, c.stamp(key.shard))
		return key
	}
	a, b := add(user), add("@bob:example.org")
	if c.find(a, now) == nil || c.find(b, now) == nil {
		t.Fatal("sessions are not found")
	}
	c.forget(user)
	if c.find(a, now) != nil || c.find(b, now) == nil {
		t.Error("forgetting a user forgot nobody, or another")
	}
	if c.find(b, now.Add(cacheTTL+time.Second)) != nil {
		t.Error("a session is taken for good for ever")
	}

	_, key := newToken(accessPrefix, user.Shard())
	stamp := c.stamp(key.shard) // it is read here, and ends before it is kept
	c.forget(user)
	c.keep(key, &session{tokenRow: tokenRow{User: user}, read: now}, stamp)
	if c.find(key, now) != nil {
		t.Error("a session was kept that had ended while it was read")
	}

	for range 2 * cachePerShard {
		add(user)
	}
	if n := len(c.parts[user.Shard()].sessions); n > cachePerShard {
		t.Errorf("%d sessions of a shard are kept", n)
	}
	c.forgetAll()
	if n := len(c.parts[user.Shard()].sessions); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}
