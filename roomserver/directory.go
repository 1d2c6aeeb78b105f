package roomserver

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Published says whether a room is in this server's directory.
//
// Spec: GET /_matrix/client/v3/directory/list/room/{roomId}
func (r *Rooms) Published(ctx context.Context, room matrix.RoomID) (bool, error) {
	var public bool
	err := r.db.View(ctx, func(tx *store.Tx) error {
		nid, err := r.known(tx, room)
		if err == nil {
			public, err = isPublished(tx, nid)
		}
		return err
	})
	return public, err
}

// Publish sets whether a room is in the directory. Members may do so who may change the canonical
// alias, and administrators of the server.
//
// Spec: PUT /_matrix/client/v3/directory/list/room/{roomId}
func (r *Rooms) Publish(ctx context.Context, user matrix.UserID, admin bool, room matrix.RoomID, public bool) error {
	return r.db.Update(ctx, func(tx *store.Tx) error {
		nid, err := r.known(tx, room)
		if err != nil {
			return err
		}
		if !admin {
			may, err := r.may(tx, user, room, "m.room.canonical_alias")
			if err != nil {
				return err
			}
			if !may {
				return matrix.Forbidden("you may not change whether the room is in the directory")
			}
		}
		return publish(tx, nid, room, public)
	})
}

// RoomEntry is a room as the directory shows it.
//
// Spec: CS PublishedRoomsChunk.
type RoomEntry struct {
	RoomID           matrix.RoomID `json:"room_id"`
	Name             string        `json:"name,omitempty"`
	Topic            string        `json:"topic,omitempty"`
	CanonicalAlias   string        `json:"canonical_alias,omitempty"`
	AvatarURL        string        `json:"avatar_url,omitempty"`
	JoinRule         string        `json:"join_rule,omitempty"`
	RoomType         string        `json:"room_type,omitempty"`
	NumJoinedMembers int64         `json:"num_joined_members"`
	WorldReadable    bool          `json:"world_readable"`
	GuestCanJoin     bool          `json:"guest_can_join"`
}

// DirectoryQuery asks for a part of the directory.
type DirectoryQuery struct {
	Search   string    // in name, topic and canonical alias; empty: all
	Types    []*string // wanted room types, nil among them for rooms without; empty: all
	Networks bool      // with the directories of the networks of application services
	Since    string    // token of a part given before
	Limit    int
}

// Directory is a part of the directory.
type Directory struct {
	Rooms []RoomEntry
	Next  string // token; empty: nothing more
	Prev  string // token; empty: nothing before
	Total int    // how many rooms there are in all; 0: that is not known
}

// directoryScan bounds how many rooms one request looks at.
const directoryScan = 5000

// Directory lists the rooms that are in this server's directory, the largest first.
//
// Spec: POST /_matrix/client/v3/publicRooms
func (r *Rooms) Directory(ctx context.Context, q DirectoryQuery) (out *Directory, err error) {
	from, err := parseDirectoryToken(q.Since)
	if err != nil {
		return nil, err
	}
	err = r.db.View(ctx, func(tx *store.Tx) error {
		if out, err = r.directoryPart(tx, q, from); err != nil {
			return err
		}
		switch {
		case q.Search == "" && len(q.Types) == 0:
			out.Total, err = countPublished(tx, q.Networks)
		case out.Prev == "" && out.Next == "":
			out.Total = len(out.Rooms)
		}
		return err
	})
	return out, err
}

