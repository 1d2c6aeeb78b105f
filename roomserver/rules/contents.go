package rules

import (
	"strings"
	"sync/atomic"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// contents caches what was parsed of an event's content: always the same type for a type of event.
// Two goroutines may parse the same content at once; they store equal values.
type contents struct{ parsed atomic.Value }

// parsed gives the content of an event of this type, parsed once; where the event is of another type,
// what an empty content would be.
func parsed[T any](e *Event, tp string, parse func(v *Version, content []byte) *T) *T {
	if e.typ != tp {
		return parse(e.version, nil)
	}
	if known, ok := e.contents.parsed.Load().(*T); ok {
		return known
	}
	p := parse(e.version, e.Content())
	e.contents.parsed.Store(p)
	return p
}

// Create is the content of m.room.create, as far as the server acts on it.
type Create struct {
	// Creators are the users who made the room: the first is the creator. Others are named by the room
	// only where its version knows privileged creators.
	Creators []matrix.UserID
	Federate bool // users of other servers may take part
	RoomType string

	hasCreator   bool // content has a creator, whatever it is
	knownVersion bool
	badCreators  bool // additional_creators is no list of user ids
}

// Create is the parsed content of a create event.
func (e *Event) Create() *Create {
	return parsed(e, "m.room.create", func(v *Version, content []byte) *Create {
		return parseCreate(v, content, e.sender)
	})
}

// Creator is the user who made the room, empty where the event does not tell.
func (c *Create) Creator() matrix.UserID {
	if len(c.Creators) == 0 {
		return ""
	}
	return c.Creators[0]
}

// IsCreator says whether a user is one of those who made the room.
func (c *Create) IsCreator(u matrix.UserID) bool {
	for _, creator := range c.Creators {
		if creator == u {
			return true
		}
	}
	return false
}

func parseCreate(v *Version, content []byte, sender matrix.UserID) *Create {
	// Whatever m.federate is, only true and its absence let others in. Servers agree in this.
	c := &Create{Federate: true, knownVersion: true}
	creator := sender
	var additional []matrix.UserID
	for w := canonicaljson.Walk(content); w.Next(); {
		switch string(w.RawKey()) {
		case "creator":
			c.hasCreator = true
			if v.CreatorInContent {
				name, _ := canonicaljson.Text(w.Value())
				creator = matrix.UserID(name)
			}
		case "m.federate":
			c.Federate = string(w.Value()) == "true"
		case "room_version":
			name, ok := canonicaljson.Text(w.Value())
			_, known := ByID(matrix.RoomVersion(name))
			c.knownVersion = ok && known
		case "type":
			c.RoomType, _ = canonicaljson.Text(w.Value())
		case "additional_creators":
			additional, c.badCreators = userList(w.Value())
		}
	}
	if !v.CreatorInContent || c.hasCreator {
		c.Creators = append(c.Creators, creator)
	}
	if v.PrivilegedCreators {
		c.Creators = append(c.Creators, additional...)
	}
	return c
}

func userList(list []byte) (users []matrix.UserID, bad bool) {
	w := canonicaljson.WalkArray(list)
	for w.Next() {
		name, ok := canonicaljson.Text(w.Value())
		if !ok || !looksLikeUser(name) || len(name) > maxText {
			return nil, true
		}
		users = append(users, matrix.UserID(name))
	}
	return users, w.Err() != nil
}

// looksLikeUser is what all servers hold user ids in the content of events to, and no more: a stricter
// server would set itself apart from the others.
func looksLikeUser(name string) bool {
	return len(name) > 0 && name[0] == '@' && strings.IndexByte(name, ':') >= 0
}

// MemberContent is the content of m.room.member, as far as the server acts on it.
type MemberContent struct {
	Membership  matrix.Membership
	DisplayName string
	AvatarURL   string
	// AuthorisedVia is the user in whose name someone joins a restricted room.
	AuthorisedVia matrix.UserID

	hasMembership bool
	hasAuthorised bool
	thirdParty    []byte // the value of third_party_invite, nil where there is none
}

// MemberContent is the parsed content of a member event.
func (e *Event) MemberContent() *MemberContent { return parsed(e, "m.room.member", parseMember) }

// Membership is the membership that a member event sets, empty in other events.
func (e *Event) Membership() matrix.Membership {
	if e.typ != "m.room.member" {
		return ""
	}
	return e.MemberContent().Membership
}

func parseMember(_ *Version, content []byte) *MemberContent {
	m := new(MemberContent)
	for w := canonicaljson.Walk(content); w.Next(); {
		switch string(w.RawKey()) {
		case "membership":
			m.hasMembership = true
			m.Membership = membership(w.Value())
		case "displayname":
			m.DisplayName, _ = canonicaljson.Text(w.Value())
		case "avatar_url":
			m.AvatarURL, _ = canonicaljson.Text(w.Value())
		case "join_authorised_via_users_server":
			name, _ := canonicaljson.Text(w.Value())
			m.AuthorisedVia, m.hasAuthorised = matrix.UserID(name), true
		case "third_party_invite":
			m.thirdParty = w.Value()
		}
	}
	return m
}

// membership reads a membership without a string of its own for those that are known.
func membership(value []byte) matrix.Membership {
	switch string(value) {
	case `"join"`:
		return matrix.Join
	case `"leave"`:
		return matrix.Leave
	case `"invite"`:
		return matrix.Invite
	case `"ban"`:
		return matrix.Ban
	case `"knock"`:
		return matrix.Knock
	}
	other, _ := canonicaljson.Text(value)
	return matrix.Membership(other)
}

// JoinRules is the content of m.room.join_rules.
type JoinRules struct {
	Rule  string // "invite" where the room has none
	allow []allowedBy
}

type allowedBy struct {
	tp   string
	room matrix.RoomID
}

// JoinRules is the parsed content of a join rules event.
func (e *Event) JoinRules() *JoinRules { return parsed(e, "m.room.join_rules", parseJoinRules) }

// Restricted says whether members of other rooms may join.
func (j *JoinRules) Restricted(v *Version) bool {
	return v.RestrictedJoins && j.Rule == "restricted" || v.KnockRestricted && j.Rule == "knock_restricted"
}

// Knockable says whether anybody may knock.
func (j *JoinRules) Knockable(v *Version) bool {
	return v.Knocking && j.Rule == "knock" || v.KnockRestricted && j.Rule == "knock_restricted"
}

// AllowedRooms are the rooms whose members may join a restricted room.
func (j *JoinRules) AllowedRooms() []matrix.RoomID {
	var rooms []matrix.RoomID
	for _, a := range j.allow {
		if a.tp == "m.room_membership" && a.room != "" {
			rooms = append(rooms, a.room)
		}
	}
	return rooms
}

func parseJoinRules(_ *Version, content []byte) *JoinRules {
	j := &JoinRules{Rule: "invite"}
	for w := canonicaljson.Walk(content); w.Next(); {
		switch string(w.RawKey()) {
		case "join_rule":
			j.Rule, _ = canonicaljson.Text(w.Value())
		case "allow":
			for list := canonicaljson.WalkArray(w.Value()); list.Next(); {
				tp, _ := canonicaljson.Field(list.Value(), "type")
				room, _ := canonicaljson.Field(list.Value(), "room_id")
				var a allowedBy
				a.tp, _ = canonicaljson.Text(tp)
				name, _ := canonicaljson.Text(room)
				a.room = matrix.RoomID(name)
				j.allow = append(j.allow, a)
			}
		}
	}
	return j
}

// HistoryVisibility is who may read the history from a history visibility event on. What is not
// understood counts as shared.
//
// Spec: CS "Room history visibility".
func (e *Event) HistoryVisibility() string {
	return *parsed(e, "m.room.history_visibility", parseHistoryVisibility)
}

func parseHistoryVisibility(_ *Version, content []byte) *string {
	visibility := "shared"
	value, _ := canonicaljson.Field(content, "history_visibility")
	switch string(value) {
	case `"world_readable"`:
		visibility = "world_readable"
	case `"invited"`:
		visibility = "invited"
	case `"joined"`:
		visibility = "joined"
	}
	return &visibility
}

// thirdPartyKeys are the keys of m.room.third_party_invite with which an invite may be signed.
type thirdPartyKeys struct{ keys [][]byte }

func (e *Event) thirdPartyKeys() *thirdPartyKeys {
	return parsed(e, "m.room.third_party_invite", parseThirdPartyKeys)
}

func parseThirdPartyKeys(_ *Version, content []byte) *thirdPartyKeys {
	t := new(thirdPartyKeys)
	add := func(value []byte) {
		if key, ok := canonicaljson.AppendBase64Text(nil, value); ok {
			t.keys = append(t.keys, key)
		}
	}
	for w := canonicaljson.Walk(content); w.Next(); {
		switch string(w.RawKey()) {
		case "public_key":
			add(w.Value())
		case "public_keys":
			for list := canonicaljson.WalkArray(w.Value()); list.Next(); {
				key, _ := canonicaljson.Field(list.Value(), "public_key")
				add(key)
			}
		}
	}
	return t
}
