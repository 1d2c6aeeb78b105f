package appservice

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"astrocyte/account"
	"astrocyte/matrix"
)

const (
	askPatience = 10 * time.Second
	maxAnswer   = 1 << 20 // bytes of an answer that are read
)

// call sends a request to a service and reads its answer.
func (s *Services) call(ctx context.Context, service *Service, patience time.Duration, method, path string, body []byte) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, service.URL+"/_matrix/app/v1"+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+service.hsToken)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, answer, err
}

// ask asks a service; false: it does not know, or cannot be reached.
func (s *Services) ask(ctx context.Context, service *Service, path string) ([]byte, bool) {
	if service.URL == "" {
		return nil, false
	}
	status, answer, err := s.call(ctx, service, askPatience, http.MethodGet, path, nil)
	if err != nil {
		s.log.Warn("ask an application service", "service", service.ID, "error", err)
	}
	return answer, err == nil && status == http.StatusOK
}

// AskUser asks the services for a user of this server that is not there; true: one of them has made it.
//
// Spec: GET /_matrix/app/v1/users/{userId}
func (s *Services) AskUser(ctx context.Context, user matrix.UserID) bool {
	for _, service := range s.all {
		if claimed, _ := claims(service.users, string(user)); !claimed {
			continue
		}
		if _, known := s.ask(ctx, service, "/users/"+url.PathEscape(string(user))); known {
			return true
		}
	}
	return false
}

// AskAlias asks the services for an alias of this server that is not there; true: one of them has made it.
//
// Spec: GET /_matrix/app/v1/rooms/{roomAlias}
func (s *Services) AskAlias(ctx context.Context, alias matrix.RoomAlias) bool {
	for _, service := range s.all {
		if !service.NamesRoom(alias) {
			continue
		}
		if _, known := s.ask(ctx, service, "/rooms/"+url.PathEscape(string(alias))); known {
			return true
		}
	}
	return false
}

// RoomOfAlias finds the room of an alias of this server; where there is none, the services are asked for it.
func (s *Services) RoomOfAlias(ctx context.Context, alias matrix.RoomAlias) (matrix.RoomID, []matrix.ServerName, error) {
	id, servers, err := s.rooms.RoomOfAlias(ctx, alias)
	if isNotFound(err) && s.AskAlias(ctx, alias) {
		return s.rooms.RoomOfAlias(ctx, alias)
	}
	return id, servers, err
}

// Profile reads the profile of a user of this server; where there is no such user, the services are asked.
func (s *Services) Profile(ctx context.Context, user matrix.UserID) (account.Fields, error) {
	fields, err := s.accounts.Fields(ctx, user)
	if isNotFound(err) && s.AskUser(ctx, user) {
		return s.accounts.Fields(ctx, user)
	}
	return fields, err
}

func isNotFound(err error) bool {
	var fault *matrix.Error
	return errors.As(err, &fault) && fault.Code == matrix.CodeNotFound
}

// Ping asks a service whether it is there, and tells how long the answer took.
//
// Spec: POST /_matrix/app/v1/ping
func (s *Services) Ping(ctx context.Context, service *Service, txn string) (time.Duration, error) {
	if service.URL == "" {
		return 0, matrix.E(matrix.CodeURLNotSet, "the application service has no url").WithStatus(http.StatusBadRequest)
	}
	body := []byte(`{}`)
	if txn != "" {
		var err error
		if body, err = json.Marshal(map[string]string{"transaction_id": txn}); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	status, answer, err := s.call(ctx, service, askPatience, http.MethodPost, "/ping", body)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return 0, matrix.E(matrix.CodeConnectionTimeout, "the application service did not answer in time").WithStatus(http.StatusGatewayTimeout)
	case err != nil:
		return 0, matrix.E(matrix.CodeConnectionFailed, "the application service cannot be reached").WithStatus(http.StatusBadGateway)
	case status != http.StatusOK:
		const shown = 4 << 10
		return 0, matrix.E(matrix.CodeBadStatus, "the application service answered %d", status).WithStatus(http.StatusBadGateway).
			With("status", status).With("body", string(bytes.ToValidUTF8(answer[:min(len(answer), shown)], nil)))
	}
	return time.Since(began), nil
}

// protocol is what a service says of a third-party protocol. Members that this server does not know stay.
type protocol map[string]json.RawMessage

// Protocols are the third-party protocols that services provide. Several may provide instances of one.
//
// Spec: GET /_matrix/app/v1/thirdparty/protocol/{protocol}
func (s *Services) Protocols(ctx context.Context, only string) map[string]map[string]json.RawMessage {
	out := map[string]map[string]json.RawMessage{}
	for _, service := range s.all {
		for _, name := range service.Protocols {
			if only != "" && name != only {
				continue
			}
			answer, known := s.ask(ctx, service, "/thirdparty/protocol/"+url.PathEscape(name))
			var p protocol
			if !known || json.Unmarshal(answer, &p) != nil || p == nil {
				continue
			}
			p["instances"] = withInstances(service, p["instances"])
			if first := out[name]; first != nil {
				p["instances"] = joinLists(first["instances"], p["instances"])
			}
			out[name] = p
		}
	}
	return out
}

// joinLists makes one JSON list of some; what is no list counts as an empty one.
func joinLists(lists ...json.RawMessage) json.RawMessage {
	all := []json.RawMessage{}
	for _, list := range lists {
		var some []json.RawMessage
		if json.Unmarshal(list, &some) == nil {
			all = append(all, some...)
		}
	}
	joined, err := json.Marshal(all)
	if err != nil {
		return json.RawMessage("[]")
	}
	return joined
}

// ThirdParty asks the services for users or locations (kind) of a protocol, or of any where it is empty, and
// gives all that they find.
//
// Spec: GET /_matrix/app/v1/thirdparty/user/{protocol}, GET /_matrix/app/v1/thirdparty/location/{protocol}
func (s *Services) ThirdParty(ctx context.Context, kind, protocol string, fields url.Values) json.RawMessage {
	var found []json.RawMessage
	for _, service := range s.all {
		for _, name := range service.Protocols {
			path := fmt.Sprintf("/thirdparty/%s/%s?%s", kind, url.PathEscape(name), fields.Encode())
			switch {
			case protocol == "":
				path = fmt.Sprintf("/thirdparty/%s?%s", kind, fields.Encode())
			case name != protocol:
				continue
			}
			if answer, known := s.ask(ctx, service, path); known {
				found = append(found, answer)
			}
			if protocol == "" {
				break
			}
		}
	}
	return joinLists(found...)
}
