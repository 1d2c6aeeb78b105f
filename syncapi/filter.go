package syncapi

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"astrocyte/account"
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver"
)

// filter says what a client wants to see.
//
// Spec: CS "Filtering".
type filter struct {
	*account.Filter
	narrow bool // the timeline filter may leave events out
	format roomserver.Format
	fields []fieldPath // nil: all
}

// filterKey names a filter: by its text, or by its id and whose it is.
type filterKey struct {
	user  matrix.UserID
	param string
}

const (
	filtersMemory = 8 << 20
	// filterCost is about what a filter weighs beside its text, in bytes.
	filterCost = 2000
)

// filterOf reads the filter parameter: the id of a saved filter, or a filter itself. What an id stands for
// never changes, and many users have the same.
func (a *API) filterOf(ctx context.Context, user matrix.UserID, param string) (*filter, error) {
	if param == "" || param[0] == '{' {
		return a.parsedFilter(cmp.Or(param, "{}"))
	}
	key := filterKey{user, param}
	if f, ok := a.filters.Get(key); ok {
		return f, nil
	}
	raw, err := a.accounts.Filter(ctx, user, param)
	if err != nil {
		return nil, fmt.Errorf("read filter %.40q: %w", param, err)
	}
	f, err := a.parsedFilter(string(raw))
	if err == nil {
		a.filters.Put(key, f, int64(len(user)+len(param)+100))
	}
	return f, err
}

// parsedFilter reads a filter.
func (a *API) parsedFilter(text string) (*filter, error) {
	key := filterKey{param: text}
	if f, ok := a.filters.Get(key); ok {
		return f, nil
	}
	if err := canonicaljson.Check([]byte(text), canonicaljson.Loose); err != nil {
		return nil, matrix.E(matrix.CodeNotJSON, "the filter is not JSON: %v", err)
	}
	f, err := newFilter(json.RawMessage(text))
	if err == nil {
		a.filters.Put(filterKey{param: strings.Clone(text)}, f, filterCost+5*int64(len(text)))
	}
	return f, err
}

func newFilter(raw json.RawMessage) (*filter, error) {
	parsed, err := account.ParseFilter(raw)
	if err != nil {
		return nil, err
	}
	f := &filter{Filter: parsed, format: roomserver.WithoutRoomID, fields: fieldPaths(parsed.EventFields)}
	if parsed.EventFormat == "federation" {
		f.format = roomserver.Federation
	}
	t := &parsed.Room.Timeline
	f.narrow = t.Types != nil || t.NotTypes != nil || t.Senders != nil || t.NotSenders != nil || t.ContainsURL != nil
	return f, nil
}

// timelineLimit is the most events of one room that an answer has.
func (f *filter) timelineLimit() int {
	if f.Room.Timeline.Limit == nil {
		return defaultLimit
	}
	return min(*f.Room.Timeline.Limit, limitMost)
}

// lazy says whether member events are only sent where they are needed.
func (f *filter) lazy() bool { return f.Room.State.LazyLoadMembers || f.Room.Timeline.LazyLoadMembers }

// redundant says whether member events are sent again that the device already has.
func (f *filter) redundant() bool {
	return f.Room.State.IncludeRedundantMembers || f.Room.Timeline.IncludeRedundantMembers
}

// threads says whether threads are counted apart.
func (f *filter) threads() bool {
	return f.Room.Timeline.UnreadThreadNotifications || f.Room.State.UnreadThreadNotifications
}

func (f *filter) timelineEvent(e *roomserver.ClientEvent) bool {
	return matchesEvent(&f.Room.Timeline, e)
}

func (f *filter) stateEvent(e *roomserver.ClientEvent) bool { return matchesEvent(&f.Room.State, e) }

func matchesEvent(f *account.RoomEventFilter, e *roomserver.ClientEvent) bool {
	if !f.MatchesRoom(string(e.RoomID())) || !f.Matches(string(e.Sender()), e.Type()) {
		return false
	}
	if f.ContainsURL == nil {
		return true
	}
	url, _ := canonicaljson.Field(e.Shown.Content(), "url")
	_, isText := canonicaljson.Text(url)
	return f.MatchesURL(isText)
}

// wantsEphemeral says whether the client wants a kind of ephemeral event of a room.
func (f *filter) wantsEphemeral(room matrix.RoomID, tp string) bool {
	return f.Room.Ephemeral.MatchesRoom(string(room)) && f.Room.Ephemeral.Matches("", tp)
}

// wantsDatum says whether the client wants a piece of account data.
func (f *filter) wantsDatum(user matrix.UserID, d account.AccountDatum) bool {
	if d.Room == "" {
		return f.AccountData.Matches(string(user), d.Type)
	}
	return f.Room.AccountData.MatchesRoom(string(d.Room)) && f.Room.AccountData.Matches(string(user), d.Type)
}

// fieldPath is a member of an event that a client wants, as keys from the outside in.
type fieldPath []string

// fieldPaths reads dot-separated paths, in which a backslash takes the meaning from a dot or a backslash.
//
// Spec: Appendices "Dot-separated property paths".
func fieldPaths(list []string) []fieldPath {
	if list == nil {
		return nil
	}
	paths := make([]fieldPath, 0, len(list))
	for _, text := range list {
		var path fieldPath
		var key strings.Builder
		for i := 0; i < len(text); i++ {
			switch c := text[i]; {
			case c == '\\' && i+1 < len(text) && (text[i+1] == '.' || text[i+1] == '\\'):
				i++
				key.WriteByte(text[i])
			case c == '.':
				path = append(path, key.String())
				key.Reset()
			default:
				key.WriteByte(c)
			}
		}
		paths = append(paths, append(path, key.String()))
	}
	return paths
}

// appendFields writes only those members of an event that one of the paths leads to.
func appendFields(dst, event []byte, paths []fieldPath) []byte {
	dst = append(dst, '{')
	first := true
	for w := canonicaljson.Walk(event); w.Next(); {
		key := w.Key()
		var below []fieldPath
		whole := false
		for _, p := range paths {
			switch {
			case len(p) == 0 || p[0] != key:
			case len(p) == 1:
				whole = true
			default:
				below = append(below, p[1:])
			}
		}
		value := w.Value()
		if !whole && (below == nil || value[0] != '{') {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(dst, '"'), w.RawKey()...)
		dst = append(dst, '"', ':')
		if whole {
			dst = append(dst, value...)
		} else {
			dst = appendFields(dst, value, below)
		}
	}
	return append(dst, '}')
}
