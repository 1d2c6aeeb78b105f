package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/store"
)

// directType is the account data that lists the rooms of direct chats by who is in them.
//
// Spec: CS "Direct Messaging".
const directType = "m.direct"

// Follow carries over what a user has noted of a room to the one that replaced it: its tags, and that it is a direct chat. What
// stands there already stays, and what there is no room for is left.
//
// Spec: CS "Room upgrades", server behaviour.
func Follow(tx *store.Tx, user matrix.UserID, from, to matrix.RoomID) error {
	if err := followTags(tx, user, from, to); err != nil {
		return fmt.Errorf("carry over tags: %w", err)
	}
	if err := followDirect(tx, user, from, to); err != nil {
		return fmt.Errorf("carry over a direct chat: %w", err)
	}
	return nil
}

func followTags(tx *store.Tx, user matrix.UserID, from, to matrix.RoomID) error {
	tags, found, err := ReadAccountData(tx, user, from, tagType)
	if err != nil || !found {
		return err
	}
	if _, there, err := ReadAccountData(tx, user, to, tagType); err != nil || there {
		return err
	}
	return putWherePossible(tx, user, to, tagType, tags)
}

func followDirect(tx *store.Tx, user matrix.UserID, from, to matrix.RoomID) error {
	raw, found, err := ReadAccountData(tx, user, "", directType)
	if err != nil || !found {
		return err
	}
	var chats map[string][]matrix.RoomID
	if json.Unmarshal(raw, &chats) != nil {
		return nil // a client may have written anything
	}
	changed := false
	for with, rooms := range chats {
		if slices.Contains(rooms, from) && !slices.Contains(rooms, to) {
			chats[with], changed = append(rooms, to), true
		}
	}
	if !changed {
		return nil
	}
	if raw, err = json.Marshal(chats); err != nil {
		return fmt.Errorf("write %s: %w", directType, err)
	}
	return putWherePossible(tx, user, "", directType, raw)
}

// putWherePossible is PutAccountData of what nobody asked for: where it would be too much it is left.
func putWherePossible(tx *store.Tx, user matrix.UserID, room matrix.RoomID, tp string, content json.RawMessage) error {
	_, err := PutAccountData(tx, user, room, tp, content)
	var refused *matrix.Error
	if errors.As(err, &refused) {
		return nil
	}
	return err
}
