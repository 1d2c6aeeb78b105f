package media_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/media"
	"astrocyte/testkit"
)

// site is a web server for previews, and counts what it is asked.
type site struct {
	*httptest.Server
	asked atomic.Int64
	pages map[string]http.HandlerFunc
}

func newSite(t *testing.T) *site {
	s := &site{pages: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		if page := s.pages[r.URL.Path]; page != nil {
			page(w, r)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) page(path, kind, body string) {
	s.pages[path] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		fmt.Fprint(w, body)
	}
}

// previews is a repository that may fetch from 127.0.0.1, but from no other private address.
func previews(t *testing.T, dsn string, change ...func(*config.Previews)) *world {
	return newWorld(t, dsn, func(o *media.Options) {
		o.Config.Previews.Enabled = true
		o.Config.Previews.Allow = []config.Prefix{config.Prefix(netip.MustParsePrefix("127.0.0.1/32"))}
		for _, c := range change {
			c(&o.Config.Previews)
		}
	})
}

func (w *world) seen(url string) map[string]any {
	w.t.Helper()
	body, err := w.Preview(context.Background(), url)
	if err != nil {
		w.t.Fatalf("preview of %s: %v", url, err)
	}
	var seen map[string]any
	if err := json.Unmarshal(body, &seen); err != nil {
		w.t.Fatal(err)
	}
	return seen
}

func TestPreviews(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w, s := previews(t, dsn), newSite(t)
		image := string(pngOf(t, picture(30, 20)))
		s.page("/image.png", "image/png", image)
		s.page("/og", "text/html", `<head><meta property="og:title" content="A &amp; B"><meta property="og:title" content="second">
			<meta property="og:image" content="image.png"><meta property="og:image:width" content="9999"><title>T</title></head><p>Text`)
		s.page("/plain", "text/html; charset=iso-8859-1", "<title> Caf\xe9\n </title><meta name=description content=described><p>Text")
		s.page("/bare", "text/html", `<body><script>evil()</script><p>First <b>part</b> of it.</p><p>Second.</p>`)
		s.page("/embed", "text/html", `<link rel="alternate" type="application/json+oembed" href="/oembed?x=1">`)
		s.page("/oembed", "application/json", `{"type":"video","title":"Film","provider_name":"Cinema","thumbnail_url":"`+s.URL+`/image.png"}`)
		s.page("/lying.png", "image/png", "<html>")
		s.page("/text", "text/plain", "hello")
		for path, want := range map[string]map[string]any{
			"/og":        {"og:title": "A & B", "og:description": "Text", "og:image:width": 30.0, "og:image:height": 20.0, "og:image:type": "image/png"},
			"/plain":     {"og:title": "Café", "og:description": "described"},
			"/bare":      {"og:description": "First part of it."},
			"/embed":     {"og:title": "Film", "og:site_name": "Cinema", "matrix:image:size": float64(len(image))},
			"/image.png": {"og:title": "image.png", "og:image:width": 30.0, "matrix:image:size": float64(len(image))},
			"/text":      {},
		} {
			seen := w.seen(s.URL + path)
			for name, value := range want {
				if seen[name] != value {
					t.Errorf("%s: %s is %v, want %v", path, name, seen[name], value)
				}
			}
			if uri, has := seen["og:image"].(string); has {
				id, err := media.ParseID("example.org", strings.TrimPrefix(uri, "mxc://example.org/"))
				if err != nil {
					t.Fatalf("%s: image %q: %v", path, uri, err)
				}
				if got := w.reads(w.finds(id)); string(got) != image {
					t.Errorf("%s: the image came back changed", path)
				}
			}
		}
		_, err := w.Preview(context.Background(), s.URL+"/lying.png")
		wants(t, err, matrix.CodeNotFound)

		asked := s.asked.Load()
		w.seen(s.URL + "/og#part")
		_, err = w.Preview(context.Background(), s.URL+"/lying.png")
		wants(t, err, matrix.CodeNotFound)
		if s.asked.Load() != asked {
			t.Error("what was seen a moment ago was fetched again")
		}
		w.pass(2 * time.Hour)
		w.seen(s.URL + "/og")
		if s.asked.Load() == asked {
			t.Error("an old preview was given")
		}
		w.pass(31 * 24 * time.Hour)
		w.sweep()
		if files := w.files(); len(files) != 0 {
			t.Errorf("there are still %v", files)
		}
	})
}

