package roomserver

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

// childrenMost bounds of how many children of a space another server is told.
const childrenMost = 500

// HierarchyRoom is a room below a space, with its own children.
type HierarchyRoom struct {
	RoomSummary
	Children []SpaceChild `json:"children_state"`
}

// SpaceChild is an m.space.child event as those see it who are not in the space.
type SpaceChild struct {
	Stripped
	OriginServerTS int64 `json:"origin_server_ts"`
}

// SpaceRoom looks at a room as a user sees it from outside, with its children where it is a space; with suggested
// only with those that are. here: this server is in the room, and can tell. Who may not know of the room gets nil.
//
// Spec: GET /_matrix/client/v1/rooms/{roomId}/hierarchy
func (r *Rooms) SpaceRoom(ctx context.Context, user matrix.UserID, id matrix.RoomID, suggested bool) (room *HierarchyRoom, here bool, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		if here, err = r.here(tx, id); err != nil || !here {
			return err
		}
		o, err := r.outside(tx, user, id)
		if err != nil || o == nil {
			return err
		}
		room, err = r.spaceRoom(tx, o, suggested)
		return err
	})
	return room, here, err
}

// TakesPart says whether a user of this server is in a room.
func (r *Rooms) TakesPart(tx *store.Tx, room RoomNID) (bool, error) {
	return serverIn(tx, room, r.server)
}

// Here says whether this server can tell of a room: it is in it, or nobody is.
func (r *Rooms) Here(ctx context.Context, id matrix.RoomID) (here bool, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		here, err = r.here(tx, id)
		return err
	})
	return here, err
}

// here says whether this server can tell of a room: it is in it, or nobody is.
func (r *Rooms) here(tx *store.Tx, id matrix.RoomID) (bool, error) {
	nid, ok, err := r.NID(tx, id)
	if err != nil || !ok {
		return false, err
	}
	in, err := serverIn(tx, nid, r.server)
	if err != nil || in {
		return in, err
	}
	others, err := readServersIn(tx, nid, r.server)
	return len(others) == 0, err
}

func (r *Rooms) spaceRoom(tx *store.Tx, o *outsider, suggested bool) (*HierarchyRoom, error) {
	children, err := r.children(tx, o, suggested)
	if err != nil {
		return nil, fmt.Errorf("read the children of the space %s: %w", o.head.ID, err)
	}
	s, err := r.summary(tx, o)
	if err != nil {
		return nil, err
	}
	return &HierarchyRoom{RoomSummary: *s, Children: children}, nil
}

// SpaceForServer is a room as another server may know of it, with what this one can tell of its children.
//
// Spec: GET /_matrix/federation/v1/hierarchy/{roomId}
type SpaceForServer struct {
	Room         HierarchyRoom   `json:"room"`
	Children     []RoomSummary   `json:"children"`
	Inaccessible []matrix.RoomID `json:"inaccessible_children"`
}

// SpaceFor looks at a room as another server may know of it. Children of which this server cannot tell are left
// out.
//
// Spec: GET /_matrix/federation/v1/hierarchy/{roomId}
func (r *Rooms) SpaceFor(ctx context.Context, server matrix.ServerName, id matrix.RoomID, suggested bool) (*SpaceForServer, error) {
	var out *SpaceForServer
	err := r.db.View(ctx, func(tx *store.Tx) error {
		out = &SpaceForServer{Children: []RoomSummary{}, Inaccessible: []matrix.RoomID{}}
		o, here, err := r.outsideFor(tx, server, id)
		if err != nil {
			return err
		}
		if !here || o == nil {
			return matrix.NotFound("there is no room %s that you may know of", id)
		}
		room, err := r.spaceRoom(tx, o, suggested)
		if err != nil {
			return err
		}
		out.Room = *room
		return r.addChildrenFor(tx, server, out)
	})
	return out, err
}

func (r *Rooms) addChildrenFor(tx *store.Tx, server matrix.ServerName, out *SpaceForServer) error {
	for _, c := range out.Room.Children[:min(len(out.Room.Children), childrenMost)] {
		child := matrix.RoomID(c.StateKey)
		o, here, err := r.outsideFor(tx, server, child)
		switch {
		case err != nil:
			return err
		case !here:
			continue
		case o == nil:
			out.Inaccessible = append(out.Inaccessible, child)
			continue
		}
		s, err := r.summary(tx, o)
		if err != nil {
			return err
		}
		out.Children = append(out.Children, *s)
	}
	return nil
}

