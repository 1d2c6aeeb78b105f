package chat

import (
	_ "embed"
	"net/http"
)

//go:embed page.html
var page []byte

// Page serves a page with the same client in the browser.
func Page() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src *; form-action 'self'")
		h.Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write(page)
	})
}
