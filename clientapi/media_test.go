package clientapi_test

import (
	"bytes"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
)

// raw does a request whose answer may be anything.
func (w *world) raw(token, method, path string, body []byte, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.router.ServeHTTP(rec, r)
	return rec
}

// uploads gives the server and id of a file's URI as they stand in a path.
func (w *world) uploads(token, query, kind string, body []byte) string {
	w.t.Helper()
	rec := w.raw(token, "POST", "/_matrix/media/v3/upload"+query, body, "Content-Type", kind)
	_, id, found := strings.Cut(rec.Body.String(), `"content_uri":"mxc://`)
	if rec.Code != http.StatusOK || !found {
		w.t.Fatalf("upload: %d %s", rec.Code, rec.Body)
	}
	return strings.TrimSuffix(id, `"}`)
}

func TestMediaIsGivenSafely(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testkit.SQLite(t))
	alice := token(w.user("alice"))
	svg := []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`)
	id := w.uploads(alice, "?filename=..%2F%2e%2e%2Favatar.svg", "image/svg+xml", svg)

	rec := w.raw(alice, "GET", "/_matrix/client/v1/media/download/"+id, nil)
	if rec.Code != 200 || !bytes.Equal(rec.Body.Bytes(), svg) {
		t.Fatalf("%d %q", rec.Code, rec.Body)
	}
	for name, want := range map[string]string{
		"Content-Type": "image/svg+xml", "Content-Disposition": "attachment; filename=avatar.svg", "X-Content-Type-Options": "nosniff",
		"Cross-Origin-Resource-Policy": "cross-origin", "Accept-Ranges": "bytes", "Cache-Control": "private, max-age=86400, immutable",
	} {
		if got := rec.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if policy := rec.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "sandbox; default-src 'none'; script-src 'none'") {
		t.Errorf("Content-Security-Policy: %q", policy)
	}
	w.refused(400, matrix.CodeUnknown, alice, "GET", "/_matrix/client/v1/media/thumbnail/"+id+"?width=96&height=96", nil)

	rec = w.raw(alice, "GET", "/_matrix/client/v1/media/download/"+id+"/x%0d%0aSet-Cookie:%20a%2Fother%22name.html", nil)
	if got := rec.Header().Get("Content-Disposition"); got != `attachment; filename="other\"name.html"` {
		t.Errorf("by another name: %q", got)
	}

	etag := rec.Header().Get("ETag")
	if rec := w.raw(alice, "GET", "/_matrix/client/v1/media/download/"+id, nil, "If-None-Match", etag); rec.Code != http.StatusNotModified || rec.Body.Len() != 0 {
		t.Errorf("with its ETag %s: %d", etag, rec.Code)
	}
	rec = w.raw(alice, "GET", "/_matrix/client/v1/media/download/"+id, nil, "Range", "bytes=1-3")
	if rec.Code != http.StatusPartialContent || rec.Body.String() != "svg" {
		t.Errorf("a range: %d %q", rec.Code, rec.Body)
	}
	if rec := w.raw(alice, "GET", "/_matrix/client/v1/media/download/"+id, nil, "Range", "bytes=5000-"); rec.Code != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range beyond the end: %d", rec.Code)
	}
}

func TestMediaNeedsALogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testkit.SQLite(t))
	alice := token(w.user("alice"))
	id := w.uploads(alice, "", "text/plain", []byte("hello"))
	for _, path := range []string{"download/" + id, "thumbnail/" + id + "?width=1&height=1", "config", "preview_url?url=x"} {
		w.refused(401, matrix.CodeMissingToken, "", "GET", "/_matrix/client/v1/media/"+path, nil)
	}
	w.refused(401, matrix.CodeMissingToken, "", "POST", "/_matrix/media/v3/upload", "x")
	w.refused(401, matrix.CodeMissingToken, "", "POST", "/_matrix/media/v1/create", nil)
	// The old endpoints are frozen.
	for _, version := range []string{"v3", "r0", "v1"} {
		w.refused(404, matrix.CodeNotFound, "", "GET", "/_matrix/media/"+version+"/download/"+id, nil)
		w.refused(404, matrix.CodeNotFound, "", "GET", "/_matrix/media/"+version+"/thumbnail/"+id+"?width=1&height=1", nil)
	}
	if size := w.ok(alice, "GET", "/_matrix/client/v1/media/config", nil).At("m.upload.size").Int(); size != 100<<20 {
		t.Errorf("the largest upload is %d", size)
	}
	w.refused(404, matrix.CodeUnrecognized, alice, "GET", "/_matrix/client/v1/media/preview_url?url=https://example.org/", nil)
}

func TestMediaThumbnail(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testkit.SQLite(t))
	alice := token(w.user("alice"))
	var body bytes.Buffer
	if err := png.Encode(&body, image.NewGray(image.Rect(0, 0, 640, 480))); err != nil {
		t.Fatal(err)
	}
	id := w.uploads(alice, "", "image/png", body.Bytes())
	rec := w.raw(alice, "GET", "/_matrix/client/v1/media/thumbnail/"+id+"?width=96&height=96&method=crop", nil)
	img, err := png.Decode(rec.Body)
	if err != nil || img.Bounds().Dx() != 96 || img.Bounds().Dy() != 96 || rec.Header().Get("Content-Disposition") != "inline; filename=thumbnail.png" {
		t.Fatalf("%d, %v, %v", rec.Code, rec.Header(), err)
	}
	for _, query := range []string{"", "?width=1", "?height=1"} {
		w.refused(400, matrix.CodeMissingParam, alice, "GET", "/_matrix/client/v1/media/thumbnail/"+id+query, nil)
	}
	for _, query := range []string{"?width=0&height=1", "?width=-1&height=1", "?width=x&height=1", "?width=1&height=1&method=stretch", "?width=99999999999999999999&height=1"} {
		w.refused(400, matrix.CodeInvalidParam, alice, "GET", "/_matrix/client/v1/media/thumbnail/"+id+query, nil)
	}
}

func TestMediaIDsThatAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testkit.SQLite(t))
	alice := token(w.user("alice"))
	for _, id := range []string{"example.org/nosuch", "elsewhere.org/abc", "example.org/..%2F..%2Fetc%2Fpasswd", "..%2F/abc", "example.org/a.b", "exa%20mple/a", "example.org/" + strings.Repeat("a", 300)} {
		w.refused(404, matrix.CodeNotFound, alice, "GET", "/_matrix/client/v1/media/download/"+id, nil)
	}
	w.refused(400, matrix.CodeInvalidParam, alice, "GET", "/_matrix/client/v1/media/download/example.org/a?timeout_ms=soon", nil)
}

func TestAnnouncedMedia(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testkit.SQLite(t))
	alice, bob := token(w.user("alice")), token(w.user("bob"))
	created := w.ok(alice, "POST", "/_matrix/media/v1/create", nil)
	if created.At("unused_expires_at").Int() <= 1_700_000_000_000 {
		t.Errorf("%s", created.JSON)
	}
	id := strings.TrimPrefix(created.At("content_uri").Text(), "mxc://")
	w.refused(504, matrix.CodeNotYetUploaded, alice, "GET", "/_matrix/client/v1/media/download/"+id+"?timeout_ms=0", nil)
	w.refused(403, matrix.CodeForbidden, bob, "PUT", "/_matrix/media/v3/upload/"+id, "x")
	w.ok(alice, "PUT", "/_matrix/media/v3/upload/"+id, "hello")
	w.refused(409, matrix.CodeCannotOverwriteMedia, alice, "PUT", "/_matrix/media/v3/upload/"+id, "again")
	if rec := w.raw(bob, "GET", "/_matrix/client/v1/media/download/"+id, nil); rec.Body.String() != "hello" {
		t.Errorf("%d %q", rec.Code, rec.Body)
	}
	w.refused(404, matrix.CodeNotFound, alice, "PUT", "/_matrix/media/v3/upload/example.org/nosuch", "x")
}
