package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"astrocyte/account"
	"astrocyte/appservice"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func (a *API) appServiceRoutes(r *httpapi.Router) {
	r.Handle("POST", "/_matrix/client/v1/appservice/{serviceID}/ping", httpapi.Authed(a.pingAppService))
	v3(r, "PUT", "/directory/list/appservice/{network}/{roomID}", httpapi.Authed(a.setNetworkVisibility))
	v3(r, "GET", "/thirdparty/protocols", httpapi.Authed(a.protocols))
	v3(r, "GET", "/thirdparty/protocol/{protocol}", httpapi.Authed(a.protocol))
	v3(r, "GET", "/thirdparty/user/{protocol}", httpapi.Raw(a.thirdPartyUsers))
	v3(r, "GET", "/thirdparty/user", httpapi.Raw(a.thirdPartyUsers))
	v3(r, "GET", "/thirdparty/location/{protocol}", httpapi.Raw(a.thirdPartyLocations))
	v3(r, "GET", "/thirdparty/location", httpapi.Raw(a.thirdPartyLocations))
}

// stageAppService is how application services register and log in users.
const stageAppService = "m.login.application_service"

// serviceToken is the token of requests that need none, unless an application service makes them.
type serviceToken struct {
	Authorization string `header:"Authorization"`
	AccessToken   string `query:"access_token"`
}

// service finds the application service that makes a request.
func (a *API) service(t serviceToken) (*appservice.Service, error) {
	token := t.AccessToken
	if scheme, bearer, found := strings.Cut(t.Authorization, " "); found && strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(bearer)
	}
	if token == "" {
		return nil, matrix.E(matrix.CodeMissingToken, "only application services may do this, by their as_token")
	}
	service := a.services.ByToken(token)
	if service == nil {
		return nil, matrix.E(matrix.CodeUnknownToken, "this is not the as_token of an application service")
	}
	return service, nil
}

var errExclusive = matrix.E(matrix.CodeExclusive, "this name is not in the namespaces of the application service")

// registerBridged makes a user for an application service.
//
// Spec: AS "Server admin style permissions".
func (a *API) registerBridged(ctx context.Context, q *registerRequest) (*sessionResponse, error) {
	service, err := a.service(q.serviceToken)
	if err != nil {
		return nil, err
	}
	if q.Username == nil || *q.Username == "" {
		return nil, matrix.MissingParam("the username is missing")
	}
	user, err := matrix.ParseLocalpart(*q.Username, a.server)
	if err != nil {
		return nil, err
	}
	if !service.ActsFor(user) || a.services.UserTaken(user, service) {
		return nil, errExclusive
	}
	device, err := q.device()
	if err != nil {
		return nil, err
	}
	d := &device
	if q.InhibitLogin {
		d = nil
	}
	s, err := a.accounts.Register(ctx, account.NewUser{ID: user, Kind: account.Bridged, AppService: service.ID}, d)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return &sessionResponse{UserID: user, HomeServer: a.server}, nil
	}
	return newSession(s), nil
}

// loginBridged makes a session of a user for an application service.
//
// Spec: CS "Appservice Login".
func (a *API) loginBridged(ctx context.Context, q *loginRequest) (*sessionResponse, error) {
	service, err := a.service(q.serviceToken)
	if err != nil {
		return nil, err
	}
	d, err := q.device()
	if err != nil {
		return nil, err
	}
	name, err := q.name()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(name, "@") {
		name = "@" + name + ":" + string(a.server)
	}
	user, err := matrix.ParseUserID(name)
	if err != nil || user.Server() != a.server || !service.ActsFor(user) {
		return nil, errExclusive
	}
	s, err := a.accounts.NewSession(ctx, user, d)
	if err != nil {
		return nil, err
	}
	return newSession(s), nil
}

type pingRequest struct {
	ServiceID string `path:"serviceID"`
	Txn       string `json:"transaction_id"`
}

type pingResponse struct {
	Duration int64 `json:"duration_ms"`
}

// pingAppService lets an application service see whether this server reaches it.
//
// Spec: POST /_matrix/client/v1/appservice/{appserviceId}/ping
func (a *API) pingAppService(ctx context.Context, c *httpapi.Caller, q *pingRequest) (*pingResponse, error) {
	service := appservice.Of(c)
	if service == nil || service.ID != q.ServiceID {
		return nil, matrix.Forbidden("this is not the as_token of the application service")
	}
	took, err := a.services.Ping(ctx, service, q.Txn)
	if err != nil {
		return nil, err
	}
	return &pingResponse{took.Milliseconds()}, nil
}

// askedAlias finds the room of an alias, and servers that are in it: here, where application services are asked
// for one that is not there, or at the server of the alias.
func (a *API) askedAlias(ctx context.Context, alias matrix.RoomAlias) (matrix.RoomID, []matrix.ServerName, error) {
	if alias.Server() != a.server {
		return a.remote.RoomOfAlias(ctx, alias)
	}
	return a.services.RoomOfAlias(ctx, alias)
}

