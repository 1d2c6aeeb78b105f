package httpapi

import (
	"context"
	"net/http"
)

// access says whether an endpoint takes a token.
type access int

const (
	accessOpen access = iota
	accessMaybe
	accessAuthed
	accessSigned
)

// Handler is a function that answers an endpoint, adapted by Authed, Open, Maybe or one of the Raw forms.
type Handler struct {
	access access
	answer func(w http.ResponseWriter, r *http.Request, c *Caller) error
}

// Authed adapts a handler that needs an access token.
//
// Q is a struct whose fields carry the tags path, query, header, json or body; see Router.Handle. R is
// encoded as the answer; a nil answer is an empty object. The status is 200, or what a method Status() int
// of *R says.
func Authed[Q, R any](fn func(ctx context.Context, c *Caller, q *Q) (*R, error)) Handler {
	return typed(accessAuthed, fn)
}

// Open adapts a handler that takes no access token: the caller has an address only.
func Open[Q, R any](fn func(ctx context.Context, c *Caller, q *Q) (*R, error)) Handler {
	return typed(accessOpen, fn)
}

// Maybe adapts a handler that accepts an access token but does not need one. A token that is given
// must be good.
func Maybe[Q, R any](fn func(ctx context.Context, c *Caller, q *Q) (*R, error)) Handler {
	return typed(accessMaybe, fn)
}

// Signed adapts a handler that only other servers reach, by signed requests: the caller has an Origin.
func Signed[Q, R any](fn func(ctx context.Context, c *Caller, q *Q) (*R, error)) Handler {
	return typed(accessSigned, fn)
}

// Raw adapts a handler that needs an access token and reads and writes by itself: media, sockets, long
// polls. Path values are had by r.PathValue, percent-decoded. An error that it returns is answered,
// unless the handler has begun an answer. It may take a minute to read a body, and has no deadline to
// write its answer; by http.NewResponseController it sets others.
func Raw(fn func(w http.ResponseWriter, r *http.Request, c *Caller) error) Handler {
	return Handler{access: accessAuthed, answer: fn}
}

// RawOpen is Raw without an access token.
func RawOpen(fn func(w http.ResponseWriter, r *http.Request, c *Caller) error) Handler {
	return Handler{access: accessOpen, answer: fn}
}

// RawSigned is Raw for other servers, by signed requests.
func RawSigned(fn func(w http.ResponseWriter, r *http.Request, c *Caller) error) Handler {
	return Handler{access: accessSigned, answer: fn}
}

// RawMaybe is Raw with an access token where one is given.
func RawMaybe(fn func(w http.ResponseWriter, r *http.Request, c *Caller) error) Handler {
	return Handler{access: accessMaybe, answer: fn}
}

func typed[Q, R any](a access, fn func(ctx context.Context, c *Caller, q *Q) (*R, error)) Handler {
	plan := planOf[Q]()
	return Handler{access: a, answer: func(w http.ResponseWriter, r *http.Request, c *Caller) error {
		q := new(Q)
		if err := plan.decode(w, r, c, q); err != nil {
			return err
		}
		answer, err := fn(r.Context(), c, q)
		if err != nil {
			return err
		}
		if answer == nil {
			return WriteJSON(w, r, http.StatusOK, struct{}{})
		}
		status := http.StatusOK
		if s, ok := any(answer).(interface{ Status() int }); ok {
			status = s.Status()
		}
		return WriteJSON(w, r, status, answer)
	}}
}
