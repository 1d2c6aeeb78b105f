package homeserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

// ControlSocket is the socket in a data folder through which the command line speaks to a running
// server. Whoever may open it is an administrator, so it is for the owner of the folder only.
func ControlSocket(dataDir string) string { return filepath.Join(dataDir, "control.sock") }

// listenControl opens the control socket. A socket that nobody answers at is what a server left that
// was killed.
func listenControl(dataDir string) (net.Listener, error) {
	file := ControlSocket(dataDir)
	if conn, err := net.Dial("unix", file); err == nil {
		conn.Close()
		return nil, errors.New("another server uses this folder")
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", file)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(file, 0o600)
}

// controlRouter has what the command line asks of a running server.
func (s *Server) controlRouter() *httpapi.Router {
	r := httpapi.New(httpapi.Options{Log: s.logOf("control")})
	r.Handle("GET", "/users", httpapi.Open(s.listUsers))
	r.Handle("POST", "/users", httpapi.Open(s.createUser))
	r.Handle("POST", "/users/{name}/password", httpapi.Open(s.setPassword))
	r.Handle("POST", "/users/{name}/deactivate", httpapi.Open(s.deactivateUser))
	r.Handle("POST", "/search/rebuild", httpapi.Open(s.rebuildSearch))
	r.Handle("GET", "/search/rebuild", httpapi.Open(s.searchProgress))
	r.Handle("GET", "/registration-tokens", httpapi.Open(s.listTokens))
	r.Handle("POST", "/registration-tokens", httpapi.Open(s.createToken))
	s.mediaControl(r)
	s.roomControl(r)
	return r
}

// ControlUser is an account as the command line shows it.
type ControlUser struct {
	ID          matrix.UserID `json:"user_id"`
	Admin       bool          `json:"admin"`
	Guest       bool          `json:"guest"`
	Locked      bool          `json:"locked"`
	Suspended   bool          `json:"suspended"`
	Deactivated bool          `json:"deactivated"`
	Created     int64         `json:"created"` // milliseconds
}

type listUsersRequest struct {
	After matrix.UserID `query:"after"`
}

type listUsersResponse struct {
	Users []ControlUser `json:"users"`
}

// controlPage is how many accounts are listed at once.
const controlPage = 500

// listUsers lists accounts in the order of their ids.
//
// Extension: GET /users, at the control socket
func (s *Server) listUsers(ctx context.Context, _ *httpapi.Caller, q *listUsersRequest) (*listUsersResponse, error) {
	users, err := s.accounts.ListUsers(ctx, q.After, controlPage)
	if err != nil {
		return nil, err
	}
	answer := &listUsersResponse{Users: []ControlUser{}}
	for _, u := range users {
		answer.Users = append(answer.Users, ControlUser{
			ID: u.ID, Admin: u.Admin, Guest: u.Kind == account.Guest, Locked: u.Locked, Suspended: u.Suspended,
			Deactivated: u.Deactivated != 0, Created: u.Created,
		})
	}
	return answer, nil
}

type createUserRequest struct {
	Name     string `json:"name" required:"true"`
	Password string `json:"password" required:"true"`
	Admin    bool   `json:"admin"`
}

// createUser makes an account, whether or not registration is open.
//
// Extension: POST /users, at the control socket
func (s *Server) createUser(ctx context.Context, _ *httpapi.Caller, q *createUserRequest) (*ControlUser, error) {
	name := strings.TrimSuffix(strings.TrimPrefix(q.Name, "@"), ":"+string(s.o.Config.ServerName))
	user, err := s.accounts.Available(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := s.accounts.CheckPassword(q.Password); err != nil {
		return nil, err
	}
	if err := s.accounts.CreateUser(ctx, account.NewUser{ID: user, Password: q.Password, Admin: q.Admin}); err != nil {
		return nil, err
	}
	return &ControlUser{ID: user, Admin: q.Admin}, nil
}

// named makes a full user id of what an administrator wrote.
func (s *Server) named(name string) (matrix.UserID, error) {
	if !strings.HasPrefix(name, "@") {
		name = fmt.Sprintf("@%s:%s", name, s.o.Config.ServerName)
	}
	return matrix.ParseUserID(name)
}

type setPasswordRequest struct {
	Name     string `path:"name"`
	Password string `json:"password" required:"true"`
}

// setPassword gives a user another password, and ends their sessions.
//
// Extension: POST /users/{name}/password, at the control socket
func (s *Server) setPassword(ctx context.Context, _ *httpapi.Caller, q *setPasswordRequest) (*ControlUser, error) {
	user, err := s.named(q.Name)
	if err != nil {
		return nil, err
	}
	return &ControlUser{ID: user}, s.accounts.SetPassword(ctx, user, q.Password, true, "")
}

type deactivateUserRequest struct {
	Name  string `path:"name"`
	Erase bool   `json:"erase"`
}

// deactivateUser ends an account.
//
// Extension: POST /users/{name}/deactivate, at the control socket
func (s *Server) deactivateUser(ctx context.Context, _ *httpapi.Caller, q *deactivateUserRequest) (*ControlUser, error) {
	user, err := s.named(q.Name)
	if err != nil {
		return nil, err
	}
	return &ControlUser{ID: user, Deactivated: true}, s.accounts.Deactivate(ctx, user, q.Erase)
}

// ControlToken is a registration token as the command line shows it.
type ControlToken struct {
	Token   string `json:"token"`
	Uses    int64  `json:"uses"`    // how often it may be used, -1 without end
	Used    int64  `json:"used"`    // how often it was
	Expires int64  `json:"expires"` // milliseconds, 0 never
}

func controlToken(t account.RegistrationToken) ControlToken {
	return ControlToken{Token: t.Token, Uses: t.UsesAllowed, Used: t.UsesDone, Expires: t.Expires}
}

type listTokensResponse struct {
	Tokens []ControlToken `json:"tokens"`
}

// listTokens lists the registration tokens.
//
// Extension: GET /registration-tokens, at the control socket
func (s *Server) listTokens(ctx context.Context, _ *httpapi.Caller, _ *struct{}) (*listTokensResponse, error) {
	tokens, err := s.accounts.ListRegistrationTokens(ctx)
	if err != nil {
		return nil, err
	}
	answer := &listTokensResponse{Tokens: []ControlToken{}}
	for _, t := range tokens {
		answer.Tokens = append(answer.Tokens, controlToken(t))
	}
	return answer, nil
}

// createToken makes a registration token.
//
// Extension: POST /registration-tokens, at the control socket
func (s *Server) createToken(ctx context.Context, _ *httpapi.Caller, q *ControlToken) (*ControlToken, error) {
	var expires time.Time
	if q.Expires > 0 {
		expires = time.UnixMilli(q.Expires)
	}
	t, err := s.accounts.CreateRegistrationToken(ctx, q.Token, q.Uses, expires)
	if err != nil {
		return nil, err
	}
	answer := controlToken(t)
	return &answer, nil
}

// serveControl serves the control socket until ctx ends.
func (s *Server) serveControl(ctx context.Context) error {
	return serveHTTP(ctx, []*listener{{Listener: s.control}}, s.controlRouter(), s.log)
}

// ControlClient is for speaking to the server of a data folder, if there is one that runs.
func ControlClient(dataDir string) (client *http.Client, running bool) {
	file := ControlSocket(dataDir)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", file)
	}
	conn, err := net.Dial("unix", file)
	if err != nil {
		return nil, false
	}
	conn.Close()
	return &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: time.Minute}, true
}
