package roomserver

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/store"
)

// Creation is a wish for a new room.
//
// Spec: POST /_matrix/client/v3/createRoom
type Creation struct {
	Creator   matrix.UserID
	Profile   Profile // of the creator
	Version   matrix.RoomVersion
	Preset    Preset
	Content   map[string]json.RawMessage // of the create event
	Levels    map[string]json.RawMessage // members of the power levels that replace the preset's
	State     []StateWish
	Name      string
	Topic     string
	Alias     matrix.RoomAlias // empty: none
	Published bool             // in the server's directory
	Invite    []Invitee
	Direct    bool
	// Also writes what has to be true when the room is there, in the same transaction. It may be nil.
	Also func(tx *store.Tx, id matrix.RoomID) error

	at   int64      // when it was wished, in milliseconds: the time of all its first events
	name string     // of an upgrade: the local part of the new room's id, so that it stays the same when it is tried again
	last *StateWish // of an upgrade: the power levels that the new room has in the end

	kept json.RawMessage // of an upgrade: the canonical aliases that the old room has in the end; nil: as they are
}

// StateWish is a state event that a new room begins with.
type StateWish struct {
	Type     string          `json:"type"`
	StateKey string          `json:"state_key"`
	Content  json.RawMessage `json:"content"`
}

// Invitee is somebody whom the creator invites.
type Invitee struct {
	User    matrix.UserID
	Profile Profile
}

// Preset is a set of defaults of a new room.
type Preset string

// The presets of the specification.
const (
	PrivateChat        Preset = "private_chat"
	TrustedPrivateChat Preset = "trusted_private_chat"
	PublicChat         Preset = "public_chat"
)

