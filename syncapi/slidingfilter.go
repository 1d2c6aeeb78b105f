package syncapi

import (
	"fmt"

	"astrocyte/account"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// requestFilter is a filter of a list as clients write it, in both forms.
type requestFilter struct {
	DM        *bool            `json:"is_dm"`
	Encrypted *bool            `json:"is_encrypted"`
	Invite    *bool            `json:"is_invite"`  // as it is deployed
	Invited   *bool            `json:"is_invited"` // as it was accepted
	Types     *[]*string       `json:"room_types"`
	NotTypes  []*string        `json:"not_room_types"`
	Spaces    *[]matrix.RoomID `json:"spaces"`
	Tags      *[]string        `json:"tags"`
	NotTags   []string         `json:"not_tags"`
}

// listFilter says which rooms a list has. What is nil does not matter.
type listFilter struct {
	dm, encrypted, invited *bool
	types                  map[string]bool // empty: rooms without a type
	notTypes               map[string]bool
	spaces                 []matrix.RoomID
	inSpaces               bool // only rooms of the spaces
	tags                   map[string]bool
	notTags                map[string]bool
}

func parseListFilter(f *requestFilter) (listFilter, error) {
	if f == nil {
		return listFilter{}, nil
	}
	out := listFilter{dm: f.DM, encrypted: f.Encrypted, invited: f.Invited, notTypes: typeSet(f.NotTypes), notTags: tagSet(f.NotTags)}
	if out.invited == nil {
		out.invited = f.Invite
	}
	n := len(f.NotTypes) + len(f.NotTags)
	if f.Types != nil && len(*f.Types) > 0 {
		out.types = typeSet(*f.Types)
		n += len(*f.Types)
	}
	if f.Spaces != nil && len(*f.Spaces) > 0 {
		out.spaces, out.inSpaces = *f.Spaces, true
		n += len(*f.Spaces)
	}
	if f.Tags != nil && len(*f.Tags) > 0 {
		out.tags = tagSet(*f.Tags)
		n += len(*f.Tags)
	}
	if n > slidingFilterMost {
		return out, matrix.InvalidParam("the lists of a filter have at most %d entries", slidingFilterMost)
	}
	return out, nil
}

// typeSet makes a set of room types; null stands for none.
func typeSet(list []*string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, tp := range list {
		if tp == nil {
			set[""] = true
		} else {
			set[*tp] = true
		}
	}
	return set
}

func tagSet(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, tag := range list {
		set[tag] = true
	}
	return set
}

// sorting is what filters ask of a user's account, read when the first of them asks.
type sorting struct {
	dms    map[matrix.RoomID]bool
	tags   map[matrix.RoomID][]string
	spaces map[matrix.RoomID]map[matrix.RoomID]bool
}

// passes says whether a room passes the filter of a list.
func (r *slide) passes(f *listFilter, l *listed) (bool, error) {
	invited := l.membership == matrix.Invite
	switch {
	case f.invited != nil && *f.invited != invited,
		f.encrypted != nil && *f.encrypted != l.encrypted,
		f.types != nil && !f.types[l.kind],
		f.notTypes[l.kind]:
		return false, nil
	}
	if f.dm != nil {
		dms, err := r.directRooms()
		if err != nil || dms[l.id] != *f.dm {
			return false, err
		}
	}
	if f.tags != nil || len(f.notTags) > 0 {
		if ok, err := r.passesTags(f, l.id); !ok || err != nil {
			return false, err
		}
	}
	if f.inSpaces {
		return r.inSpaces(f.spaces, l.id)
	}
	return true, nil
}

func (r *slide) passesTags(f *listFilter, room matrix.RoomID) (bool, error) {
	if r.sorting.tags == nil {
		r.sorting.tags = make(map[matrix.RoomID][]string)
		data, err := account.ReadDataOfType(r.tx, r.viewer.User, "m.tag")
		if err != nil {
			return false, fmt.Errorf("read the tags of %s: %w", r.viewer.User, err)
		}
		for _, d := range data {
			tags, _ := canonicaljson.Field(d.Content, "tags")
			for w := canonicaljson.Walk(tags); w.Next(); {
				r.sorting.tags[d.Room] = append(r.sorting.tags[d.Room], w.Key())
			}
		}
	}
	wanted := f.tags == nil
	for _, tag := range r.sorting.tags[room] {
		if f.notTags[tag] {
			return false, nil
		}
		wanted = wanted || f.tags[tag]
	}
	return wanted, nil
}

// directRooms are the rooms that the user's account data calls direct chats.
func (r *slide) directRooms() (map[matrix.RoomID]bool, error) {
	if r.sorting.dms != nil {
		return r.sorting.dms, nil
	}
	r.sorting.dms = make(map[matrix.RoomID]bool)
	raw, _, err := account.ReadAccountData(r.tx, r.viewer.User, "", "m.direct")
	if err != nil {
		return nil, fmt.Errorf("read the direct chats of %s: %w", r.viewer.User, err)
	}
	for w := canonicaljson.Walk(raw); w.Next(); {
		for rooms := canonicaljson.WalkArray(w.Value()); rooms.Next(); {
			if room, ok := canonicaljson.Text(rooms.Value()); ok {
				r.sorting.dms[matrix.RoomID(room)] = true
			}
		}
	}
	return r.sorting.dms, nil
}

// inSpaces says whether a room is a child of any of the spaces that the user is joined to.
func (r *slide) inSpaces(spaces []matrix.RoomID, room matrix.RoomID) (bool, error) {
	for _, space := range spaces {
		children, known := r.sorting.spaces[space]
		if !known {
			var err error
			if children, err = r.childrenOf(space); err != nil {
				return false, err
			}
			if r.sorting.spaces == nil {
				r.sorting.spaces = make(map[matrix.RoomID]map[matrix.RoomID]bool)
			}
			r.sorting.spaces[space] = children
		}
		if children[room] {
			return true, nil
		}
	}
	return false, nil
}

// childrenOf finds the children of a space; none, where the user is not joined to it.
func (r *slide) childrenOf(space matrix.RoomID) (map[matrix.RoomID]bool, error) {
	l := r.listing.byID(space)
	if l == nil || l.membership != matrix.Join {
		return nil, nil
	}
	now, err := r.recent(l.room, 0)
	if err != nil {
		return nil, err
	}
	st, err := r.a.rooms.State(r.tx, now.head.Snap)
	if err != nil {
		return nil, fmt.Errorf("load the state of the space %s: %w", space, err)
	}
	events, err := r.eventsOfType(st, "m.space.child")
	if err != nil {
		return nil, err
	}
	children := make(map[matrix.RoomID]bool, len(events))
	for key, e := range events {
		via, _ := canonicaljson.Field(e.Content(), "via")
		if e.RedactedBy == 0 && len(via) > 0 && via[0] == '[' {
			children[matrix.RoomID(key)] = true
		}
	}
	return children, nil
}
