package remote

import (
	"context"
	"encoding/json"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// Knock asks for an invite to a room that this server is not in, by the help of servers that are.
//
// Spec: SS "Knocking upon a room"
func (r *Remote) Knock(ctx context.Context, e Entry) error {
	return r.overServers(ctx, e, func(ctx context.Context, server matrix.ServerName) error {
		knock, err := r.signed(ctx, server, knocking, e)
		if err != nil {
			return err
		}
		var answer struct {
			State []json.RawMessage `json:"knock_room_state"`
		}
		err = r.client.Do(ctx, server, peer.Request{
			Method: "PUT", Path: peer.Path("/_matrix/federation/v1/send_knock", string(e.Room), string(knock.ID())),
			Body: json.RawMessage(knock.Bytes()), Into: &answer, Timeout: makeTime,
		})
		if err != nil {
			return err
		}
		told, err := roomserver.StripForeign(answer.State, knock)
		if err != nil {
			return err
		}
		return r.rooms.KeepOutside(ctx, roomserver.Outside{
			Room: e.Room, Version: knock.Version().ID, User: e.User, Membership: matrix.Knock, Sender: e.User, Via: server, Stripped: told,
			Event: knock.ID(), Time: knock.OriginServerTS(),
		})
	})
}