// Create makes a room with all its first events, or nothing.
func (r *Rooms) Create(ctx context.Context, c Creation) (matrix.RoomID, error) {
	v, err := version(string(c.Version))
	if err != nil {
		return "", err
	}
	c.at = r.creationTime()
	drafts, err := c.drafts(v)
	if err != nil {
		return "", err
	}
	for _, i := range c.Invite {
		if err := r.mayInvite(ctx, c.Creator, i.User); err != nil {
			return "", err
		}
	}
	nid, err := r.newNID(ctx)
	if err != nil {
		return "", err
	}
	var id matrix.RoomID
	err = r.commit(ctx, nil, func(b *batch) error {
		h, err := b.create(nid, v, c, drafts)
		if err == nil {
			id = h.id
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// creationTime is the time of a new room's first events. It is another one for each room: rooms that begin alike at the same
// time would be one room, where the id is made of the create event.
func (r *Rooms) creationTime() int64 {
	for {
		last := r.created.Load()
		if at := max(r.now().UnixMilli(), last+1); r.created.CompareAndSwap(last, at) {
			return at
		}
	}
}

// newNID makes the number of a new room, in a shard by chance.
func (r *Rooms) newNID(ctx context.Context) (RoomNID, error) {
	n, err := r.db.Nids(ctx, "rooms", 1)
	if err != nil {
		return 0, fmt.Errorf("name a room: %w", err)
	}
	return RoomNID(n<<8 | int64(randomByte())), nil
}

// roomID is the id of a new room, of a version in which it is not made of the create event.
func (c *Creation) roomID(server matrix.ServerName) matrix.RoomID {
	return matrix.RoomID("!" + cmp.Or(c.name, randomText()) + ":" + string(server))
}

// create stages a new room with its first events.
func (b *batch) create(nid RoomNID, v *rules.Version, c Creation, drafts []Draft) (*head, error) {
	if err := b.aliasIsFree(c.Alias); err != nil {
		return nil, err
	}
	h := &head{nid: nid, version: v, fresh: true}
	if !v.RoomIDIsHash {
		h.id = c.roomID(b.r.server)
	}
	b.rooms[nid] = h
	for _, d := range drafts {
		if _, err := b.append(h, &d); err != nil {
			return nil, fmt.Errorf("create a room: %w", notValid(err))
		}
	}
	b.later = append(b.later, func() error { return b.register(h, c) })
	return h, nil
}

// notValid tells a creator that the room as wished cannot be.
func notValid(err error) error {
	var e *matrix.Error
	if errors.As(err, &e) && e.Code == matrix.CodeForbidden {
		return matrix.E(matrix.CodeInvalidRoomState, "the room cannot be made like this: %s", e.Message)
	}
	return err
}

// register makes a new room known by its id, its alias and in the directory.
func (b *batch) register(h *head, c Creation) error {
	if err := insertRoomID(b.tx, h); err != nil {
		return fmt.Errorf("register room %s: %w", h.id, err)
	}
	if c.Alias != "" {
		if err := insertAlias(b.tx, c.Alias, h.nid, h.id, c.Creator); err != nil {
			return fmt.Errorf("register alias %s: %w", c.Alias, err)
		}
	}
	if c.Published {
		if err := publish(b.tx, h.nid, h.id, true); err != nil {
			return fmt.Errorf("publish room %s: %w", h.id, err)
		}
	}
	if c.Also != nil {
		return c.Also(b.tx, h.id)
	}
	return nil
}

func (b *batch) aliasIsFree(alias matrix.RoomAlias) error {
	if alias == "" {
		return nil
	}
	_, taken, err := aliasRoom(b.tx, alias)
	if err == nil && taken {
		err = matrix.E(matrix.CodeRoomInUse, "the alias %s is taken", alias)
	}
	return err
}

// drafts are the events of a new room, in the order of the specification.
func (c Creation) drafts(v *rules.Version) ([]Draft, error) {
	create, err := c.createContent(v)
	if err != nil {
		return nil, err
	}
	levels, err := c.levels(v)
	if err != nil {
		return nil, err
	}
	join := Change{Membership: matrix.Join, Profile: c.Profile}.content()
	var out []Draft
	add := func(tp, key string, content any) error {
		raw, err := json.Marshal(content)
		if err != nil {
			return fmt.Errorf("write a %s event: %w", tp, err)
		}
		out = append(out, Draft{Sender: c.Creator, Type: tp, StateKey: &key, Content: raw})
		return nil
	}
	type first struct {
		tp, key string
		content any
	}
	all := []first{{"m.room.create", "", create}, {"m.room.member", string(c.Creator), join}, {"m.room.power_levels", "", levels}}
	if c.Alias != "" {
		all = append(all, first{"m.room.canonical_alias", "", map[string]any{"alias": c.Alias}})
	}
	for _, p := range c.Preset.state() {
		if !slices.ContainsFunc(c.State, func(s StateWish) bool { return s.Type == p.Type && s.StateKey == "" }) {
			all = append(all, first{p.Type, "", p.Content})
		}
	}
	for _, s := range c.State {
		all = append(all, first{s.Type, s.StateKey, s.Content})
	}
	if c.Name != "" {
		all = append(all, first{"m.room.name", "", map[string]any{"name": c.Name}})
	}
	if c.Topic != "" {
		all = append(all, first{"m.room.topic", "", topicContent(c.Topic)})
	}
	for _, i := range c.Invite {
		if i.User.Server() != c.Creator.Server() {
			continue // their server signs the invite first: it comes when the room is there
		}
		invite := Change{Membership: matrix.Invite, Profile: i.Profile, Direct: c.Direct}
		all = append(all, first{"m.room.member", string(i.User), invite.content()})
	}
	for _, f := range all {
		if err := add(f.tp, f.key, f.content); err != nil {
			return nil, err
		}
	}
	for i := range out {
		out[i].Timestamp = c.at
	}
	return out, nil
}

// topicContent is a topic in plain text, in both forms that clients read.
//
// Spec: CS m.room.topic, m.topic (v1.15).
func topicContent(topic string) map[string]any {
	return map[string]any{
		"topic":   topic,
		"m.topic": map[string]any{"m.text": []any{map[string]any{"body": topic}}},
	}
}

func (c Creation) createContent(v *rules.Version) (map[string]any, error) {
	content := make(map[string]any, len(c.Content)+3)
	for k, raw := range c.Content {
		content[k] = raw
	}
	content["room_version"] = v.ID
	delete(content, "creator")
	if v.CreatorInContent {
		content["creator"] = c.Creator
	}
	if !v.PrivilegedCreators {
		return content, nil
	}
	creators, err := c.creators()
	if err != nil || c.Preset != TrustedPrivateChat {
		return content, err
	}
	for _, i := range c.Invite {
		if !slices.Contains(creators, i.User) {
			creators = append(creators, i.User)
		}
	}
	if len(creators) > 0 {
		content["additional_creators"] = creators
	}
	return content, nil
}

// creators reads who makes the room beside its creator.
func (c Creation) creators() ([]matrix.UserID, error) {
	raw, ok := c.Content["additional_creators"]
	if !ok {
		return nil, nil
	}
	var creators []matrix.UserID
	if err := json.Unmarshal(raw, &creators); err != nil {
		return nil, matrix.BadJSON("additional_creators must be a list of user IDs")
	}
	for _, u := range creators {
		if _, err := matrix.ParseUserID(string(u)); err != nil {
			return nil, matrix.BadJSON("additional_creators has %.80q, which is not a user ID", u)
		}
	}
	return creators, nil
}

// levels are the power levels of a new room: what the preset says, and above it what the creator wants.
func (c Creation) levels(v *rules.Version) (map[string]any, error) {
	users := map[matrix.UserID]int64{}
	if !v.PrivilegedCreators {
		users[c.Creator] = 100
		if c.Preset == TrustedPrivateChat {
			for _, i := range c.Invite {
				users[i.User] = 100
			}
		}
	}
	tombstone := int64(100)
	if v.PrivilegedCreators {
		tombstone = 150
	}
	invite := 0
	if c.Preset == PublicChat { // which anybody may join: an invite is a moderator's word there
		invite = 50
	}
	levels := map[string]any{
		"users": users, "users_default": 0, "events_default": 0, "state_default": 50,
		"ban": 50, "kick": 50, "redact": 50, "invite": invite, "historical": 100,
		"events": map[string]int64{
			"m.room.name": 50, "m.room.avatar": 50, "m.room.canonical_alias": 50,
			"m.room.power_levels": 100, "m.room.history_visibility": 100, "m.room.server_acl": 100,
			"m.room.encryption": 100, "m.room.tombstone": tombstone,
		},
	}
	for k, raw := range c.Levels {
		levels[k] = raw
	}
	return levels, nil
}

// state is the state that a preset begins with.
func (p Preset) state() []StateWish {
	join := "invite"
	if p == PublicChat {
		join = "public"
	}
	state := []StateWish{
		{Type: "m.room.join_rules", Content: json.RawMessage(`{"join_rule":"` + join + `"}`)},
		{Type: "m.room.history_visibility", Content: json.RawMessage(`{"history_visibility":"shared"}`)},
	}
	if p == PublicChat {
		return state // guests are kept out where nothing is said of them
	}
	return append(state, StateWish{Type: "m.room.guest_access", Content: json.RawMessage(`{"guest_access":"can_join"}`)})
}

func randomByte() byte {
	var b [1]byte
	rand.Read(b[:]) // never fails
	return b[0]
}

// randomText is an opaque localpart of an identifier: 130 bits.
func randomText() string { return rand.Text() }
