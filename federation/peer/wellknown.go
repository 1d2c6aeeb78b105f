package peer

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"astrocyte/lru"
	"astrocyte/matrix"
)

// wellKnown asks servers to which name they have delegated, and remembers the answers.
//
// Spec: SS "Well-known URI"
type wellKnown struct {
	client *http.Client
	agent  string
	now    func() time.Time
	known  *lru.Cache[matrix.ServerName, delegation]
	asking singleflight.Group
}

// delegation is what a server says, or that it says nothing.
type delegation struct {
	to       matrix.ServerName // empty: nothing
	until    time.Time
	failures int // in a row
}

const (
	maxDelegations = 20_000
	maxWellKnown   = 50 << 10
	maxRedirects   = 5
	wellKnownTime  = 10 * time.Second

	// An answer is kept as it says itself, within these.
	wellKnownLeast   = 5 * time.Minute
	wellKnownDefault = 24 * time.Hour
	wellKnownMost    = 48 * time.Hour
	// A failure is kept so long at first, twice as long each time again, and never longer than the most: one that may be
	// over in a moment, and any other.
	failureBriefly = 5 * time.Second
	failureLeast   = 2 * time.Minute
	failureMost    = time.Hour
)

func newWellKnown(o Options) *wellKnown {
	t := o.Egress.Transport()
	t.TLSClientConfig = &tls.Config{RootCAs: o.CAs, MinVersion: tls.VersionTLS12}
	t.ResponseHeaderTimeout = wellKnownTime
	t.DisableKeepAlives = true // asked once a day
	return &wellKnown{
		client: &http.Client{Transport: t, CheckRedirect: followSecure, Timeout: wellKnownTime},
		agent:  o.Agent, now: o.Now,
		known: lru.New[matrix.ServerName, delegation](maxDelegations),
	}
}

// followSecure follows redirects that keep to HTTPS: the answer speaks for the server whose name was asked.
func followSecure(req *http.Request, via []*http.Request) error {
	switch {
	case req.URL.Scheme != "https":
		return errors.New("a redirect that leaves HTTPS")
	case len(via) > maxRedirects:
		return errors.New("too many redirects")
	}
	return nil
}

// delegated gives the name to which a server has delegated, empty where it has not.
func (w *wellKnown) delegated(ctx context.Context, server matrix.ServerName) (matrix.ServerName, error) {
	before, found := w.known.Get(server)
	if found && w.now().Before(before.until) {
		return before.to, nil
	}
	asked := w.asking.DoChan(string(server), func() (any, error) {
		d := w.ask(context.WithoutCancel(ctx), server, before) // others wait for it too
		w.known.Put(server, d, 1)
		return d.to, nil
	})
	select {
	case got := <-asked:
		return got.Val.(matrix.ServerName), got.Err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// ask asks a server. Whatever goes wrong means that it has not delegated.
func (w *wellKnown) ask(ctx context.Context, server matrix.ServerName, before delegation) delegation {
	ctx, cancel := context.WithTimeout(ctx, wellKnownTime)
	defer cancel()
	to, lasts, err := w.fetch(ctx, server)
	if err == nil {
		return delegation{to: to, until: w.now().Add(lasts)}
	}
	failures := before.failures + 1
	wait := min(failureLeast<<min(failures-1, 10), failureMost)
	if before.to != "" && failures <= 3 {
		// It was there a while ago: the server may be down for a moment, and its name leads there still.
		return delegation{to: before.to, until: w.now().Add(wait), failures: failures}
	}
	if IsFleeting(err) {
		wait = min(failureBriefly<<min(failures-1, 10), failureMost)
	}
	return delegation{until: w.now().Add(wait), failures: failures}
}

func (w *wellKnown) fetch(ctx context.Context, server matrix.ServerName) (to matrix.ServerName, lasts time.Duration, err error) {
	req, err := newRequest(ctx, http.MethodGet, "https://"+string(server)+"/.well-known/matrix/server", nil)
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("User-Agent", w.agent)
	resp, err := w.client.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", 0, refusal(server, resp)
	}
	text, err := readBounded(resp.Body, maxWellKnown)
	if err != nil {
		return "", 0, err
	}
	var body struct {
		Server string `json:"m.server"`
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return "", 0, err
	}
	if to, err = matrix.ParseServerName(body.Server); err != nil {
		return "", 0, err
	}
	return to, w.lasts(resp.Header), nil
}

// lasts reads how long an answer may be kept.
func (w *wellKnown) lasts(h http.Header) time.Duration {
	for directive := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return wellKnownLeast
		case "max-age":
			if n, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 64); err == nil && n >= 0 {
				return within(time.Duration(min(n, 1e6))*time.Second, wellKnownLeast, wellKnownMost)
			}
		}
	}
	if at, err := http.ParseTime(h.Get("Expires")); err == nil {
		return within(at.Sub(w.now()), wellKnownLeast, wellKnownMost)
	}
	return wellKnownDefault
}

func within(d, least, most time.Duration) time.Duration { return min(max(d, least), most) }
