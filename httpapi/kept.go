package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// Kept is what is kept of a request whose connection lives longer: what authentication and answers ask for.
type Kept struct {
	method, path, from string
	headers            [len(keptHeaders)]string
}

// keptHeaders are the headers that are kept.
var keptHeaders = [...]string{"Authorization", "User-Agent", "X-Forwarded-For", "Accept-Encoding"}

// Keep copies what is needed: what it is cut from, which is larger, goes.
func Keep(r *http.Request) Kept {
	k := Kept{method: strings.Clone(r.Method), path: strings.Clone(r.URL.Path), from: strings.Clone(r.RemoteAddr)}
	for i, name := range keptHeaders {
		k.headers[i] = strings.Clone(strings.Join(r.Header[name], ","))
	}
	return k
}

// Request makes a request of what is kept.
func (k *Kept) Request(ctx context.Context) *http.Request {
	r := &http.Request{Method: k.method, URL: &url.URL{Path: k.path}, RemoteAddr: k.from, Header: make(http.Header, len(keptHeaders))}
	for i, name := range keptHeaders {
		if k.headers[i] != "" {
			r.Header[name] = []string{k.headers[i]}
		}
	}
	return r.WithContext(ctx)
}
