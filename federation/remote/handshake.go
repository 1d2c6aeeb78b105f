package remote

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// Entry is a user of ours who wants to change their membership in a room that lives elsewhere.
type Entry struct {
	Room matrix.RoomID `json:"room"`
	User matrix.UserID `json:"user"`
	// Via are servers that may be in the room, the likeliest first.
	Via []matrix.ServerName `json:"via"`
	// Guest: the user is one, who may join where guests may.
	Guest bool `json:"guest,omitempty"`
	// Content is what the member event says beside the membership.
	Content map[string]json.RawMessage `json:"content,omitempty"`
}

// step is one of the handshakes by which a membership is changed on other servers.
type step struct {
	name       string // in the paths
	membership matrix.Membership
	version    string // of the path by which the event is sent
}

var (
	joining  = step{"join", matrix.Join, "v2"}
	leaving  = step{"leave", matrix.Leave, "v2"}
	knocking = step{"knock", matrix.Knock, "v1"}
)

const (
	maxVia = 20
	// makeTime bounds the question for a template, sendTime the wait for a room.
	makeTime = 30 * time.Second
	sendTime = 5 * time.Minute
	// handshakeTime bounds a handshake with all the servers that are tried.
	handshakeTime = 10 * time.Minute
)

// template is the event that another server proposes. Of it no more is taken than what only that server knows.
//
// Spec: SS "Joining Rooms", GET /_matrix/federation/v1/make_join/{roomId}/{userId}
type template struct {
	Version matrix.RoomVersion `json:"room_version"`
	Event   struct {
		RoomID   matrix.RoomID `json:"room_id"`
		Sender   matrix.UserID `json:"sender"`
		Type     string        `json:"type"`
		StateKey string        `json:"state_key"`
		Content  struct {
			Membership    matrix.Membership `json:"membership"`
			AuthorisedVia matrix.UserID     `json:"join_authorised_via_users_server"`
		} `json:"content"`
		Prev  json.RawMessage `json:"prev_events"`
		Auth  json.RawMessage `json:"auth_events"`
		Depth int64           `json:"depth"`
	} `json:"event"`
}

// signed asks a server for a template and makes our own, signed event after it.
func (r *Remote) signed(ctx context.Context, server matrix.ServerName, s step, e Entry) (*rules.Event, error) {
	query := url.Values{}
	if s.membership != matrix.Leave {
		for _, v := range rules.Versions() {
			query.Add("ver", string(v.ID))
		}
	}
	var t template
	err := r.client.Do(ctx, server, peer.Request{
		Method: "GET", Path: peer.Path("/_matrix/federation/v1/make_"+s.name, string(e.Room), string(e.User)),
		Query: query, Into: &t, Timeout: makeTime,
	})
	if err != nil {
		return nil, err
	}
	if t.Version == "" {
		t.Version = "1" // as servers before room versions answer
	}
	v, ok := rules.ByID(t.Version)
	if !ok {
		return nil, matrix.E(matrix.CodeUnsupportedRoomVersion, "the room has version %.40q, which this server does not support", t.Version)
	}
	if err := t.check(s, e); err != nil {
		return nil, &peer.Unreachable{Server: server, Err: err}
	}
	event, err := r.build(v, &t, s, e)
	if err != nil {
		return nil, fmt.Errorf("build a %s after the template of %s: %w", s.membership, server, err)
	}
	return event, nil
}

var errTemplate = errors.New("its template is not for what was asked")

// check refuses a template for anything else than what was asked for.
func (t *template) check(s step, e Entry) error {
	ev := &t.Event
	if ev.RoomID != e.Room || ev.Sender != e.User || ev.StateKey != string(e.User) || ev.Type != "m.room.member" ||
		ev.Content.Membership != s.membership {
		return errTemplate
	}
	return nil
}