// askForUsers has application services make those users of this server who are not there.
func (a *API) askForUsers(ctx context.Context, users ...matrix.UserID) error {
	for _, user := range users {
		if user.Server() != a.server {
			continue
		}
		_, found, err := a.accounts.User(ctx, user)
		if err != nil {
			return err
		}
		if !found {
			a.services.AskUser(ctx, user)
		}
	}
	return nil
}

// mayName refuses an alias that only an application service may give, to all others.
func (a *API) mayName(c *httpapi.Caller, alias matrix.RoomAlias) error {
	service := appservice.Of(c)
	if a.services.AliasTaken(alias, service) || service != nil && !service.NamesRoom(alias) {
		return matrix.E(matrix.CodeExclusive, "the alias %s is for another application service", alias)
	}
	return nil
}

// thirdParty is what an application service says of a third-party network.
type thirdParty map[string]json.RawMessage

type protocolsResponse map[string]thirdParty

// protocols lists the third-party networks that can be reached.
//
// Spec: GET /_matrix/client/v3/thirdparty/protocols
func (a *API) protocols(ctx context.Context, _ *httpapi.Caller, _ *none) (*protocolsResponse, error) {
	answer := protocolsResponse{}
	for name, p := range a.services.Protocols(ctx, "") {
		answer[name] = p
	}
	return &answer, nil
}

type networkVisibilityRequest struct {
	Network    string        `path:"network"`
	RoomID     matrix.RoomID `path:"roomID"`
	Visibility string        `json:"visibility" required:"true"`
}

// setNetworkVisibility puts a room into the directory of a network of an application service, or takes it out.
//
// Spec: PUT /_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}
func (a *API) setNetworkVisibility(ctx context.Context, c *httpapi.Caller, q *networkVisibilityRequest) (*none, error) {
	service := appservice.Of(c)
	if service == nil {
		return nil, matrix.Forbidden("only application services may do this")
	}
	if q.Visibility != "public" && q.Visibility != "private" {
		return nil, matrix.InvalidParam("visibility must be public or private")
	}
	return nil, a.services.Show(ctx, service, q.Network, q.RoomID, q.Visibility == "public")
}

// networkRooms lists the directory of a network of an application service.
func (a *API) networkRooms(ctx context.Context, network string, d roomserver.DirectoryQuery) (*publicRoomsResponse, error) {
	rooms, err := a.services.Shown(ctx, network, matrix.RoomID(d.Since), d.Limit)
	if err != nil {
		return nil, err
	}
	entries, err := a.rooms.Entries(ctx, rooms, d)
	if err != nil {
		return nil, err
	}
	answer := &publicRoomsResponse{Chunk: entries, Total: len(entries)}
	if len(rooms) == d.Limit && d.Limit > 0 {
		answer.Next = string(rooms[len(rooms)-1])
	}
	return answer, nil
}

type protocolRequest struct {
	Protocol string `path:"protocol"`
}

// protocol tells of a third-party network.
//
// Spec: GET /_matrix/client/v3/thirdparty/protocol/{protocol}
func (a *API) protocol(ctx context.Context, _ *httpapi.Caller, q *protocolRequest) (*thirdParty, error) {
	p, found := a.services.Protocols(ctx, q.Protocol)[q.Protocol]
	if !found {
		return nil, matrix.NotFound("there is no such protocol")
	}
	answer := thirdParty(p)
	return &answer, nil
}

// thirdPartyUsers finds the users here who stand for somebody of a third-party network, or the other way.
//
// Spec: GET /_matrix/client/v3/thirdparty/user/{protocol}
// Spec: GET /_matrix/client/v3/thirdparty/user
func (a *API) thirdPartyUsers(w http.ResponseWriter, r *http.Request, _ *httpapi.Caller) error {
	return a.thirdPartyFound(w, r, "user")
}

// thirdPartyLocations finds the rooms here that stand for a place of a third-party network, or the other way.
//
// Spec: GET /_matrix/client/v3/thirdparty/location/{protocol}
// Spec: GET /_matrix/client/v3/thirdparty/location
func (a *API) thirdPartyLocations(w http.ResponseWriter, r *http.Request, _ *httpapi.Caller) error {
	return a.thirdPartyFound(w, r, "location")
}

func (a *API) thirdPartyFound(w http.ResponseWriter, r *http.Request, kind string) error {
	fields := url.Values{}
	for name, values := range r.URL.Query() {
		if name != "access_token" {
			fields[name] = values
		}
	}
	found := a.services.ThirdParty(r.Context(), kind, r.PathValue("protocol"), fields)
	if string(found) == "[]" {
		return matrix.NotFound("nothing was found")
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, found)
}
