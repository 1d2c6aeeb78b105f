package httpapi

import (
	"cmp"
	"container/list"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"astrocyte/matrix"
)

var limitedTotal = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "astrocyte_rate_limited_total",
	Help: "Requests refused by a rate limit, by the limiter's name.",
}, []string{"limiter"})

// CountLimited counts a request that a limit refused, where it did not come by HTTP: a Router counts by itself.
func CountLimited(e *matrix.Error) { limitedTotal.WithLabelValues(cmp.Or(e.Limiter, "unnamed")).Inc() }

// Rate is a token bucket: so many a second on average, and so many at once. The zero Rate is no limit.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Class is what the endpoints of one kind are limited to.
type Class struct {
	// Account limits what one user does; Address what comes from one address.
	Account, Address Rate
}

// Limits is a set of rate limits, replaced as a whole.
type Limits struct {
	Classes map[string]Class
	// Servers limit what each single other server asks, by the names that endpoints give.
	Servers map[string]Rate
	// Factors multiply the limits of single users; 0 frees them of limits.
	Factors map[matrix.UserID]float64
}

// maxBuckets bounds the memory of a Limiter: the bucket that was used least recently is forgotten.
const maxBuckets = 100_000

// Limiter holds the token buckets of accounts and addresses.
type Limiter struct {
	now func() time.Time

	mu      sync.Mutex
	limits  Limits
	buckets map[bucketKey]*list.Element
	recent  *list.List // of *bucket, the one used last in front
}

type bucketKey struct{ limiter, who string }

// bucket is a token bucket told by one time: when it will be full again.
type bucket struct {
	key  bucketKey
	full time.Time
}

// NewLimiter makes a limiter. now is the clock, nil for the real one.
func NewLimiter(limits Limits, now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now
	}
	return &Limiter{now: now, limits: limits, buckets: map[bucketKey]*list.Element{}, recent: list.New()}
}

// Set replaces the limits; buckets keep their fill.
func (l *Limiter) Set(limits Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits = limits
}

// messageClass is the class whose limit users can have one of their own for.
const messageClass = "message"

// Caller takes one from the bucket that a caller has for a class.
func (l *Limiter) Caller(class string, c *Caller) error {
	switch {
	case l == nil || c.Unlimited:
		return nil
	case class == messageClass && c.Messages != (Rate{}):
		return l.own(c.User, c.Messages)
	}
	return l.Account(class, c.User)
}

// own takes one from the bucket of a user who has a limit of their own. Where nothing is limited they are not either.
func (l *Limiter) own(user matrix.UserID, rate Rate) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.limits.Classes) == 0 {
		return nil
	}
	return l.take(rate, bucketKey{messageClass + ".account", string(user)})
}

// Account takes one from a user's bucket of a class; the error names the limit, its class and that the account
// met it.
func (l *Limiter) Account(class string, user matrix.UserID) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	rate := l.limits.Classes[class].Account
	if factor, found := l.limits.Factors[user]; found {
		rate = Rate{PerSecond: rate.PerSecond * factor, Burst: int(float64(rate.Burst) * factor)}
	}
	return l.take(rate, bucketKey{class + ".account", string(user)})
}

// Server takes one from another server's bucket of a class; the error names the limit.
func (l *Limiter) Server(class string, origin matrix.ServerName) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.take(l.limits.Servers[class], bucketKey{"servers." + class, string(origin)})
}

// Address takes one from an address's bucket of a class; the error names the limit, its class and that the address met it. IPv6 addresses count
// by their /64, which one subscriber has.
func (l *Limiter) Address(class string, ip netip.Addr) error {
	if l == nil {
		return nil
	}
	who := ip.Unmap()
	if who.Is6() {
		if p, err := who.Prefix(64); err == nil {
			who = p.Addr()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.take(l.limits.Classes[class].Address, bucketKey{class + ".address", who.String()})
}

func (l *Limiter) take(rate Rate, key bucketKey) error {
	if rate.PerSecond <= 0 {
		return nil
	}
	now, b := l.now(), l.bucket(key)
	interval := time.Duration(float64(time.Second) / rate.PerSecond)
	full := b.full
	if full.Before(now) {
		full = now
	}
	full = full.Add(interval)
	if over := full.Sub(now) - time.Duration(max(rate.Burst, 1))*interval; over > 0 {
		return matrix.TooMany(key.limiter, over, "too many requests") // Spec: CS "Rate limiting"
	}
	b.full = full
	return nil
}

// bucket finds or makes a bucket, and forgets the oldest where there are too many.
func (l *Limiter) bucket(key bucketKey) *bucket {
	if el := l.buckets[key]; el != nil {
		l.recent.MoveToFront(el)
		return el.Value.(*bucket)
	}
	if l.recent.Len() >= maxBuckets {
		oldest := l.recent.Back()
		delete(l.buckets, l.recent.Remove(oldest).(*bucket).key)
	}
	b := &bucket{key: key}
	l.buckets[key] = l.recent.PushFront(b)
	return b
}
