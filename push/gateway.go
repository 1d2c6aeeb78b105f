package push

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"astrocyte/egress"
)

var pushes = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "astrocyte_push_notifications_total",
	Help: "Notifications to push gateways by result: sent, failed (tried again), refused (given up), rejected (the pusher is deleted).",
}, []string{"result"})

const (
	gatewayTime   = 20 * time.Second // for one request
	answerMost    = 64 << 10         // bytes that are read of an answer
	restLeast     = time.Second      // of a gateway that failed, doubled with each further failure
	restMost      = 2 * time.Minute
	gatewaysKnown = 1000 // that rest at a time
)

// gateways are the push gateways as this node sees them. One that fails rests for a while, so that those
// whose notifications go elsewhere need not wait for it to time out.
//
// Spec: Push Gateway API.
type gateways struct {
	client *http.Client
	now    func() time.Time

	mu      sync.Mutex
	resting map[string]*resting // by host
}

type resting struct {
	until    time.Time
	failures int
}

func newGateways(policy *egress.Policy, now func() time.Time) *gateways {
	if policy == nil {
		policy = egress.New(egress.Options{})
	}
	return &gateways{
		client: &http.Client{
			Transport: policy.Transport(), Timeout: gatewayTime,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		now: now, resting: make(map[string]*resting),
	}
}

// gatewayAnswer is what a gateway says.
//
// Spec: POST /_matrix/push/v1/notify
type gatewayAnswer struct {
	Rejected []string `json:"rejected"`
}

// refusedError is an answer that is no success.
type refusedError struct{ status int }

func (e *refusedError) Error() string { return fmt.Sprintf("the gateway answered %d", e.status) }

// forGood says that the same notification would be refused again.
func (e *refusedError) forGood() bool {
	return e.status == http.StatusBadRequest || e.status == http.StatusRequestEntityTooLarge
}

// notify sends one notification.
func (g *gateways) notify(ctx context.Context, to string, body []byte) (*gatewayAnswer, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, fmt.Errorf("read the address of a gateway: %w", err)
	}
	if left := g.rest(u.Host); left > 0 {
		return nil, fmt.Errorf("the gateway %s failed, and rests for %s", u.Host, left.Round(time.Second))
	}
	answer, err := g.post(ctx, to, body)
	if refused, ok := err.(*refusedError); err == nil || ok && refused.status < 500 && refused.status != http.StatusTooManyRequests {
		g.works(u.Host)
	} else if ctx.Err() == nil {
		g.failed(u.Host)
	}
	return answer, err
}

func (g *gateways) post(ctx context.Context, to string, body []byte) (*gatewayAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Astrocyte")
	res, err := g.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, answerMost))
	if res.StatusCode != http.StatusOK {
		return nil, &refusedError{res.StatusCode}
	}
	if err != nil {
		return nil, err
	}
	answer := new(gatewayAnswer)
	if err := json.Unmarshal(text, answer); err != nil {
		return nil, fmt.Errorf("read the answer of the gateway: %w", err)
	}
	return answer, nil
}

// rest is how long a gateway still rests.
func (g *gateways) rest(host string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.resting[host]; r != nil {
		return r.until.Sub(g.now())
	}
	return 0
}

func (g *gateways) works(host string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.resting, host)
}

func (g *gateways) failed(host string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.resting[host]
	if r == nil {
		if len(g.resting) >= gatewaysKnown {
			clear(g.resting)
		}
		r = new(resting)
		g.resting[host] = r
	}
	r.until = g.now().Add(min(restLeast<<min(r.failures, 10), restMost) / 2)
	r.failures++
}
