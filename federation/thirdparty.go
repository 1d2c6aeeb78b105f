package federation

import (
	"context"
	"encoding/json"

	"astrocyte/federation/remote"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

func (a *API) thirdPartyRoutes(r *httpapi.Router) {
	r.Handle("PUT", "/_matrix/federation/v1/exchange_third_party_invite/{roomID}", httpapi.Signed(a.exchangeInvite), httpapi.PerServer("handshakes"))
	r.Handle("PUT", "/_matrix/federation/v1/3pid/onbind", httpapi.Open(a.onBind), httpapi.Limit("invite"))
}

type exchangeRequest struct {
	PathRoom matrix.RoomID `path:"roomID"`
	Type     string        `json:"type" required:"true"`
	Room     matrix.RoomID `json:"room_id" required:"true"`
	Sender   matrix.UserID `json:"sender" required:"true"`
	User     matrix.UserID `json:"state_key" required:"true"`
	Content  struct {
		Membership matrix.Membership `json:"membership"`
		Invite     struct {
			Signed json.RawMessage `json:"signed"`
		} `json:"third_party_invite"`
	} `json:"content" required:"true"`
}

// exchangeInvite invites a user of another server in the name of one of ours, who invited a third-party identifier
// that has been found to be theirs. It is answered when they are invited.
//
// Spec: PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}
func (a *API) exchangeInvite(ctx context.Context, c *httpapi.Caller, q *exchangeRequest) (*none, error) {
	switch {
	case q.Room != q.PathRoom:
		return nil, matrix.InvalidParam("the event is for the room %s, not for that of the path", q.Room)
	case q.Type != "m.room.member" || q.Content.Membership != matrix.Invite:
		return nil, matrix.InvalidParam("the event is not a member event with membership invite")
	case q.User.Server() != c.Origin:
		return nil, matrix.Forbidden("%s is not a user of %s", q.User, c.Origin)
	case q.Sender.Server() != a.server:
		return nil, matrix.InvalidParam("the sender %s is not a user of this server", q.Sender)
	}
	p := remote.Pending{Room: q.Room, Sender: q.Sender, User: q.User, Signed: q.Content.Invite.Signed}
	if err := p.Check(); err != nil {
		return nil, err
	}
	if _, err := a.hosted(ctx, c, q.Room); err != nil {
		return nil, err
	}
	return &none{}, a.remote.InviteBound(ctx, p)
}

// maxPending bounds the invites that one identifier may have waiting.
const maxPending = 100

type onBindRequest struct {
	Medium  string        `json:"medium" required:"true"`
	Address string        `json:"address" required:"true"`
	User    matrix.UserID `json:"mxid" required:"true"`
	Invites []struct {
		User   matrix.UserID   `json:"mxid"`
		Room   matrix.RoomID   `json:"room_id"`
		Sender matrix.UserID   `json:"sender"`
		Signed json.RawMessage `json:"signed"`
	} `json:"invites" required:"true"`
}

// onBind hears from an identity server that a third-party identifier is of a user of ours, with the invites that wait
// for it. Who asks needs no proof: each invite has the identity server's signature, which the room knows it by.
//
// Spec: PUT /_matrix/federation/v1/3pid/onbind
func (a *API) onBind(ctx context.Context, _ *httpapi.Caller, q *onBindRequest) (*none, error) {
	if len(q.Invites) > maxPending {
		return nil, matrix.InvalidParam("there are more than %d invites", maxPending)
	}
	if q.User.Server() != a.server {
		return nil, matrix.InvalidParam("%s is not a user of this server", q.User)
	}
	user, found, err := a.accounts.User(ctx, q.User)
	if err != nil {
		return nil, err
	}
	if !found || user.Deactivated != 0 {
		return nil, matrix.NotFound("there is no user %s", q.User)
	}
	invites := make([]remote.Pending, 0, len(q.Invites))
	for _, i := range q.Invites {
		p := remote.Pending{Room: i.Room, Sender: i.Sender, User: q.User, Signed: i.Signed}
		if i.User != q.User {
			return nil, matrix.InvalidParam("an invite is for %.80q, not for %s", i.User, q.User)
		}
		if _, err := matrix.ParseRoomID(string(i.Room)); err != nil {
			return nil, err
		}
		if _, err := matrix.ParseUserID(string(i.Sender)); err != nil {
			return nil, err
		}
		if err := p.Check(); err != nil {
			return nil, err
		}
		invites = append(invites, p)
	}
	return &none{}, a.remote.Bound(ctx, invites)
}