// TestBadPages asks for what leads into private networks, never ends, or is too much.
func TestBadPages(t *testing.T) {
	t.Parallel()
	within := func(timeout time.Duration) *world {
		return previews(t, testkit.SQLite(t), func(p *config.Previews) {
			p.Timeout, p.MaxPage, p.MaxImage = config.Duration(timeout), 64<<10, 64<<10
			p.DenyHosts = []string{"*.denied.example", "denied.example"}
		})
	}
	w, hasty := within(time.Minute), within(time.Second)
	s := newSite(t)
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	private := "http://127.0.0.2:" + port + "/secret"
	s.page("/secret", "text/html", "<title>secret</title>")
	for path, to := range map[string]string{"/away": private, "/file": "file:///etc/passwd", "/loop": "/loop", "/local": "http://localhost.:1/"} {
		s.pages[path] = http.RedirectHandler(to, http.StatusFound).ServeHTTP
	}
	s.pages["/silent"] = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	drip := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		for r.Context().Err() == nil {
			fmt.Fprint(w, "<p>")
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	}
	s.pages["/drip"] = drip
	flood := func(kind, begin string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			fmt.Fprint(w, begin)
			block := make([]byte, 64<<10)
			for sent := 0; sent < 10<<30 && r.Context().Err() == nil; sent += len(block) {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}
	}
	s.pages["/flood"] = flood("text/html", "<title>long</title>")
	s.pages["/flood.png"] = flood("image/png", "\x89PNG\r\n\x1a\n")
	for url, by := range map[string]*world{
		private: w, s.URL + "/away": w, s.URL + "/file": w, s.URL + "/loop": w, s.URL + "/local": w, s.URL + "/silent": hasty, s.URL + "/drip": hasty,
		s.URL + "/flood.png": w, s.URL + "/missing": w, "http://[::1]:" + port + "/secret": w, "http://2130706433:" + port + "/secret": w,
	} {
		body, err := by.Preview(t.Context(), url)
		if err == nil {
			t.Errorf("%s: %s", url, body)
			continue
		}
		wants(t, err, matrix.CodeNotFound)
	}
	if seen := w.seen(s.URL + "/flood"); seen["og:title"] != "long" {
		t.Errorf("the beginning of a page without end shows %v", seen)
	}
	s.page("/points", "text/html", `<title>x</title><meta property="og:image" content="`+private+`">`)
	if seen := w.seen(s.URL + "/points"); seen["og:image"] != nil || seen["og:title"] != "x" {
		t.Errorf("an image of a private network: %v", seen)
	}
	for url, code := range map[string]matrix.Code{
		"ftp://example.org/": matrix.CodeInvalidParam, "http://": matrix.CodeInvalidParam, "://": matrix.CodeInvalidParam, "": matrix.CodeInvalidParam,
		"http://user:secret@example.org/": matrix.CodeInvalidParam, "javascript:alert(1)": matrix.CodeInvalidParam,
		"http://example.org/" + strings.Repeat("x", 3000): matrix.CodeInvalidParam,
		"http://a.Denied.example/":                        matrix.CodeForbidden, "http://denied.example./": matrix.CodeForbidden,
	} {
		_, err := w.Preview(context.Background(), url)
		wants(t, err, code)
	}
	if files := w.files(); len(files) != 0 {
		t.Errorf("there is %v", files)
	}
	off := newWorld(t, testkit.SQLite(t))
	_, err := off.Preview(context.Background(), s.URL+"/secret")
	wants(t, err, matrix.CodeUnrecognized)
}
