package account

import (
	"bytes"
	"context"
	"encoding/json"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/store"
)

const (
	maxDatumType    = 255
	maxDatumContent = 512 << 10
	maxAccountData  = 50_000 // entries of a user
)

// AccountDatum is one piece of account data, global where Room is empty.
type AccountDatum struct {
	Room    matrix.RoomID
	Type    string
	Content json.RawMessage
	Pos     int64
}

// SetAccountData sets a piece of account data; room is empty for global data.
func (a *Accounts) SetAccountData(ctx context.Context, user matrix.UserID, room matrix.RoomID, tp string, content json.RawMessage) error {
	return a.db.Update(ctx, func(tx *store.Tx) error {
		_, err := PutAccountData(tx, user, room, tp, content)
		return err
	})
}

// PutAccountData is SetAccountData in a transaction that is under way; it gives the position of the change.
func PutAccountData(tx *store.Tx, user matrix.UserID, room matrix.RoomID, tp string, content json.RawMessage) (int64, error) {
	if tp == "" || len(tp) > maxDatumType {
		return 0, matrix.InvalidParam("a type of account data has 1 to %d bytes", maxDatumType)
	}
	if len(content) > maxDatumContent {
		return 0, matrix.E(matrix.CodeTooLarge, "account data cannot be larger than %d bytes", maxDatumContent)
	}
	if err := makeRoomForDatum(tx, user, room, tp); err != nil {
		return 0, err
	}
	pos, err := tx.NextPos(1)
	if err != nil {
		return 0, err
	}
	if members := bytes.TrimSpace(bytes.Trim(content, "{} \t\r\n")); len(members) == 0 {
		content = deleted // to set nothing is to delete
	}
	tx.Announce(bus.Change{Kind: bus.User, Key: string(user), Pos: pos})
	return pos, writeDatum(tx, user, AccountDatum{room, tp, content, pos})
}

// makeRoomForDatum refuses what would be one piece too many.
func makeRoomForDatum(tx *store.Tx, user matrix.UserID, room matrix.RoomID, tp string) error {
	_, found, err := ReadAccountData(tx, user, room, tp)
	if err != nil || found {
		return err
	}
	n, err := countData(tx, user)
	if err == nil && n >= maxAccountData {
		return matrix.E(matrix.CodeResourceLimitExceeded, "a user cannot have more than %d pieces of account data", maxAccountData)
	}
	return err
}

// AccountData reads a piece of account data.
func (a *Accounts) AccountData(ctx context.Context, user matrix.UserID, room matrix.RoomID, tp string) (content json.RawMessage, found bool, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		content, found, err = ReadAccountData(tx, user, room, tp)
		return err
	})
	return content, found, err
}

// RoomData reads all account data that a user attached to a room.
func (a *Accounts) RoomData(ctx context.Context, user matrix.UserID, room matrix.RoomID) (data []AccountDatum, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		data, err = readRoomData(tx, user, room)
		return err
	})
	return data, err
}

// AllData reads all account data of a user, global and of rooms.
func (a *Accounts) AllData(ctx context.Context, user matrix.UserID) (data []AccountDatum, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) error {
		upto, err := tx.Pos()
		if err != nil {
			return err
		}
		data, err = AccountDataSince(tx, user, 0, upto)
		return err
	})
	return data, err
}
