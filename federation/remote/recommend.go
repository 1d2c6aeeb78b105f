package remote

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"astrocyte/federation/peer"
	"astrocyte/lru"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
)

var policyAsked = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "astrocyte_federation_policy_total",
	Help: "What policy servers were asked about events: signed, refused, away (no answer came, or they are left alone since none came a moment ago), busy.",
}, []string{"result"})

const (
	// signTime is how long a policy server may think about an event: its sender waits.
	signTime = 10 * time.Second
	// signsAtOnce bounds the questions to one policy server; who comes later waits.
	signsAtOnce = 32
	// A policy server that gave no answer is left alone for awayPause. Once it has given none for awayLong, events of
	// others no longer wait for it, and it is left alone for awayRest each time.
	awayPause = 3 * time.Second
	awayLong  = time.Minute
	awayRest  = 15 * time.Second
	// One that has too much to do is left alone as long as it says, limitedMost at most. Once it has said nothing else for
	// limitedLong, events of others no longer wait for it.
	limitedMost = 10 * time.Minute
	limitedLong = time.Hour
	// maxPolicyServers bounds of how many policy servers it is remembered how they are.
	maxPolicyServers = 1000
)

// policyServer is how a policy server was lately.
type policyServer struct {
	turns chan struct{}

	mu          sync.Mutex
	since, last time.Time // when it first and last gave no answer, after its last one
	limited     time.Time // since when it has too much to do; zero: it has not
	until       time.Time // to when it asked to be left alone
}

// Recommend asks the policy server of a room to sign an event. It is how the room server does so.
//
// Spec: POST /_matrix/policy/v1/sign
func (r *Remote) Recommend(ctx context.Context, p *rules.PolicyServer, ev *rules.Event) (*rules.Event, error) {
	asker := ctx
	ctx, cancel := context.WithTimeout(ctx, signTime)
	defer cancel()
	at := r.policyServer(p.Server)
	if err := at.rests(r.now()); err != nil {
		return nil, r.away(at, p, err)
	}
	if wait := at.limit(r.now()); wait > 0 {
		return nil, r.busy(at, p, wait, errRests)
	}
	select {
	case at.turns <- struct{}{}:
		defer func() { <-at.turns }()
	case <-ctx.Done():
		return nil, r.away(at, p, ctx.Err())
	}
	signature, err := r.askToSign(ctx, p, ev)
	if err == nil {
		at.answered()
		return r.signedBy(p, ev, signature)
	}
	var refused *peer.Refused
	if errors.As(err, &refused) && refused.Status < http.StatusInternalServerError && refused.Status != http.StatusUnauthorized {
		if refused.Status == http.StatusTooManyRequests {
			return nil, r.busy(at, p, at.limits(r.now(), refused.RetryAfter), err)
		}
		at.answered()
		policyAsked.WithLabelValues("refused").Inc()
		return nil, refusedBy(p, refused)
	}
	if asker.Err() == nil { // else nobody waited for it
		at.failed(r.now())
	}
	return nil, r.away(at, p, err)
}

// signedBy puts the signature of a policy server to an event.
func (r *Remote) signedBy(p *rules.PolicyServer, ev *rules.Event, signature string) (*rules.Event, error) {
	if signature == "" { // as servers from before the specification refuse
		policyAsked.WithLabelValues("refused").Inc()
		return nil, matrix.Forbidden("the room's policy server %s does not recommend the event", p.Server)
	}
	signed, err := ev.WithRecommendation(p, signature)
	if errors.Is(err, rules.ErrSignature) {
		policyAsked.WithLabelValues("refused").Inc()
		r.log.Warn("a policy server signs with another key than that in the state of the room", "server", p.Server, "room", ev.RoomID())
		return nil, matrix.Forbidden("the room's policy server %s signs with another key than the room names", p.Server)
	}
	if err == nil {
		policyAsked.WithLabelValues("signed").Inc()
	}
	return signed, err
}

// The paths by which policy servers are asked: that of the specification, and the one from before it.
const (
	signPath    = "/_matrix/policy/v1/sign"
	oldSignPath = "/_matrix/policy/unstable/org.matrix.msc4284/sign"
)