// directoryPart reads a part of the directory, from a place on in the one or the other direction.
func (r *Rooms) directoryPart(tx *store.Tx, q DirectoryQuery, from directoryPlace) (*Directory, error) {
	out := &Directory{Rooms: []RoomEntry{}}
	at, first := from, from
	looked, more := 0, true
	for more {
		part, err := publishedRooms(tx, at, q.Networks, q.Limit+1)
		if err != nil {
			return nil, err
		}
		more = len(part) > q.Limit
		if looked == 0 && len(part) > 0 {
			first.joined, first.nid = part[0].joined, part[0].nid
		}
		for _, p := range part {
			if len(out.Rooms) == q.Limit {
				more = true
				break
			}
			at.joined, at.nid = p.joined, p.nid
			e, err := r.entry(tx, p)
			if err != nil {
				return nil, err
			}
			if q.wants(e) {
				out.Rooms = append(out.Rooms, e)
			}
		}
		if looked += len(part); looked >= directoryScan || len(out.Rooms) == q.Limit {
			break
		}
	}
	ahead, behind := "", ""
	if more {
		ahead = at.token()
	}
	if q.Since != "" {
		first.back = !from.back
		behind = first.token()
	}
	if from.back {
		slices.Reverse(out.Rooms)
		ahead, behind = behind, ahead
	}
	out.Next, out.Prev = ahead, behind
	return out, nil
}

// directoryPlace is a place in the order of the directory, from which one goes on, or back.
type directoryPlace struct {
	joined int64
	nid    RoomNID
	back   bool
}

func (p directoryPlace) token() string {
	direction := "d"
	if p.back {
		direction = "u"
	}
	return direction + strconv.FormatInt(p.joined, 10) + "_" + p.nid.String()
}

func parseDirectoryToken(s string) (p directoryPlace, err error) {
	if s == "" {
		return directoryPlace{joined: maxSeq}, nil
	}
	rest, back := strings.CutPrefix(s, "u")
	a, b, ok := strings.Cut(strings.TrimPrefix(rest, "d"), "_")
	joined, err1 := strconv.ParseInt(a, 10, 64)
	n, err2 := strconv.ParseInt(b, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return p, matrix.InvalidParam("since is not a token of this server's room directory")
	}
	return directoryPlace{joined, RoomNID(n), back}, nil
}

// wants says whether a room is asked for.
func (q DirectoryQuery) wants(e RoomEntry) bool {
	if len(q.Types) > 0 {
		found := false
		for _, t := range q.Types {
			found = found || t == nil && e.RoomType == "" || t != nil && *t == e.RoomType && *t != ""
		}
		if !found {
			return false
		}
	}
	if q.Search == "" {
		return true
	}
	term := strings.ToLower(q.Search)
	for _, text := range []string{e.Name, e.Topic, e.CanonicalAlias} {
		if strings.Contains(strings.ToLower(text), term) {
			return true
		}
	}
	return false
}

// entry sums up a room for the directory.
func (r *Rooms) entry(tx *store.Tx, p publishedRoom) (RoomEntry, error) {
	e := RoomEntry{NumJoinedMembers: p.joined, JoinRule: "invite"}
	st, err := r.states.Load(tx, p.snap)
	if err != nil {
		return e, err
	}
	fields := []struct {
		tp, field string
		set       func(string)
	}{
		{"m.room.create", "type", func(s string) { e.RoomType = s }},
		{"m.room.name", "name", func(s string) { e.Name = s }},
		{"m.room.topic", "topic", func(s string) { e.Topic = s }},
		{"m.room.canonical_alias", "alias", func(s string) { e.CanonicalAlias = s }},
		{"m.room.avatar", "url", func(s string) { e.AvatarURL = s }},
		{"m.room.join_rules", "join_rule", func(s string) { e.JoinRule = s }},
		{"m.room.history_visibility", "history_visibility", func(s string) { e.WorldReadable = s == "world_readable" }},
		{"m.room.guest_access", "guest_access", func(s string) { e.GuestCanJoin = s == "can_join" }},
	}
	for _, f := range fields {
		ev, err := r.StateEvent(tx, st, f.tp, "")
		if err != nil {
			return e, err
		}
		if ev == nil {
			continue
		}
		e.RoomID = ev.RoomID()
		var content map[string]json.RawMessage
		var text string
		if json.Unmarshal(ev.Content(), &content) == nil && json.Unmarshal(content[f.field], &text) == nil {
			f.set(text) // what is not text is as if not there
		}
	}
	return e, nil
}
