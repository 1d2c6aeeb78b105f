package clientapi

import (
	"context"
	"time"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

func (a *API) capabilityRoutes(r *httpapi.Router) {
	r.Handle("GET", "/_matrix/client/versions", httpapi.Maybe(a.versions), httpapi.GuestsToo(), httpapi.NoLog())
	r.Handle("GET", "/.well-known/matrix/client", httpapi.Open(a.wellKnown))
	r.Handle("GET", "/.well-known/matrix/support", httpapi.Open(a.wellKnownSupport))
	v3(r, "GET", "/capabilities", httpapi.Authed(a.capabilities), httpapi.GuestsToo())
}

// specVersions are the versions of the specification whose endpoints are served. Clients look for old
// ones, so they stay.
var specVersions = []string{
	"r0.6.0", "r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10",
	"v1.11", "v1.12", "v1.13", "v1.14", "v1.15", "v1.16", "v1.17", "v1.18", "v1.19",
}

// unstableFeatures are the proposals that are served by their unstable names. A line belongs here only
// when its endpoints are.
var unstableFeatures = map[string]bool{
	"uk.tcpip.msc4133":          true, // extended profiles
	"uk.tcpip.msc4133.stable":   true,
	"org.matrix.msc3391":        true, // account data can be deleted
	"org.matrix.msc3874":        true, // /messages by relation
	"org.matrix.msc4194":        true, // redaction of what a user has sent
	"org.matrix.msc3912":        true, // redaction with all that is about an event
	"org.matrix.msc3981":        true, // recursive relations
	"org.matrix.msc4151":        true, // reporting rooms
	"org.matrix.msc3814":        true, // dehydrated devices
	"org.matrix.msc4140":        true, // delayed events
	"org.matrix.msc4354":        true, // sticky events
	"org.matrix.msc4140.stable": true,
	"org.matrix.msc4143":        true, // call services
	"org.matrix.msc4155":        true, // lists of who may invite
	"org.matrix.msc4380.stable": true, // no invites at all

	"org.matrix.simplified_msc3575": true, // sliding sync

	"uk.half-shot.msc2666.query_mutual_rooms":        true,
	"uk.half-shot.msc2666.query_mutual_rooms.stable": true,
}

type versionsResponse struct {
	Versions         []string        `json:"versions"`
	UnstableFeatures map[string]bool `json:"unstable_features"`
}

// versions tells what of the specification is served.
//
// Spec: GET /_matrix/client/versions
func (a *API) versions(context.Context, *httpapi.Caller, *none) (*versionsResponse, error) {
	return &versionsResponse{Versions: specVersions, UnstableFeatures: a.features()}, nil
}

type wellKnownResponse struct {
	HomeServer baseURL     `json:"m.homeserver"`
	Foci       []transport `json:"org.matrix.msc4143.rtc_foci,omitempty"` // MSC4158, which clients still read
}

type baseURL struct {
	BaseURL string `json:"base_url"`
}

// wellKnown tells clients where the server is.
//
// Spec: GET /.well-known/matrix/client
func (a *API) wellKnown(context.Context, *httpapi.Caller, *none) (*wellKnownResponse, error) {
	if a.publicURL == "" {
		return nil, matrix.NotFound("this server does not tell where clients reach it")
	}
	return &wellKnownResponse{HomeServer: baseURL{a.publicURL}, Foci: transportsOf(a.calls)}, nil
}

type supportResponse struct {
	Contacts []contact `json:"contacts,omitempty"`
	Page     string    `json:"support_page,omitempty"`
}

type contact struct {
	MatrixID matrix.UserID `json:"matrix_id,omitempty"`
	Email    string        `json:"email_address,omitempty"`
	Role     string        `json:"role"`
}

// wellKnownSupport tells whom people ask who need help.
//
// Spec: GET /.well-known/matrix/support
func (a *API) wellKnownSupport(context.Context, *httpapi.Caller, *none) (*supportResponse, error) {
	if a.support.Page == "" && len(a.support.Contacts) == 0 {
		return nil, matrix.NotFound("this server does not tell whom to ask for help")
	}
	answer := &supportResponse{Page: a.support.Page}
	for _, c := range a.support.Contacts {
		answer.Contacts = append(answer.Contacts, contact{c.MatrixID, c.Email, "m.role." + c.Role})
	}
	return answer, nil
}

type capabilitiesResponse struct {
	Capabilities capabilities `json:"capabilities"`
}

type capabilities struct {
	ChangePassword enabled      `json:"m.change_password"`
	RoomVersions   roomVersions `json:"m.room_versions"`
	ProfileFields  enabled      `json:"m.profile_fields"`
	SetDisplayName enabled      `json:"m.set_displayname"`
	SetAvatarURL   enabled      `json:"m.set_avatar_url"`
	ThreepidChange enabled      `json:"m.3pid_changes"`
	LoginToken     enabled      `json:"m.get_login_token"`
	ForcedForget   enabled      `json:"m.forget_forced_upon_leave"`
	Moderation     *moderation  `json:"m.account_moderation,omitempty"`
	Delayed        delayLimits  `json:"m.delayed_events"` // MSC4140
	OldDelayed     delayLimits  `json:"org.matrix.msc4140.delayed_events"`
}

// delayLimits are what users may leave to be sent later.
type delayLimits struct {
	MaxDelay     int64 `json:"max_delay_ms"`
	MaxScheduled int   `json:"max_scheduled"`
}

func (a *API) delayLimits() delayLimits {
	l := a.delayed.Limits()
	return delayLimits{time.Duration(l.MaxDelay).Milliseconds(), l.MaxScheduled}
}

// moderation is what administrators may do to accounts.
//
// Spec: CS "m.account_moderation capability".
type moderation struct {
	Suspend bool `json:"suspend"`
	Lock    bool `json:"lock"`
}

func moderationOf(u account.User) *moderation {
	if !u.Admin {
		return nil
	}
	return &moderation{Suspend: true, Lock: true}
}

type enabled struct {
	Enabled bool `json:"enabled"`
}

type roomVersions struct {
	Default   matrix.RoomVersion            `json:"default"`
	Available map[matrix.RoomVersion]string `json:"available"`
}

// capabilities tells what the caller can do.
//
// Spec: GET /_matrix/client/v3/capabilities
func (a *API) capabilities(ctx context.Context, c *httpapi.Caller, _ *none) (*capabilitiesResponse, error) {
	u, _, err := a.accounts.User(ctx, c.User)
	if err != nil {
		return nil, err
	}
	versions := roomVersions{Default: a.version, Available: map[matrix.RoomVersion]string{}}
	for _, v := range rules.Versions() {
		versions.Available[v.ID] = "stable"
	}
	for _, v := range rules.Trials() {
		versions.Available[v.ID] = "unstable"
	}
	return &capabilitiesResponse{capabilities{
		ChangePassword: enabled{u.HasPassword()},
		RoomVersions:   versions,
		ProfileFields:  enabled{!u.Suspended},
		SetDisplayName: enabled{!u.Suspended},
		SetAvatarURL:   enabled{!u.Suspended},
		LoginToken:     enabled{a.mayGetLoginToken(u)},
		Moderation:     moderationOf(u),
		Delayed:        a.delayLimits(),
		OldDelayed:     a.delayLimits(),
	}}, nil
}
