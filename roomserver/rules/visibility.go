package rules

import "astrocyte/matrix"

// Visibility is how much of an event somebody may see.
type Visibility int

// What may be seen of an event.
const (
	Hidden        Visibility = iota // nothing
	RedactedOnly                    // its redacted form
	VisibleInFull                   // all
)

// The values of m.room.history_visibility.
const (
	WorldReadable = "world_readable"
	Shared        = "shared"
	Invited       = "invited"
	Joined        = "joined"
)

// Sight is what a user's view of an event depends on. All that is of the state means the state after the
// event.
type Sight struct {
	User matrix.UserID
	// History is the value of history_visibility in the state, empty where there is none. Values that are
	// not of the specification count as shared.
	History string
	// Membership is the user's in the state, empty where they have none.
	Membership matrix.Membership
	// Outside says that the user is not joined now, and has not been since the event: who only peeks.
	Outside bool
	// PublicJoin says that the join rule in the state is public. It is looked at for m.call.invite only.
	PublicJoin bool

	Type     string
	StateKey *string // nil where the event is no state
	Sender   matrix.UserID
	// Before is what the state that this event replaced said in the member that decides here: membership
	// for m.room.member of the user themself, history_visibility for m.room.history_visibility. Empty
	// where there was nothing.
	Before string

	SenderErased  bool // the sender had their messages removed from the eyes of newcomers
	SenderIgnored bool // by the user
	SoftFailed    bool
	Outlier       bool
	// Sticky says that the event is, and the user joined: then the visibility of the history does not matter (MSC4354).
	Sticky bool
}

// Visible decides what a client's user may see of an event.
//
// Spec: CS "Room History Visibility", "Ignoring Users".
func Visible(s *Sight) Visibility {
	if s.SoftFailed || s.Outlier || s.unseen() {
		return Hidden
	}
	if s.SenderIgnored && s.StateKey == nil && s.Sender != s.User {
		return Hidden
	}
	membership, own := s.membership()
	if !own && !s.Sticky && !s.seen(membership) {
		return Hidden
	}
	if s.SenderErased && membership != matrix.Join {
		return RedactedOnly
	}
	return VisibleInFull
}

// unseen says that an event is between servers only, or made to annoy: calls that would ring at everybody
// in a public room.
func (s *Sight) unseen() bool {
	switch s.Type {
	case "org.matrix.dummy_event", "m.room.aliases":
		return true
	case "m.call.invite":
		return s.StateKey == nil && s.PublicJoin
	}
	return false
}

// membership is the one that counts for this event. Of the user's own member events that is the one with
// more rights of those before and after it; own says that the event is visible in any case, since the user
// goes by it out of a room, or gives up the way into one.
func (s *Sight) membership() (_ matrix.Membership, own bool) {
	if s.Type != "m.room.member" || s.StateKey == nil || *s.StateKey != string(s.User) {
		return s.Membership, false
	}
	after, before := s.Membership, matrix.Membership(s.Before)
	if rights(after) < 0 {
		after = matrix.Leave
	}
	if after == matrix.Leave && (before == matrix.Join || before == matrix.Invite) {
		return after, true
	}
	if rights(before) > rights(after) {
		after = before
	}
	return after, false
}

// rights orders the memberships by what they let a user see. Others have none.
func rights(m matrix.Membership) int {
	switch m {
	case matrix.Join:
		return 4
	case matrix.Invite:
		return 3
	case matrix.Knock:
		return 2
	case matrix.Leave:
		return 1
	case matrix.Ban:
		return 0
	}
	return -1
}

// seen applies the visibility of the room's history. An event that changes it is seen by those who may see
// by either the old or the new value.
func (s *Sight) seen(membership matrix.Membership) bool {
	if membership == matrix.Join || s.seenBy(s.History, membership) {
		return true
	}
	return s.Type == "m.room.history_visibility" && s.StateKey != nil && s.seenBy(s.Before, membership)
}

func (s *Sight) seenBy(history string, membership matrix.Membership) bool {
	switch history {
	case WorldReadable:
		return true
	case Invited:
		return membership == matrix.Invite
	case Joined:
		return false
	}
	return !s.Outside
}

// ServerSight is what another server's view of an event depends on, in the state after the event. Whether
// the server is in the room at all is for the caller to ask.
type ServerSight struct {
	History      string // as in Sight
	SenderErased bool
	Outlier      bool
	// Joined and Invited say whether any user of the server is.
	Joined, Invited bool
}

// VisibleToServer decides whether another server gets an event in full; otherwise it gets the redacted
// form, which it needs for the order of events.
//
// Spec: SS "Backfilling and retrieving missing events".
func VisibleToServer(s *ServerSight) bool {
	if s.SenderErased {
		return false
	}
	if s.Outlier || s.Joined {
		return true
	}
	switch s.History {
	case Invited:
		return s.Invited
	case Joined:
		return false
	}
	return true
}
