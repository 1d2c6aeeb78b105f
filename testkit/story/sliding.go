package story

import (
	"maps"
	"net/url"
	"strconv"
	"time"
)

// Sliding is a connection of sliding sync of a user, in one of its forms.
type Sliding struct {
	// Body is the request without what the connection adds to it: a change counts from the next one on.
	Body map[string]any
	// Pos is the position of the last answer.
	Pos string

	user   *User
	stable bool
}

// UnstableSync is where clients have found sliding sync since 2024.
const UnstableSync = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"

// StableSync is where it was accepted to be.
const StableSync = "/_matrix/client/v4/sync"

// Slides begins a connection in the deployed form.
func (u *User) Slides(conn string, body map[string]any) *Sliding {
	return &Sliding{Body: with(body, "conn_id", conn), user: u}
}

// SlidesStably begins a connection in the accepted form.
func (u *User) SlidesStably(conn string, body map[string]any) *Sliding {
	return &Sliding{Body: with(body, "conn_id", conn), user: u, stable: true}
}

func with(body map[string]any, key string, value any) map[string]any {
	body = maps.Clone(body)
	if body == nil {
		body = map[string]any{}
	}
	body[key] = value
	return body
}

// Asks sends a request from the connection's position, whatever comes of it.
func (s *Sliding) Asks(wait time.Duration) *Answer {
	s.user.t.Helper()
	if s.stable {
		body := with(s.Body, "timeout", wait.Milliseconds())
		if s.Pos != "" {
			body["pos"] = s.Pos
		}
		return s.user.Does("POST", StableSync, body)
	}
	query := url.Values{"timeout": {strconv.FormatInt(wait.Milliseconds(), 10)}}
	if s.Pos != "" {
		query.Set("pos", s.Pos)
	}
	return s.user.Does("POST", UnstableSync+"?"+query.Encode(), s.Body)
}

// Goes asks for what is new, without waiting, and goes on from there.
func (s *Sliding) Goes() JSON {
	s.user.t.Helper()
	return s.Waits(0)
}

// Waits is Goes for a client that waits for news.
func (s *Sliding) Waits(wait time.Duration) JSON {
	s.user.t.Helper()
	a := s.Asks(wait)
	if a.Status != 200 || a.At("pos").Text() == "" {
		s.user.t.Fatalf("%s slides and is answered %d: %s", s.user.Name, a.Status, a)
	}
	s.Pos = a.At("pos").Text()
	return a.JSON
}

// Anew forgets the position, as a client does that is told that it is not known.
func (s *Sliding) Anew() JSON {
	s.user.t.Helper()
	s.Pos = ""
	return s.Goes()
}
