package syncapi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"astrocyte/account"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

const (
	// initialMost bounds the rooms of an answer: who is in more has to use /sync.
	initialMost = 500
	// initialMessages is how many messages of each room are told where the client does not say; initialMessagesMost is
	// how many are told at most.
	initialMessages, initialMessagesMost = 10, 50
)

type initialSyncRequest struct {
	Limit    *int `query:"limit"`
	Archived bool `query:"archived"`
}

type initialSyncResponse struct {
	End         string        `json:"end"`
	Presence    []struct{}    `json:"presence"` // told by /sync alone
	Rooms       []initialRoom `json:"rooms"`
	AccountData []datum       `json:"account_data"`
}

type initialRoom struct {
	RoomID      matrix.RoomID             `json:"room_id"`
	Membership  matrix.Membership         `json:"membership"`
	Invite      *roomserver.ClientEvent   `json:"invite,omitempty"`
	Messages    *initialChunk             `json:"messages,omitempty"`
	State       []*roomserver.ClientEvent `json:"state,omitempty"`
	AccountData []datum                   `json:"account_data"`
}

type initialChunk struct {
	Start string                    `json:"start,omitempty"`
	End   string                    `json:"end"`
	Chunk []*roomserver.ClientEvent `json:"chunk"`
}

type datum struct {
	Type    string          `json:"type"`
	Content json.RawMessage `json:"content"`
}

// initialSync tells the state of all rooms of the caller, and the newest messages of each. It is deprecated: /sync
// without a token tells the same.
//
// Spec: GET /_matrix/client/v3/initialSync
func (a *API) initialSync(ctx context.Context, c *httpapi.Caller, q *initialSyncRequest) (answer *initialSyncResponse, err error) {
	limit := initialMessages
	if q.Limit != nil {
		limit = *q.Limit
	}
	if limit < 0 {
		return nil, matrix.InvalidParam("limit cannot be negative")
	}
	v := roomserver.Viewer{User: c.User, Device: c.Device}
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		answer, err = a.initial(tx, v, min(limit, initialMessagesMost), q.Archived)
		return err
	})
	return answer, err
}

func (a *API) initial(tx *store.Tx, v roomserver.Viewer, limit int, archived bool) (*initialSyncResponse, error) {
	upto, err := tx.Pos()
	if err != nil {
		return nil, err
	}
	answer := &initialSyncResponse{End: Token{Pos: upto}.String(), Presence: []struct{}{}, Rooms: []initialRoom{}, AccountData: []datum{}}
	data, err := account.AccountDataSince(tx, v.User, 0, upto)
	if err != nil {
		return nil, fmt.Errorf("read account data: %w", err)
	}
	ofRooms := map[matrix.RoomID][]datum{}
	for _, d := range data {
		ofRooms[d.Room] = append(ofRooms[d.Room], datum{d.Type, d.Content})
	}
	answer.AccountData = append(answer.AccountData, ofRooms[""]...)
	rooms, err := a.rooms.UserRooms(tx, v.User)
	if err != nil {
		return nil, err
	}
	for _, ur := range rooms {
		there := ur.Membership == matrix.Join || ur.Membership == matrix.Invite
		if !there && (!archived || ur.Forgotten || ur.Membership == matrix.Knock) {
			continue
		}
		if len(answer.Rooms) == initialMost {
			return nil, matrix.E(matrix.CodeResourceLimitExceeded, "you have more than %d rooms: use /sync", initialMost)
		}
		room := initialRoom{RoomID: ur.ID, Membership: ur.Membership, AccountData: append([]datum{}, ofRooms[ur.ID]...)}
		if err := a.fillInitial(tx, v, ur, limit, &room); err != nil {
			return nil, fmt.Errorf("room %s: %w", ur.ID, err)
		}
		answer.Rooms = append(answer.Rooms, room)
	}
	return answer, nil
}

// fillInitial tells of a room what the user may read: of one that they are invited to, the invite.
func (a *API) fillInitial(tx *store.Tx, v roomserver.Viewer, ur roomserver.UserRoom, limit int, room *initialRoom) error {
	if ur.Membership == matrix.Invite {
		invite, err := a.rooms.RenderState(tx, v, []int64{ur.Event})
		if len(invite) > 0 {
			room.Invite = invite[0]
		}
		return err
	}
	access, err := a.rooms.Access(tx, v.User, ur.ID)
	if err != nil {
		return err
	}
	st, err := a.rooms.State(tx, access.Snap)
	if err != nil {
		return err
	}
	var nids []int64
	for _, e := range st.Entries() {
		nids = append(nids, e.Event)
	}
	if room.State, err = a.rooms.RenderState(tx, v, nids); err != nil {
		return err
	}
	items, err := a.rooms.Before(tx, access.Room, access.Seq+1, limit)
	if err != nil {
		return err
	}
	room.Messages = &initialChunk{End: roomserver.Place(access.Seq).String(), Chunk: []*roomserver.ClientEvent{}}
	if n := len(items); n > 0 {
		room.Messages.Start = roomserver.Place(items[n-1].Seq - 1).String()
	}
	slices.Reverse(items) // oldest first
	shown, err := a.rooms.Render(tx, v, access.Room, items)
	room.Messages.Chunk = append(room.Messages.Chunk, shown...)
	return err
}
