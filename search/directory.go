package search

import (
	"cmp"
	"context"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Person is a user whom somebody found.
type Person struct {
	User    matrix.UserID
	Profile roomserver.Profile
	rank    float64
}

const (
	namesPage = 200  // names that are looked at at once
	namesMost = 5000 // and in all
	foundMost = 500  // users that are put in order
)

// People finds users by their id or name whom the caller may know of: those who share a room with them or
// are in one that anybody may see, and where the settings say so all of this server. limited says that
// there are more.
//
// Spec: POST /_matrix/client/v3/user_directory/search
func (s *Search) People(ctx context.Context, caller matrix.UserID, text string, limit int) (out []Person, limited bool, err error) {
	if len(text) > textMostAsked {
		return nil, false, matrix.InvalidParam("search_term cannot be longer than %d bytes", textMostAsked)
	}
	m := newMatcher(text)
	if m.loose = true; len(m.runs) == 0 {
		return nil, false, nil
	}
	if err := s.settle(ctx); err != nil {
		return nil, false, err
	}
	var cut bool
	err = s.db.View(ctx, func(tx *store.Tx) error {
		l := &lookout{Search: s, tx: tx, caller: caller, mine: make(map[roomserver.RoomNID]bool), public: make(map[roomserver.RoomNID]bool)}
		rooms, err := s.rooms.UserRooms(tx, caller)
		if err != nil {
			return err
		}
		for _, r := range rooms {
			if r.Membership == matrix.Join {
				l.mine[r.Room] = true
			}
		}
		out, cut, err = l.find(m)
		return err
	})
	slices.SortFunc(out, func(a, b Person) int {
		return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(hasProfile(b), hasProfile(a)), cmp.Compare(a.User, b.User))
	})
	if len(out) > limit {
		out, cut = out[:limit], true
	}
	return out, cut, err
}

func hasProfile(p Person) int {
	if p.Profile != (roomserver.Profile{}) {
		return 1
	}
	return 0
}

// lookout knows whom a caller may know of.
type lookout struct {
	*Search
	tx     *store.Tx
	caller matrix.UserID
	mine   map[roomserver.RoomNID]bool // the rooms that the caller is in
	public map[roomserver.RoomNID]bool // of other rooms: whether anybody may see who is in it
}

// find collects users by the names that the index proposes.
func (l *lookout) find(m *matcher) (out []Person, more bool, err error) {
	want := wanted{limit: namesPage}
	want.ask(m)
	at := make(map[matrix.UserID]int)
	for range namesMost / namesPage {
		docs, err := l.people.names(l.tx, want)
		if err != nil {
			return nil, false, err
		}
		names, err := readNames(l.tx, docs)
		if err != nil {
			return nil, false, err
		}
		for i := range names {
			n := &names[i]
			rank := max(m.match(n.text()), m.match(n.profile.DisplayName)) // a name that is nothing else fits better
			if rank == 0 {
				continue
			}
			if seen, err := l.sees(n); err != nil {
				return nil, false, err
			} else if !seen {
				continue
			}
			p := Person{n.user, n.profile, rank}
			if i, known := at[n.user]; !known {
				at[n.user] = len(out)
				out = append(out, p)
			} else if rank > out[i].rank {
				out[i] = p
			}
		}
		if len(docs) < namesPage {
			return out, false, nil
		}
		if len(out) >= foundMost {
			break
		}
		want.after = docs[len(docs)-1]
	}
	return out, true, nil
}

// sees says whether the caller may know of a user by a name. Themselves they find as strangers find them.
func (l *lookout) sees(n *name) (bool, error) {
	mine := l.mine
	if n.user == l.caller {
		mine = nil
	}
	if n.room != 0 {
		return l.shows(n.room, mine)
	}
	if l.all {
		return true, nil
	}
	rooms, err := l.rooms.UserRooms(l.tx, n.user)
	if err != nil {
		return false, err
	}
	for _, r := range rooms {
		if r.Membership == matrix.Join && mine[r.Room] {
			return true, nil
		}
	}
	for _, r := range rooms {
		if r.Membership != matrix.Join {
			continue
		}
		if shown, err := l.shows(r.Room, mine); err != nil || shown {
			return shown, err
		}
	}
	return false, nil
}

// shows says whether who is in some rooms may know who is in a room.
func (l *lookout) shows(room roomserver.RoomNID, mine map[roomserver.RoomNID]bool) (bool, error) {
	if mine[room] {
		return true, nil
	}
	shown, known := l.public[room]
	if !known {
		set, err := publicRooms(l.tx, []int64{int64(room)})
		if err != nil {
			return false, err
		}
		if shown = set[int64(room)]; shown { // of a room that nobody here is in any more what is known is old
			if shown, err = l.rooms.TakesPart(l.tx, room); err != nil {
				return false, err
			}
		}
		l.public[room] = shown
	}
	return shown, nil
}
