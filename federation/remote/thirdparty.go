package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// JobExchange is the kind of the jobs that turn invites of third-party identifiers into invites of users of ours, to whom
// the identifiers belong; the payload of each is a Pending.
const JobExchange = "exchange invite"

// exchangeAttempts bounds how often a job of that kind is tried, in about a day.
const exchangeAttempts = 30

// Pending is an invite of a third-party identifier, such as an e-mail address, that has been found to be of a user.
type Pending struct {
	Room   matrix.RoomID `json:"room"`
	Sender matrix.UserID `json:"sender"` // who sent it
	User   matrix.UserID `json:"user"`   // whom it is for
	Token  string        `json:"token"`  // by which the room knows it
	// Signed is the word of the identity server, of which the room has the key.
	Signed json.RawMessage `json:"signed"`
}

// Check refuses what cannot be an invite for its user, and notes its token.
//
// Spec: CS "Third-party invites", SS "Verifying the invite"
func (p *Pending) Check() error {
	var signed struct {
		User       matrix.UserID                                 `json:"mxid"`
		Token      string                                        `json:"token"`
		Signatures map[matrix.ServerName]map[matrix.KeyID]string `json:"signatures"`
	}
	if len(p.Signed) == 0 || json.Unmarshal(p.Signed, &signed) != nil {
		return matrix.BadJSON("signed must have an mxid, a token and signatures")
	}
	if _, err := canonicaljson.Canonical(nil, p.Signed, canonicaljson.Strict); err != nil {
		return matrix.BadJSON("signed is not acceptable: %v", err)
	}
	switch {
	case signed.User != p.User:
		return matrix.InvalidParam("what is signed is for %.80q, not for %s", signed.User, p.User)
	case signed.Token == "" || len(signed.Token) > matrix.MaxIDLength:
		return matrix.InvalidParam("signed has no token of 1 to %d bytes", matrix.MaxIDLength)
	case len(signed.Signatures) == 0:
		return matrix.InvalidParam("signed is not signed")
	}
	p.Token = signed.Token
	return nil
}

// Bound has the invites of an identifier exchanged that was found to be of a user of ours.
func (r *Remote) Bound(ctx context.Context, invites []Pending) error {
	return r.db.Update(ctx, func(tx *store.Tx) error {
		for _, p := range invites {
			payload, err := json.Marshal(p)
			if err != nil {
				return fmt.Errorf("write a job: %w", err)
			}
			key := string(p.User) + " " + string(p.Room) + " " + p.Token // which nobody knows who was not told
			if err := tx.Enqueue(store.Job{Kind: JobExchange, Key: key, Payload: payload}); err != nil {
				return fmt.Errorf("have an invite exchanged: %w", err)
			}
		}
		return nil
	})
}

// Exchange does a job of the kind JobExchange.
func (r *Remote) Exchange(ctx context.Context, j store.Job) error {
	var p Pending
	if err := json.Unmarshal(j.Payload, &p); err != nil {
		return fmt.Errorf("read a job: %w", err)
	}
	err := r.exchange(ctx, p)
	var refused *matrix.Error
	if errors.As(err, &refused) && refused.Status < http.StatusInternalServerError && refused.Code != matrix.CodeLimitExceeded ||
		err != nil && j.Attempts >= exchangeAttempts {
		r.log.Info("a third-party invite came to nothing", "room", p.Room, "user", p.User, "sender", p.Sender, "error", err)
		return nil
	}
	return err
}

// exchange asks the server of who sent an invite to invite the user, or does it itself.
//
// Spec: PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}
func (r *Remote) exchange(ctx context.Context, p Pending) error {
	server := p.Sender.Server()
	if server == r.server {
		return r.InviteBound(ctx, p)
	}
	err := r.client.Do(ctx, server, peer.Request{
		Method: "PUT", Path: peer.Path("/_matrix/federation/v1/exchange_third_party_invite", string(p.Room)), Timeout: makeTime,
		Body: map[string]any{
			"type": "m.room.member", "room_id": p.Room, "sender": p.Sender, "state_key": p.User,
			"content": map[string]any{"membership": matrix.Invite, "third_party_invite": map[string]any{"signed": p.Signed}},
		},
	})
	if err != nil {
		return toldUser(server, err)
	}
	return nil
}

// InviteBound invites a user in the name of one of ours, who invited a third-party identifier of theirs. That the
// identifier is theirs is told by the rules of the room, which has the key of the identity server. Nothing is done
// where the user is invited already.
func (r *Remote) InviteBound(ctx context.Context, p Pending) error {
	name, err := r.rooms.OfferedTo(ctx, p.Room, p.User, p.Token)
	if err != nil {
		return err
	}
	content, err := json.Marshal(map[string]any{"display_name": name, "signed": p.Signed})
	if err != nil {
		return fmt.Errorf("write a third-party invite: %w", err)
	}
	change := roomserver.Change{
		Room: p.Room, Sender: p.Sender, Target: p.User, Membership: matrix.Invite,
		Extra: map[string]json.RawMessage{"third_party_invite": content},
	}
	if p.User.Server() == r.server {
		_, err = r.rooms.SetMembership(ctx, change)
	} else {
		_, err = r.Invite(ctx, change)
	}
	return err
}