// askToSign gives the signature of a policy server, empty where it gives none.
func (r *Remote) askToSign(ctx context.Context, p *rules.PolicyServer, ev *rules.Event) (string, error) {
	first, second := signPath, oldSignPath
	if p.Old {
		first, second = second, first
	}
	var answer map[matrix.ServerName]map[matrix.KeyID]string
	request := peer.Request{Method: "POST", Path: first, Body: json.RawMessage(ev.Bytes()), Into: &answer, Timeout: signTime}
	err := r.client.Do(ctx, p.Server, request)
	if knowsNoSuchPath(err) {
		request.Path = second
		err = r.client.Do(ctx, p.Server, request)
	}
	return answer[p.Server][rules.PolicyKeyID], err
}

// refusedBy is what a user is told of a refusal: what the policy server says. Where it knows of no such question the
// words would be taken for ours.
func refusedBy(p *rules.PolicyServer, refused *peer.Refused) *matrix.Error {
	if knowsNoSuchPath(refused) || refused.Unreadable {
		return matrix.Forbidden("%s, which the room names as its policy server, signs no events", p.Server)
	}
	return told(refused)
}

// told is a refusal in the words of who refuses.
func told(refused *peer.Refused) *matrix.Error {
	e := *refused.Fault
	e.Status = refused.Status
	return &e
}

// away says that a policy server could not be asked.
func (r *Remote) away(at *policyServer, p *rules.PolicyServer, err error) *roomserver.Away {
	policyAsked.WithLabelValues("away").Inc()
	r.log.Info("a policy server could not be asked", "server", p.Server, "error", err)
	return &roomserver.Away{
		Server: p.Server, Err: err, Long: at.long(r.now()),
		Told: matrix.E(matrix.CodeUnknown, "the room's policy server %s, which has to sign what is sent, cannot be reached", p.Server).
			WithStatus(http.StatusBadGateway),
	}
}

// busy says that a policy server has too much to do, and for how long it is left alone.
func (r *Remote) busy(at *policyServer, p *rules.PolicyServer, wait time.Duration, err error) *roomserver.Away {
	policyAsked.WithLabelValues("busy").Inc()
	return &roomserver.Away{
		Server: p.Server, Err: err, Long: at.long(r.now()), After: wait,
		Told: matrix.E(matrix.CodeLimitExceeded, "the room's policy server %s, which has to sign what is sent, has too much to do", p.Server).
			With("retry_after_ms", wait.Milliseconds()),
	}
}

// policyServer finds how a policy server was lately.
func (r *Remote) policyServer(name matrix.ServerName) *policyServer {
	r.policing.Lock()
	defer r.policing.Unlock()
	at, known := r.policies.Get(name)
	if !known {
		at = &policyServer{turns: make(chan struct{}, signsAtOnce)}
		r.policies.Put(name, at, 1)
	}
	return at
}

func newPolicies() *lru.Cache[matrix.ServerName, *policyServer] {
	return lru.New[matrix.ServerName, *policyServer](maxPolicyServers)
}

var errRests = errors.New("it gave no answer a moment ago")

// rests says whether the server is left alone.
func (s *policyServer) rests(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	pause := awayPause
	if !s.since.IsZero() && s.last.Sub(s.since) >= awayLong {
		pause = awayRest
	}
	if !s.last.IsZero() && now.Sub(s.last) < pause {
		return errRests
	}
	return nil
}

// long says whether the server has given no answer for long.
func (s *policyServer) long(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.since.IsZero() && now.Sub(s.since) >= awayLong || !s.limited.IsZero() && now.Sub(s.limited) >= limitedLong
}

// limit says for how long the server is to be left alone yet, since it has too much to do.
func (s *policyServer) limit(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.until.Sub(now)
}

// limits notes that the server has too much to do, and gives for how long it is left alone.
func (s *policyServer) limits(now time.Time, wait time.Duration) time.Duration {
	if wait <= 0 {
		wait = awayPause
	}
	wait = min(wait, limitedMost)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since, s.last, s.until = time.Time{}, time.Time{}, now.Add(wait)
	if s.limited.IsZero() {
		s.limited = now
	}
	return wait
}

func (s *policyServer) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since, s.last, s.limited, s.until = time.Time{}, time.Time{}, time.Time{}, time.Time{}
}

func (s *policyServer) failed(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last = now; s.since.IsZero() {
		s.since = now
	}
}