// build makes our event: what a template may say of it is where it stands in the room, and who vouches for it.
func (r *Remote) build(v *rules.Version, t *template, s step, e Entry) (*rules.Event, error) {
	content := make(map[string]any, len(e.Content)+2)
	for k, value := range e.Content {
		content[k] = value
	}
	content["membership"] = s.membership
	if via := t.Event.Content.AuthorisedVia; via != "" && s.membership == matrix.Join && v.RestrictedJoins {
		content["join_authorised_via_users_server"] = via
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	key := string(e.User)
	p := &rules.Proto{
		RoomID: e.Room, Sender: e.User, Type: "m.room.member", StateKey: &key, Content: raw,
		Depth: t.Event.Depth, OriginServerTS: r.now().UnixMilli(),
	}
	if p.Prev, err = references(v, t.Event.Prev); err != nil {
		return nil, fmt.Errorf("prev_events: %w", err)
	}
	if p.Auth, err = references(v, t.Event.Auth); err != nil {
		return nil, fmt.Errorf("auth_events: %w", err)
	}
	if v.EventIDInside {
		p.EventID = matrix.EventID("$" + rand.Text() + ":" + string(r.server))
	}
	event, err := rules.Build(v, p)
	if err != nil {
		return nil, err
	}
	return event.Sign(r.server, r.keyID, r.key), nil
}

var errReferences = errors.New("a reference to an event cannot be read")

// references reads the events that a template refers to: ids, which in the oldest room versions stand beside
// hashes. An id of the wrong form is found by those who know of no such event.
func references(v *rules.Version, raw json.RawMessage) ([]rules.EventRef, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, errReferences
	}
	refs := make([]rules.EventRef, len(list))
	for i, item := range list {
		if !v.EventIDInside {
			if json.Unmarshal(item, &refs[i].ID) != nil {
				return nil, errReferences
			}
			continue
		}
		var pair []json.RawMessage
		var hashes struct {
			SHA256 string `json:"sha256"`
		}
		if json.Unmarshal(item, &pair) != nil || len(pair) != 2 || json.Unmarshal(pair[0], &refs[i].ID) != nil ||
			json.Unmarshal(pair[1], &hashes) != nil {
			return nil, errReferences
		}
		hash, err := base64.RawStdEncoding.DecodeString(hashes.SHA256)
		if err != nil || copy(refs[i].Hash[:], hash) != len(refs[i].Hash) {
			return nil, errReferences
		}
	}
	return refs, nil
}

// overServers does a handshake with one server after the other until one of them takes part. A server that
// knows the room and says no is believed; every other failure is the server's own.
func (r *Remote) overServers(ctx context.Context, e Entry, do func(ctx context.Context, server matrix.ServerName) error) error {
	// Once begun it goes on although the client may leave: what another server has accepted must be known here.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handshakeTime)
	defer cancel()
	var o outcome
	for _, server := range r.others(e.Via) {
		r.settle(ctx, server)
		err := do(ctx, server)
		if err == nil {
			return nil
		}
		r.log.Info("a server did not help with a room", "room", e.Room, "user", e.User, "server", server, "error", err)
		if o.note(server, err); final(err) {
			break
		}
	}
	if o.err == nil {
		return matrix.NotFound("this server knows of no server that is in the room %s", e.Room)
	}
	return o.err
}

// Settle waits for servers to take what waits for them, so that what is asked next, here or there, finds what
// was done before; not for long.
func (r *Remote) Settle(ctx context.Context, servers []matrix.ServerName) {
	for _, s := range r.others(servers) {
		r.settle(ctx, s)
	}
}

// others are the servers that may be asked, each once.
func (r *Remote) others(via []matrix.ServerName) []matrix.ServerName {
	var out []matrix.ServerName
	for _, s := range via {
		if s != "" && s != r.server && len(out) < maxVia && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// final says whether a refusal would be the same on every server of the room. That one of them lets nobody in is
// not: what it knows may be older than what another knows.
func final(err error) bool {
	var refused *peer.Refused
	var own *matrix.Error
	switch {
	case errors.As(err, &refused):
		return refused.Fault.Code == matrix.CodeIncompatibleRoomVersion
	case errors.As(err, &own):
		return own.Code == matrix.CodeUnsupportedRoomVersion
	}
	return false
}

// outcome is what the user is told of the servers that did not help: of several, the first that says most.
type outcome struct {
	err    error
	weight int
}

// note weighs why a server did not help: a refusal says more than a silence, and a word about the user more than
// one about the server.
func (o *outcome) note(server matrix.ServerName, err error) {
	var refused *peer.Refused
	var own *matrix.Error
	told, weight := err, 1
	switch {
	case errors.As(err, &refused):
		told, weight = toldUser(server, err), 2
		if code := refused.Fault.Code; code == matrix.CodeForbidden || final(err) {
			weight = 3
		} else if code == matrix.CodeUnknown {
			weight = 1
		}
		switch refused.Fault.Code {
		case matrix.CodeMissingParam, matrix.CodeInvalidParam: // this server's fault, not the user's
			if errors.As(told, &own) {
				told = own.WithStatus(http.StatusBadGateway)
			}
		}
	case errors.As(err, &own):
		told, weight = own, 3
	default:
		told = toldUser(server, err)
	}
	if weight > o.weight {
		o.err, o.weight = told, weight
	}
}
