package account

import (
	"slices"
	"strings"
)

// Matches says whether the filter lets an event of a sender and type through.
//
// Spec: CS "Filtering" (EventFilter).
func (f *EventFilter) Matches(sender, tp string) bool {
	switch {
	case slices.Contains(f.NotSenders, sender), f.Senders != nil && !slices.Contains(f.Senders, sender):
		return false
	case slices.ContainsFunc(f.NotTypes, func(p string) bool { return typeMatches(p, tp) }):
		return false
	}
	return f.Types == nil || slices.ContainsFunc(f.Types, func(p string) bool { return typeMatches(p, tp) })
}

// typeMatches holds a type against a pattern in which * stands for any text.
func typeMatches(pattern, tp string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == tp
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(tp) < len(first)+len(last) || !strings.HasPrefix(tp, first) || !strings.HasSuffix(tp, last) {
		return false
	}
	rest := tp[len(first) : len(tp)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return true
}

// MatchesRoom says whether the filter lets events of a room through.
func (f *RoomEventFilter) MatchesRoom(room string) bool {
	return roomMatches(f.Rooms, f.NotRooms, room)
}

// MatchesRoom says whether the filter lets a room through.
func (f *RoomFilter) MatchesRoom(room string) bool { return roomMatches(f.Rooms, f.NotRooms, room) }

func roomMatches(rooms, not []string, room string) bool {
	return !slices.Contains(not, room) && (rooms == nil || slices.Contains(rooms, room))
}

// MatchesRelation says whether the filter lets an event through that is something to another, or nothing
// where kind is empty.
//
// Extension: MSC3874.
func (f *RoomEventFilter) MatchesRelation(kind string) bool {
	return !slices.Contains(f.NotRelTypes, kind) && (f.RelTypes == nil || slices.Contains(f.RelTypes, kind))
}

// MatchesURL says whether the filter lets an event through that has a url in its content, or has none.
func (f *RoomEventFilter) MatchesURL(has bool) bool {
	return f.ContainsURL == nil || *f.ContainsURL == has
}
