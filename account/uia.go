package account

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

// The stages of user-interactive authentication.
//
// Spec: CS "Authentication types".
const (
	StagePassword          = "m.login.password"
	StageDummy             = "m.login.dummy"
	StageRegistrationToken = "m.login.registration_token"
)

// PasswordFlow is what proves that a user is who they say.
var PasswordFlow = [][]string{{StagePassword}}

// uiaLifetime is how long a user may take for all stages.
const uiaLifetime = 30 * time.Minute

// Operation is a request that needs more than an access token.
type Operation struct {
	// Endpoint is the method and the path of the request. A session is bound to it, and to User.
	Endpoint string
	// User is the caller, empty where nobody is logged in.
	User matrix.UserID
	// Body is what is asked for, without auth and passwords. Once a stage is complete it must stay the same.
	Body any
	// Auth is the member auth of the request; nothing, where it had none.
	Auth json.RawMessage
	// Flows are the lists of stages of which one has to be completed.
	Flows [][]string
}

// Confirmed is what the stages of an operation have proven.
type Confirmed struct {
	// User is who gave their password: the caller, where there was one.
	User matrix.UserID
	// RegistrationToken is the token that was shown. It is used up by Register.
	RegistrationToken string
}

// authDict is the member auth of a request.
type authDict struct {
	Type       string          `json:"type"`
	Session    string          `json:"session"`
	Identifier json.RawMessage `json:"identifier"`
	User       string          `json:"user"`
	Password   string          `json:"password"`
	Token      string          `json:"token"`
}

// uiaSession is an authentication under way.
type uiaSession struct {
	id        string
	endpoint  string
	body      [sha256.Size]byte
	completed []string
	Confirmed
}

// Confirm takes an operation one step further. Where stages are missing the error is the challenge to
// answer with: status 401, flows, session, and the stages that are complete. Whatever can be refused
// without the authentication should be, before it.
//
// Spec: CS "User-Interactive Authentication API".
func (a *Accounts) Confirm(ctx context.Context, o Operation) (*Confirmed, error) {
	auth, given, err := parseAuth(o.Auth)
	if err != nil {
		return nil, err
	}
	s, stored, err := a.uiaSession(ctx, o, auth.Session)
	if err != nil {
		return nil, err
	}
	var failure *matrix.Error
	if given && auth.Type != "" {
		err := a.stage(ctx, o, s, auth)
		if err != nil && !errors.As(err, &failure) {
			return nil, err
		}
		if failure == errOthersPassword {
			return nil, failure // to try again would not help
		}
		if failure != nil && failure.Code != matrix.CodeForbidden && failure.Code != matrix.CodeUnrecognized {
			return nil, failure
		}
	}
	if failure == nil && s.complete(o.Flows) {
		if stored {
			err = a.db.Update(ctx, func(tx *store.Tx) error { return deleteUIA(tx, s.id) })
		}
		return &s.Confirmed, err
	}
	if failure == nil || !stored {
		if err := a.storeUIA(ctx, s); err != nil {
			return nil, err
		}
	}
	return nil, challenge(s, o.Flows, failure)
}

// uiaSession finds the session of an operation, or begins one.
func (a *Accounts) uiaSession(ctx context.Context, o Operation, id string) (s *uiaSession, stored bool, err error) {
	fresh, err := o.newSession()
	if err != nil || id == "" {
		return fresh, false, err
	}
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		s, stored, err = readUIA(tx, id, a.millis())
		return err
	})
	switch {
	case err != nil:
		return nil, false, err
	case !stored: // it has expired, or never was: the stages begin anew
		return fresh, false, nil
	case s.endpoint != fresh.endpoint:
		return nil, false, matrix.Forbidden("this session authenticates another request")
	case subtle.ConstantTimeCompare(s.body[:], fresh.body[:]) == 1:
		return s, true, nil
	case len(s.completed) > 0:
		return nil, false, matrix.Forbidden("the request has changed since the first stage")
	}
	s.body = fresh.body // nothing was proven yet: clients ask for the flows before they know what they want
	return s, true, nil
}

func (o Operation) newSession() (*uiaSession, error) {
	body, err := json.Marshal(o.Body)
	if err != nil {
		return nil, fmt.Errorf("authenticate %s: %w", o.Endpoint, err)
	}
	return &uiaSession{
		id:       randomText(mixedAlphabet, 24),
		endpoint: o.Endpoint + " " + string(o.User),
		body:     sha256.Sum256(body),
	}, nil
}

