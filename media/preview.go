package media

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"astrocyte/config"
	"astrocyte/egress"
	"astrocyte/matrix"
	"astrocyte/store"
)

var previewsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "astrocyte_media_previews_total",
	Help: "Previews of links by result: cached, made or failed.",
}, []string{"result"})

// previewer fetches what people link to.
type previewer struct {
	c      config.Previews
	client *http.Client
}

const (
	maxURL       = 2048
	maxRedirects = 5
	// failureTime is how long a page that could not be fetched is not asked for again.
	failureTime = time.Minute
)

var (
	errNoPreviews = matrix.E(matrix.CodeUnrecognized, "this server makes no previews of links")
	errNoPage     = matrix.NotFound("this page could not be fetched")
	errBadURL     = matrix.InvalidParam("only http and https URLs have previews")
	errDeniedHost = matrix.Forbidden("there are no previews of this site")
)

func newPreviewer(c config.Previews) *previewer {
	policy := egress.New(egress.Options{Allow: prefixes(c.Allow), Deny: prefixes(c.Deny)})
	transport := policy.Transport()
	transport.DisableKeepAlives = true
	p := &previewer{c: c}
	p.client = &http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return errors.New("too many redirects")
		}
		req.Header.Del("Referer")
		return p.allowed(req.URL)
	}}
	return p
}

func prefixes(ranges []config.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, r := range ranges {
		out = append(out, netip.Prefix(r))
	}
	return out
}

// allowed refuses URLs that are not fetched whatever their address is.
func (p *previewer) allowed(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return errBadURL
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	for _, denied := range p.c.DenyHosts {
		denied = strings.ToLower(denied)
		below, wild := strings.CutPrefix(denied, "*")
		if host == denied || wild && strings.HasSuffix(host, below) {
			return errDeniedHost
		}
	}
	return nil
}

// get asks for a URL.
func (p *previewer) get(ctx context.Context, u *url.URL, accept string) (*http.Response, error) {
	if err := p.allowed(u); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (compatible; Astrocyte; bot for link previews)")
	req.Header.Set("Accept", accept)
	if p.c.Language != "" {
		req.Header.Set("Accept-Language", p.c.Language)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	return resp, nil
}

// Preview tells what is behind a link, as JSON.
//
// Spec: GET /_matrix/client/v1/media/preview_url
func (r *Repository) Preview(ctx context.Context, link string) (json.RawMessage, error) {
	if !r.c.Previews.Enabled {
		return nil, errNoPreviews
	}
	u, err := url.Parse(link)
	if err != nil || len(link) > maxURL {
		return nil, errBadURL
	}
	u.Fragment = ""
	if err := r.previewer.allowed(u); err != nil {
		return nil, err
	}
	if answer, found, err := r.keptPreview(ctx, u.String()); err != nil || found {
		previewsTotal.WithLabelValues("cached").Inc()
		return answer, err
	}
	made, err, _ := r.looks.Do(u.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(r.c.Previews.Timeout))
		defer cancel()
		return r.makePreview(ctx, u)
	})
	if err != nil {
		return nil, err
	}
	return made.(json.RawMessage), nil
}

func (r *Repository) keptPreview(ctx context.Context, link string) (answer json.RawMessage, found bool, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		answer, found, err = previewOf(tx, link, r.millis())
		return err
	})
	if err == nil && found && len(answer) == 0 {
		err = errNoPage
	}
	return answer, found, err
}

// makePreview looks at a page, and keeps what it has seen for a while. Why a page cannot be fetched is not
// told to whoever asks: it would tell what there is in this server's network.
func (r *Repository) makePreview(ctx context.Context, u *url.URL) (json.RawMessage, error) {
	lasts, result := time.Duration(r.c.Previews.Cache), "made"
	var answer json.RawMessage
	seen, err := r.look(ctx, u)
	if err == nil {
		answer, err = json.Marshal(seen)
	}
	if err != nil {
		r.log.Debug("there is no preview", "url", u.String(), "error", err)
		answer, lasts, result = json.RawMessage{}, failureTime, "failed"
	}
	previewsTotal.WithLabelValues(result).Inc()
	keep, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	kept := r.db.Update(keep, func(tx *store.Tx) error {
		return insertPreview(tx, u.String(), answer, r.millis()+lasts.Milliseconds())
	})
	switch {
	case kept != nil:
		return nil, kept
	case err != nil:
		return nil, errNoPage
	}
	return answer, nil
}

// look fetches a page, or an image, and what belongs to it.
func (r *Repository) look(ctx context.Context, u *url.URL) (map[string]any, error) {
	resp, err := r.previewer.get(ctx, u, "text/html,application/xhtml+xml,image/*;q=0.8,*/*;q=0.5")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	at := resp.Request.URL
	switch {
	case strings.HasPrefix(kind, "image/"):
		seen := map[string]any{"og:title": cleanName(path.Base(at.Path))}
		return seen, r.takeImage(ctx, resp, seen)
	case kind != "text/html" && kind != "application/xhtml+xml":
		return map[string]any{}, nil
	}
	page, err := readPage(resp.Body, resp.Header.Get("Content-Type"), int64(r.c.Previews.MaxPage))
	if err != nil {
		return nil, err
	}
	r.askOEmbed(ctx, at, page)
	seen := page.seen()
	if err := r.addImage(ctx, at, page.image(), seen); err != nil {
		r.log.Debug("a preview has no image", "url", u.String(), "error", err)
	}
	return seen, nil
}

// addImage fetches the image that a page names.
func (r *Repository) addImage(ctx context.Context, page *url.URL, image string, seen map[string]any) error {
	if image == "" || len(image) > maxURL {
		return nil
	}
	u, err := page.Parse(image)
	if err != nil {
		return err
	}
	resp, err := r.previewer.get(ctx, u, "image/png,image/jpeg,image/gif,image/webp")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return r.takeImage(ctx, resp, seen)
}

// takeImage keeps an image as media of this server, for a while.
func (r *Repository) takeImage(ctx context.Context, resp *http.Response, seen map[string]any) error {
	limit := int64(r.c.Previews.MaxImage)
	if resp.ContentLength > limit {
		return tooLargeFor(limit)
	}
	s, err := r.stage(ctx, resp.Body, limit)
	if err != nil {
		return err
	}
	defer s.drop()
	p, err := r.pictureIn(s)
	if err != nil {
		return err
	}
	f := r.fileOf(r.newID(), s, Upload{Name: path.Base(resp.Request.URL.Path), ContentType: p.kind})
	f.expires = r.millis() + time.Duration(max(r.c.Previews.ImageCache, r.c.Previews.Cache)).Milliseconds()
	if err := r.keep(ctx, s, func(tx *store.Tx) error { return insertMedia(tx, f) }, ""); err != nil {
		return err
	}
	seen["og:image"], seen["og:image:type"], seen["matrix:image:size"] = f.ID.String(), p.kind, s.size
	seen["og:image:width"], seen["og:image:height"] = p.width, p.height
	return nil
}

func (r *Repository) pictureIn(s *staged) (*picture, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readPicture(f, 1)
}
