package syncapi

import (
	"cmp"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver"
	"astrocyte/roomserver/state"
)

// heroesMost is how many members a nameless room is named by.
const heroesMost = 5

// summarize makes the summary of a room as it is now.
func (r *reading) summarize(room roomserver.RoomNID, s *stateNews, head roomserver.Head) (*summary, error) {
	out := &summary{joined: head.Joined, invited: head.Invited}
	named, err := r.isNamed(s.end)
	if err != nil || named {
		return out, err
	}
	out.heroes, err = r.heroes(room)
	return out, err
}

// isNamed says whether a room has a name, or an alias to be called by.
func (r *reading) isNamed(st *state.State) (bool, error) {
	for _, named := range []struct{ tp, member string }{{"m.room.name", "name"}, {"m.room.canonical_alias", "alias"}} {
		e, err := r.a.rooms.StateEvent(r.tx, st, named.tp, "")
		if err != nil {
			return false, fmt.Errorf("look for the room's %s: %w", named.member, err)
		}
		if e == nil || e.RedactedBy != 0 {
			continue
		}
		value, _ := canonicaljson.Field(e.Content(), named.member)
		if text, _ := canonicaljson.Text(value); text != "" {
			return true, nil
		}
	}
	return false, nil
}

// heroes are the members of longest standing, without the user: those joined or invited, and where there
// are none, those who left or were banned.
//
// Spec: GET /_matrix/client/v3/sync (m.heroes).
func (r *reading) heroes(room roomserver.RoomNID) ([]matrix.UserID, error) {
	out := []matrix.UserID{}
	for _, memberships := range [][2]matrix.Membership{{matrix.Join, matrix.Invite}, {matrix.Leave, matrix.Ban}} {
		var found []hero
		for _, m := range memberships {
			some, err := longestStanding(r.tx, room, m, r.viewer.User, heroesMost)
			if err != nil {
				return nil, fmt.Errorf("find heroes: %w", err)
			}
			found = append(found, some...)
		}
		slices.SortFunc(found, func(a, b hero) int { return cmp.Compare(a.pos, b.pos) })
		for _, h := range found[:min(len(found), heroesMost)] {
			out = append(out, h.user)
		}
		if len(out) > 0 {
			break
		}
	}
	return out, nil
}