// outsideFor looks at a room from outside for a server. here: this server is in it; nil: the other may not know
// of it.
func (r *Rooms) outsideFor(tx *store.Tx, server matrix.ServerName, id matrix.RoomID) (o *outsider, here bool, err error) {
	if here, err = r.here(tx, id); err != nil || !here {
		return nil, false, err
	}
	o, err = r.look(tx, id)
	if err != nil || o == nil {
		return nil, true, err
	}
	ok, err := r.enterableFor(tx, server, o)
	if err != nil || !ok {
		return nil, true, err
	}
	return o, true, nil
}

// children finds the rooms that a space has, in their order. Other rooms have none.
func (r *Rooms) children(tx *store.Tx, o *outsider, suggested bool) ([]SpaceChild, error) {
	create, err := r.StateEvent(tx, o.state, "m.room.create", "")
	if err != nil || create == nil || create.roomType() != "m.space" {
		return []SpaceChild{}, err
	}
	nids, err := r.typeNIDs(tx, o.head.Snap, "m.space.child")
	if err != nil {
		return nil, err
	}
	events, err := r.Events(tx, nids)
	if err != nil {
		return nil, err
	}
	var all []SpaceChild
	for _, e := range events {
		if key, is := e.StateKey(); is && e.RedactedBy == 0 {
			all = append(all, SpaceChild{
				Stripped:       Stripped{Content: e.Content(), Sender: e.Sender(), StateKey: key, Type: e.Type()},
				OriginServerTS: e.OriginServerTS(),
			})
		}
	}
	return OrderChildren(all, suggested), nil
}

// OrderChildren gives the children of a space in their order, without those that are none, or no more; with
// suggested only those that are.
//
// Spec: CS "Ordering of children within a space".
func OrderChildren(children []SpaceChild, suggested bool) []SpaceChild {
	var all []spaceChild
	for _, c := range children {
		if read, ok := readSpaceChild(c); ok && (read.suggested || !suggested) {
			all = append(all, read)
		}
	}
	slices.SortFunc(all, spaceChild.compare)
	out := make([]SpaceChild, len(all))
	for i, c := range all {
		out[i] = c.SpaceChild
	}
	return out
}

// Via lists the servers by which a child can be reached.
func (c SpaceChild) Via() []matrix.ServerName {
	var content struct {
		Via []string `json:"via"`
	}
	if json.Unmarshal(c.Content, &content) != nil {
		return nil
	}
	var via []matrix.ServerName
	for _, text := range content.Via {
		if server, err := matrix.ParseServerName(text); err == nil {
			via = append(via, server)
		}
	}
	return via
}

// roomType is the type that a create event gives the room.
func (e *Event) roomType() string {
	value, _ := canonicaljson.Field(e.Content(), "type")
	tp, _ := canonicaljson.Text(value)
	return tp
}

// spaceChild is a child with what orders it.
type spaceChild struct {
	SpaceChild
	order     string // empty: none
	suggested bool
}

// readSpaceChild reads an m.space.child event; false: it names no child, or no more.
//
// Spec: CS m.space.child.
func readSpaceChild(c SpaceChild) (spaceChild, bool) {
	if _, err := matrix.ParseRoomID(c.StateKey); err != nil || c.Type != "m.space.child" {
		return spaceChild{}, false
	}
	var content struct {
		Via       []string        `json:"via"`
		Order     json.RawMessage `json:"order"`
		Suggested json.RawMessage `json:"suggested"`
	}
	if json.Unmarshal(c.Content, &content) != nil || len(content.Via) == 0 {
		return spaceChild{}, false
	}
	read := spaceChild{SpaceChild: c, suggested: string(content.Suggested) == "true"}
	if order, ok := canonicaljson.Text(content.Order); ok && validOrder(order) {
		read.order = order
	}
	return read, true
}

// validOrder says whether a text may order a child: at most 50 printable ASCII characters.
func validOrder(s string) bool {
	return len(s) <= 50 && !strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c > 0x7e })
}

func (c spaceChild) compare(d spaceChild) int {
	if (c.order == "") != (d.order == "") {
		if c.order == "" {
			return 1
		}
		return -1
	}
	return cmp.Or(
		strings.Compare(c.order, d.order),
		cmp.Compare(c.OriginServerTS, d.OriginServerTS),
		strings.Compare(c.StateKey, d.StateKey),
	)
}
