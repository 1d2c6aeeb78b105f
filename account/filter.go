package account

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Filter says what a client wants to see of a /sync. A nil list is one that was not given.
//
// Spec: CS "Filtering".
type Filter struct {
	EventFields []string    `json:"event_fields"`
	EventFormat string      `json:"event_format"`
	Presence    EventFilter `json:"presence"`
	AccountData EventFilter `json:"account_data"`
	Room        RoomFilter  `json:"room"`
}

// EventFilter chooses events by sender and type. Types may have * as a wildcard.
type EventFilter struct {
	Limit      *int     `json:"limit"`
	Senders    []string `json:"senders"`
	NotSenders []string `json:"not_senders"`
	Types      []string `json:"types"`
	NotTypes   []string `json:"not_types"`
}

// RoomEventFilter chooses events of rooms.
type RoomEventFilter struct {
	EventFilter
	Rooms                     []string `json:"rooms"`
	NotRooms                  []string `json:"not_rooms"`
	ContainsURL               *bool    `json:"contains_url"`
	LazyLoadMembers           bool     `json:"lazy_load_members"`
	IncludeRedundantMembers   bool     `json:"include_redundant_members"`
	UnreadThreadNotifications bool     `json:"unread_thread_notifications"`
	RelTypes                  []string `json:"org.matrix.msc3874.rel_types"` // what an event is to another; MSC3874
	NotRelTypes               []string `json:"org.matrix.msc3874.not_rel_types"`
}

// RoomFilter chooses rooms, and what is shown of them.
type RoomFilter struct {
	Rooms        []string        `json:"rooms"`
	NotRooms     []string        `json:"not_rooms"`
	IncludeLeave bool            `json:"include_leave"`
	State        RoomEventFilter `json:"state"`
	Timeline     RoomEventFilter `json:"timeline"`
	Ephemeral    RoomEventFilter `json:"ephemeral"`
	AccountData  RoomEventFilter `json:"account_data"`
}

const (
	maxFilter     = 64 << 10
	maxFilterList = 2000 // entries of a list
	maxFilters    = 1000 // of a user
)

// ParseFilter reads a filter and checks it.
func ParseFilter(raw json.RawMessage) (*Filter, error) {
	if len(raw) > maxFilter {
		return nil, matrix.E(matrix.CodeTooLarge, "a filter cannot be larger than %d bytes", maxFilter)
	}
	f := new(Filter)
	if err := json.Unmarshal(raw, f); err != nil {
		return nil, matrix.BadJSON("the filter has members of a wrong type")
	}
	if f.EventFormat != "" && f.EventFormat != "client" && f.EventFormat != "federation" {
		return nil, matrix.InvalidParam("event_format must be client or federation")
	}
	if len(f.EventFields) > maxFilterList {
		return nil, errLongList
	}
	if err := checkRooms(f.Room.Rooms, f.Room.NotRooms); err != nil {
		return nil, err
	}
	for _, e := range []*RoomEventFilter{
		&f.Room.State, &f.Room.Timeline, &f.Room.Ephemeral, &f.Room.AccountData,
		{EventFilter: f.Presence}, {EventFilter: f.AccountData},
	} {
		if err := e.Check(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

var errLongList = matrix.InvalidParam("a list in the filter has more than %d entries", maxFilterList)

// ParseRoomEventFilter reads the filter of /messages and /context, and checks it.
func ParseRoomEventFilter(raw json.RawMessage) (*RoomEventFilter, error) {
	if len(raw) > maxFilter {
		return nil, matrix.E(matrix.CodeTooLarge, "a filter cannot be larger than %d bytes", maxFilter)
	}
	f := new(RoomEventFilter)
	if err := json.Unmarshal(raw, f); err != nil {
		return nil, matrix.BadJSON("the filter has members of a wrong type")
	}
	return f, f.Check()
}

// Check looks for what the types of the members cannot tell.
func (f *RoomEventFilter) Check() error {
	if f.Limit != nil && *f.Limit < 0 {
		return matrix.InvalidParam("the limit of a filter cannot be less than 0")
	}
	if len(f.Types) > maxFilterList || len(f.NotTypes) > maxFilterList {
		return errLongList
	}
	if err := checkIDs(matrix.ParseUserID, f.Senders, f.NotSenders); err != nil {
		return err
	}
	return checkRooms(f.Rooms, f.NotRooms)
}

func checkRooms(lists ...[]string) error { return checkIDs(matrix.ParseRoomID, lists...) }

func checkIDs[T any](parse func(string) (T, error), lists ...[]string) error {
	for _, list := range lists {
		if len(list) > maxFilterList {
			return errLongList
		}
		for _, id := range list {
			if _, err := parse(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// SaveFilter keeps a filter and gives its id, which is made from its content: the same filter has the
// same id, however often it is saved.
func (a *Accounts) SaveFilter(ctx context.Context, user matrix.UserID, raw json.RawMessage) (id string, err error) {
	if _, err := ParseFilter(raw); err != nil {
		return "", err
	}
	var content bytes.Buffer
	if err := json.Compact(&content, raw); err != nil {
		return "", matrix.E(matrix.CodeNotJSON, "the filter is not JSON")
	}
	sum := sha256.Sum256(content.Bytes())
	id = base64.RawURLEncoding.EncodeToString(sum[:12])
	return id, a.db.Update(ctx, func(tx *store.Tx) error {
		known, err := filterIDs(tx, user)
		if err != nil || slices.Contains(known, id) {
			return err
		}
		if len(known) >= maxFilters {
			return matrix.E(matrix.CodeResourceLimitExceeded, "a user cannot have more than %d filters", maxFilters)
		}
		return insertFilter(tx, user, id, content.Bytes())
	})
}

// Filter reads a filter as it was saved.
func (a *Accounts) Filter(ctx context.Context, user matrix.UserID, id string) (content json.RawMessage, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) error {
		var found bool
		content, found, err = readFilter(tx, user, id)
		if err == nil && !found {
			err = matrix.NotFound("there is no such filter")
		}
		return err
	})
	return content, err
}
