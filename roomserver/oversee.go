package roomserver

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Overview is a room as administrators see it, whether they are in it or not.
type Overview struct {
	RoomEntry
	Version     string
	Creator     matrix.UserID
	Encryption  string // the algorithm; empty: not encrypted
	Visibility  string // of the history
	GuestAccess string
	Federated   bool
	Public      bool // in the directory
	LocalJoined int64
	StateEvents int
}

// OverviewQuery asks for a part of all rooms.
type OverviewQuery struct {
	Search   string // in id, name and canonical alias; empty: all
	Public   *bool  // those in the directory alone, or those that are not
	Empty    *bool  // those without a member alone, or those with
	Order    string // name, joined_members, joined_local_members, version, creator, state_events, room_id
	Backward bool
	Skip     int64
	Limit    int
}

// overseeMost bounds how many rooms one request looks at.
const overseeMost = 20_000

// Overviews lists the rooms that are asked for, and counts them all. The largest rooms are looked at, where
// there are more than can be.
func (r *Rooms) Overviews(ctx context.Context, q OverviewQuery) (part []Overview, total int64, err error) {
	var all []Overview
	err = r.db.View(ctx, func(tx *store.Tx) error {
		rooms, err := allRooms(tx, overseeMost)
		if err != nil {
			return err
		}
		for _, p := range rooms {
			o, err := r.overview(tx, p)
			if err != nil {
				return err
			}
			if q.wants(&o) {
				all = append(all, o)
			}
		}
		return nil
	})
	slices.SortStableFunc(all, q.compare)
	total = int64(len(all))
	from := min(q.Skip, total)
	return all[from:min(from+int64(q.Limit), total)], total, err
}

// Overview tells of one room.
func (r *Rooms) Overview(ctx context.Context, id matrix.RoomID) (o Overview, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		h, err := r.headOf(tx, id)
		if err != nil {
			return err
		}
		o, err = r.overview(tx, publishedRoom{nid: h.Room, joined: h.Joined, snap: h.Snap})
		return err
	})
	return o, err
}

// OverseenState is the whole state of a room, for administrators.
func (r *Rooms) OverseenState(ctx context.Context, id matrix.RoomID) (out []*ClientEvent, err error) {
	err = r.db.View(ctx, func(tx *store.Tx) error {
		h, err := r.headOf(tx, id)
		if err != nil {
			return err
		}
		st, err := r.states.Load(tx, h.Snap)
		if err != nil {
			return err
		}
		out, err = r.RenderState(tx, Viewer{}, eventNIDs(st))
		return err
	})
	return out, err
}

// OverseenMembers are the users who are in a room, for administrators.
func (r *Rooms) OverseenMembers(ctx context.Context, id matrix.RoomID) ([]matrix.UserID, error) {
	out := []matrix.UserID{}
	err := r.db.View(ctx, func(tx *store.Tx) error {
		h, err := r.headOf(tx, id)
		if err != nil {
			return err
		}
		members, err := r.Members(tx, h.Room, matrix.Join, int(h.Joined))
		for _, m := range members {
			out = append(out, m.User)
		}
		return err
	})
	return out, err
}

// headOf finds a room that this server is or was in.
func (r *Rooms) headOf(tx *store.Tx, id matrix.RoomID) (Head, error) {
	nid, known, err := r.NID(tx, id)
	if err != nil {
		return Head{}, err
	}
	heads, err := r.Heads(tx, []RoomNID{nid})
	if err != nil {
		return Head{}, err
	}
	h, there := heads[nid]
	if !known || !there {
		return Head{}, matrix.NotFound("there is no room %s", id)
	}
	return h, nil
}

func (r *Rooms) overview(tx *store.Tx, p publishedRoom) (o Overview, err error) {
	if o.RoomEntry, err = r.entry(tx, p); err != nil {
		return o, err
	}
	if o.Public, err = isPublished(tx, p.nid); err != nil {
		return o, err
	}
	if o.LocalJoined, err = joinedFrom(tx, p.nid, r.server); err != nil {
		return o, err
	}
	st, err := r.states.Load(tx, p.snap)
	if err != nil {
		return o, err
	}
	o.StateEvents, o.Federated = len(st.Entries()), true
	create, err := r.StateEvent(tx, st, "m.room.create", "")
	if err != nil {
		return o, err
	}
	if create != nil {
		o.RoomID, o.Version, o.Creator = create.RoomID(), string(create.Version().ID), create.Sender()
		var content struct {
			Federated *bool `json:"m.federate"`
		}
		o.Federated = json.Unmarshal(create.Content(), &content) != nil || content.Federated == nil || *content.Federated
	}
	texts := []struct {
		tp, field string
		into      *string
	}{
		{"m.room.encryption", "algorithm", &o.Encryption},
		{"m.room.history_visibility", "history_visibility", &o.Visibility},
		{"m.room.guest_access", "guest_access", &o.GuestAccess},
	}
	for _, f := range texts {
		e, err := r.StateEvent(tx, st, f.tp, "")
		if err != nil {
			return o, err
		}
		var content map[string]json.RawMessage
		if e != nil && json.Unmarshal(e.Content(), &content) == nil {
			_ = json.Unmarshal(content[f.field], f.into) // what is not text is as if not there
		}
	}
	return o, nil
}

func (q *OverviewQuery) wants(o *Overview) bool {
	if q.Public != nil && *q.Public != o.Public || q.Empty != nil && *q.Empty != (o.NumJoinedMembers == 0) {
		return false
	}
	term := strings.ToLower(q.Search)
	return term == "" || string(o.RoomID) == q.Search ||
		strings.Contains(strings.ToLower(o.Name), term) || strings.Contains(strings.ToLower(o.CanonicalAlias), term)
}

func (q *OverviewQuery) compare(a, b Overview) int {
	order := 0
	switch q.Order {
	case "joined_members", "size":
		order = cmp.Compare(b.NumJoinedMembers, a.NumJoinedMembers)
	case "joined_local_members":
		order = cmp.Compare(b.LocalJoined, a.LocalJoined)
	case "state_events":
		order = cmp.Compare(b.StateEvents, a.StateEvents)
	case "version":
		order = cmp.Compare(a.Version, b.Version)
	case "creator":
		order = cmp.Compare(a.Creator, b.Creator)
	case "room_id":
	default:
		order = cmp.Compare(strings.ToLower(cmp.Or(a.Name, a.CanonicalAlias)), strings.ToLower(cmp.Or(b.Name, b.CanonicalAlias)))
	}
	order = cmp.Or(order, cmp.Compare(a.RoomID, b.RoomID))
	if q.Backward {
		return -order
	}
	return order
}
