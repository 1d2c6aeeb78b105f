package account

import (
	"sync"
	"time"

	"astrocyte/httpapi"
	"astrocyte/lru"
	"astrocyte/matrix"
)

// maxFailing bounds the accounts whose wrong passwords are remembered.
const maxFailing = 100_000

// failures limits the wrong passwords that an account takes, wherever they come from. Right ones do not
// count, but while the limit is met they are refused as well: otherwise guessing could go on. Each
// node counts for itself.
type failures struct {
	rate httpapi.Rate

	mu   sync.Mutex                           // held from reading a bucket to writing it
	full *lru.Cache[matrix.UserID, time.Time] // when the account's bucket is full again
}

func (f *failures) interval() time.Duration {
	return time.Duration(float64(time.Second) / f.rate.PerSecond)
}

// allow refuses an attempt where there were too many wrong ones.
func (f *failures) allow(user matrix.UserID, now time.Time) error {
	if f.rate.PerSecond < 0 || user == "" {
		return nil
	}
	full, found := f.full.Get(user)
	if !found {
		return nil
	}
	if over := full.Sub(now) - time.Duration(max(f.rate.Burst, 1)-1)*f.interval(); over > 0 {
		return matrix.TooMany("wrong_password.account", over, "too many wrong passwords")
	}
	return nil
}

// failed counts a wrong password.
func (f *failures) failed(user matrix.UserID, now time.Time) {
	if f.rate.PerSecond < 0 || user == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	full, _ := f.full.Get(user)
	if full.Before(now) {
		full = now
	}
	f.full.Put(user, full.Add(f.interval()), 1)
}
