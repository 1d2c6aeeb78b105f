package account

import (
	"context"
	"encoding/json"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/store"
)

// tagType is the account data of a room that has the user's tags.
//
// Spec: CS "Room Tagging".
const tagType = "m.tag"

const (
	maxTagName = 255
	maxTags    = 500
)

// tagContent is the content of tagType.
type tagContent struct {
	Tags map[string]json.RawMessage `json:"tags"`
}

// Tags reads the tags that a user has put on a room.
func (a *Accounts) Tags(ctx context.Context, user matrix.UserID, room matrix.RoomID) (tags map[string]json.RawMessage, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		tags, err = readTags(tx, user, room)
		return err
	})
	return tags, err
}

// SetTag puts a tag on a room.
func (a *Accounts) SetTag(ctx context.Context, user matrix.UserID, room matrix.RoomID, tag string, content json.RawMessage) error {
	if tag == "" || len(tag) > maxTagName {
		return matrix.InvalidParam("a tag has 1 to %d bytes", maxTagName)
	}
	if err := checkTag(content); err != nil {
		return err
	}
	return a.db.Update(ctx, func(tx *store.Tx) error {
		if err := a.mustBeActive(tx, user); err != nil {
			return err
		}
		return PutTag(tx, user, room, tag, content)
	})
}

// PutTag is SetTag in a transaction that is under way, of a user and a tag that are known to be good.
func PutTag(tx *store.Tx, user matrix.UserID, room matrix.RoomID, tag string, content json.RawMessage) error {
	return changeTags(tx, user, room, func(tags map[string]json.RawMessage) (bool, error) {
		tags[tag] = content
		if len(tags) > maxTags {
			return false, matrix.E(matrix.CodeResourceLimitExceeded, "a room cannot have more than %d tags", maxTags)
		}
		return true, nil
	})
}

// DeleteTag takes a tag off a room; that it is not there is no fault.
func (a *Accounts) DeleteTag(ctx context.Context, user matrix.UserID, room matrix.RoomID, tag string) error {
	return a.db.Update(ctx, func(tx *store.Tx) error {
		if err := a.mustBeActive(tx, user); err != nil {
			return err
		}
		return changeTags(tx, user, room, func(tags map[string]json.RawMessage) (bool, error) {
			_, found := tags[tag]
			delete(tags, tag)
			return found, nil
		})
	})
}

func changeTags(tx *store.Tx, user matrix.UserID, room matrix.RoomID, change func(map[string]json.RawMessage) (changed bool, err error)) error {
	tags, err := readTags(tx, user, room)
	if err != nil {
		return err
	}
	changed, err := change(tags)
	if err != nil || !changed {
		return err
	}
	content, err := json.Marshal(tagContent{tags})
	if err != nil {
		return fmt.Errorf("tags of %s: %w", room, err)
	}
	_, err = PutAccountData(tx, user, room, tagType, content)
	return err
}

// readTags reads tags. A client may have written anything as m.tag: what is no tag is not shown.
func readTags(tx *store.Tx, user matrix.UserID, room matrix.RoomID) (map[string]json.RawMessage, error) {
	content, found, err := ReadAccountData(tx, user, room, tagType)
	if err != nil {
		return nil, err
	}
	var c tagContent
	if !found || json.Unmarshal(content, &c) != nil || c.Tags == nil {
		return map[string]json.RawMessage{}, nil
	}
	return c.Tags, nil
}

func checkTag(content json.RawMessage) error {
	var tag struct {
		Order *json.RawMessage `json:"order"`
	}
	if err := json.Unmarshal(content, &tag); err != nil {
		return matrix.BadJSON("the content of a tag must be an object")
	}
	if tag.Order == nil {
		return nil
	}
	var order float64
	if err := json.Unmarshal(*tag.Order, &order); err != nil {
		return matrix.BadJSON("the order of a tag must be a number")
	}
	if order < 0 || order > 1 {
		return matrix.InvalidParam("the order of a tag must be from 0 to 1")
	}
	return nil
}
