package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/roomserver/rules"
)

// Invite invites a user of another server into a room: their server signs the invite, and then it enters the
// room.
//
// Spec: SS "Inviting to a room"
func (r *Remote) Invite(ctx context.Context, c roomserver.Change) (matrix.EventID, error) {
	p, err := r.rooms.Invitation(ctx, c)
	if err != nil {
		return "", err
	}
	server := c.Target.Server()
	signed, err := r.sendInvite(ctx, server, p)
	if err != nil {
		return "", toldUser(server, err)
	}
	return signed.ID(), r.take(ctx, signed)
}

// Invited is Invite where nobody waits for the outcome: what goes wrong stands in the log.
func (r *Remote) Invited(ctx context.Context, c roomserver.Change) {
	if _, err := r.Invite(ctx, c); err != nil {
		r.log.Warn("a user of another server was not invited", "room", c.Room, "user", c.Target, "error", err)
	}
}

// sendInvite gives an invite to the server of its target, and gives it with their signature.
func (r *Remote) sendInvite(ctx context.Context, server matrix.ServerName, p *roomserver.Proposal) (*rules.Event, error) {
	told := make([]json.RawMessage, len(p.State))
	for i, e := range p.State {
		told[i] = e.Bytes()
	}
	path := func(version string) string {
		return peer.Path("/_matrix/federation/"+version+"/invite", string(p.Event.RoomID()), string(p.Event.ID()))
	}
	var answer struct {
		Event json.RawMessage `json:"event"`
	}
	err := r.client.Do(ctx, server, peer.Request{
		Method: "PUT", Path: path("v2"), Into: &answer, Timeout: makeTime,
		Body: map[string]any{"room_version": p.Version.ID, "event": json.RawMessage(p.Event.Bytes()), "invite_room_state": told},
	})
	if p.Version.EventIDInside && knowsNoSuchPath(err) {
		answer.Event, err = r.sendInviteV1(ctx, server, path("v1"), p.Event, told)
	}
	if err != nil {
		return nil, err
	}
	return r.signedInvite(ctx, server, p, answer.Event)
}

// sendInviteV1 is the first form of the endpoint, for servers that know no other.
func (r *Remote) sendInviteV1(ctx context.Context, server matrix.ServerName, path string, invite *rules.Event, told []json.RawMessage) (json.RawMessage, error) {
	var body map[string]any
	if err := json.Unmarshal(invite.Bytes(), &body); err != nil {
		return nil, fmt.Errorf("write an invite: %w", err)
	}
	body["unsigned"] = map[string]any{"invite_room_state": told}
	var answer []json.RawMessage
	err := r.client.Do(ctx, server, peer.Request{Method: "PUT", Path: path, Body: body, Into: &answer, Timeout: makeTime})
	if err != nil {
		return nil, err
	}
	var behind struct {
		Event json.RawMessage `json:"event"`
	}
	if len(answer) != 2 || json.Unmarshal(answer[1], &behind) != nil {
		return nil, &peer.Unreachable{Server: server, Err: errors.New("an answer to an invite that makes no sense")}
	}
	return behind.Event, nil
}

// signedInvite reads the invite that a server gives back: it must be ours, with signatures that are good.
func (r *Remote) signedInvite(ctx context.Context, server matrix.ServerName, p *roomserver.Proposal, raw json.RawMessage) (*rules.Event, error) {
	ev, err := rules.Read(p.Version, raw)
	if err == nil && ev.ID() != p.Event.ID() {
		err = errors.New("it is another event")
	}
	if err == nil {
		err = r.keys.VerifyEvents(ctx, []*rules.Event{ev})[0].Err
	}
	if err != nil {
		return nil, &peer.Unreachable{Server: server, Err: fmt.Errorf("the invite that it gives back: %w", err)}
	}
	return ev, nil
}