// stage checks what the client gives for a stage, and completes it.
func (a *Accounts) stage(ctx context.Context, o Operation, s *uiaSession, auth authDict) error {
	if !offered(o.Flows, auth.Type) {
		return matrix.E(matrix.CodeUnrecognized, "this request has no authentication stage %q", auth.Type)
	}
	if slices.Contains(s.completed, auth.Type) {
		return nil
	}
	var err error
	switch auth.Type {
	case StagePassword:
		s.User, err = a.passwordStage(ctx, o.User, auth)
	case StageRegistrationToken:
		if err = a.tokenStage(ctx, auth.Token); err == nil {
			s.RegistrationToken = auth.Token
		}
	case StageDummy:
	default:
		err = fmt.Errorf("no code for stage %s", auth.Type)
	}
	if err == nil {
		s.completed = append(s.completed, auth.Type)
	}
	return err
}

func (a *Accounts) passwordStage(ctx context.Context, caller matrix.UserID, auth authDict) (matrix.UserID, error) {
	name, err := auth.name()
	if err != nil {
		return "", err
	}
	if name == "" {
		name = string(caller)
	}
	if auth.Password == "" || name == "" {
		return "", matrix.MissingParam("the password stage needs an identifier and a password")
	}
	user, err := a.verifyPassword(ctx, name, auth.Password)
	if err == nil && caller != "" && user != caller {
		return "", errOthersPassword
	}
	return user, err
}

var errOthersPassword = matrix.Forbidden("this is the password of another user")

func (a *Accounts) tokenStage(ctx context.Context, token string) error {
	if token == "" {
		return matrix.MissingParam("the registration token is missing")
	}
	valid, err := a.RegistrationTokenValid(ctx, token)
	if err == nil && !valid {
		return matrix.Forbidden("the registration token is not valid")
	}
	return err
}

// name is whom the password is said to be of.
func (d authDict) name() (string, error) {
	if len(d.Identifier) == 0 || string(d.Identifier) == "null" {
		return d.User, nil
	}
	return ParseIdentifier(d.Identifier)
}

// ParseIdentifier reads the name in a user identifier. Those by e-mail address or phone number are
// refused as a wrong name would be.
//
// Spec: CS "Identifier types".
func ParseIdentifier(identifier json.RawMessage) (string, error) {
	var id struct {
		Type string `json:"type"`
		User string `json:"user"`
	}
	if err := json.Unmarshal(identifier, &id); err != nil {
		return "", matrix.BadJSON("the identifier has members of a wrong type")
	}
	switch {
	case id.Type == "":
		return "", matrix.MissingParam("the identifier has no type")
	case id.Type == "m.id.thirdparty", id.Type == "m.id.phone":
		return "", errWrongPassword
	case id.Type != "m.id.user":
		return "", matrix.InvalidParam("identifiers of type %q are not known", id.Type)
	case id.User == "":
		return "", matrix.MissingParam("the identifier has no user")
	}
	return id.User, nil
}

// parseAuth reads the member auth; given is false where there is none.
func parseAuth(raw json.RawMessage) (d authDict, given bool, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return d, false, nil
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return d, false, matrix.BadJSON("auth has members of a wrong type")
	}
	if len(d.Session) > 255 || strings.IndexByte(d.Session+d.Token+d.User, 0) >= 0 {
		return d, false, matrix.InvalidParam("auth has a member that cannot be")
	}
	return d, true, nil
}

func offered(flows [][]string, stage string) bool {
	return slices.ContainsFunc(flows, func(flow []string) bool { return slices.Contains(flow, stage) })
}

// complete says whether all stages of one of the flows are done.
func (s *uiaSession) complete(flows [][]string) bool {
	return slices.ContainsFunc(flows, func(flow []string) bool {
		return !slices.ContainsFunc(flow, func(stage string) bool { return !slices.Contains(s.completed, stage) })
	})
}

func (a *Accounts) storeUIA(ctx context.Context, s *uiaSession) error {
	return a.db.Update(ctx, func(tx *store.Tx) error {
		return writeUIA(tx, s, a.now().Add(uiaLifetime).UnixMilli())
	})
}

// challenge is the answer that asks for the next stage. It has an error code only if a stage failed.
func challenge(s *uiaSession, flows [][]string, failure *matrix.Error) error {
	type flow struct {
		Stages []string `json:"stages"`
	}
	offers := make([]flow, len(flows))
	for i, stages := range flows {
		offers[i] = flow{stages}
	}
	e := &matrix.Error{Status: 401, Fields: map[string]any{
		"flows": offers, "session": s.id, "params": struct{}{}, "completed": append([]string{}, s.completed...),
	}}
	if failure != nil {
		e.Code, e.Message = failure.Code, failure.Message
	}
	return e
}
