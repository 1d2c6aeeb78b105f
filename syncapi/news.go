package syncapi

import (
	"encoding/json"

	"astrocyte/account"
	"astrocyte/e2ee"
	"astrocyte/matrix"
	"astrocyte/push"
	"astrocyte/roomserver"
)

// news is what an answer tells.
type news struct {
	next     Token
	account  []account.AccountDatum
	join     []*joinedNews
	leave    []*leftNews
	invite   []*strippedNews
	knock    []*strippedNews
	devices  e2ee.DeviceNews
	lists    e2ee.Lists
	presence []presenceNews
	form     form
}

// form is how the client wants it told.
type form struct {
	filter *filter
	after  stateForm
}

// stateForm is where an answer tells the state: as it was at the start of the timeline, or as it is at
// its end, under the name by which the client asked for it.
//
// Spec: GET /_matrix/client/v3/sync (use_state_after), MSC4222.
type stateForm int

const (
	stateAtStart stateForm = iota
	stateAtEnd
	stateAtEndUnstable
)

// joinedNews is what is new in a room that the user is in.
type joinedNews struct {
	room      matrix.RoomID
	summary   *summary
	state     []*roomserver.ClientEvent
	timeline  *timeline // nil: nothing of it is told
	ephemeral []ephemeralEvent
	account   []account.AccountDatum
	sticky    []*roomserver.ClientEvent // which the timeline does not have
	unread    push.Unread
	head      roomserver.Head
	entered   bool // the client did not know the user to be in the room
}

// leftNews is what is told of a room that the user is not in any more, up to when they left.
type leftNews struct {
	room     matrix.RoomID
	state    []*roomserver.ClientEvent
	timeline *timeline
	told     json.RawMessage // a list of events in place of the timeline, of a room that this server is not in
	account  []account.AccountDatum
}

// strippedNews is an invite or a knock.
type strippedNews struct {
	room  matrix.RoomID
	state json.RawMessage // a list of stripped state events
}

// ephemeralEvent is a typing or receipt event.
type ephemeralEvent struct {
	Type    string
	Content json.RawMessage
}

// summary tells what clients name a room by.
//
// Spec: GET /_matrix/client/v3/sync (RoomSummary).
type summary struct {
	heroes          []matrix.UserID // nil: the room has a name
	joined, invited int64
}

// empty says that nothing happened that the client has to be told: then it waits on.
func (n *news) empty() bool {
	return len(n.account) == 0 && len(n.join) == 0 && len(n.leave) == 0 && len(n.invite) == 0 && len(n.knock) == 0 && len(n.presence) == 0 &&
		len(n.devices.Messages) == 0 && len(n.lists.Changed) == 0 && len(n.lists.Left) == 0
}

// worthTelling says whether there is anything in what was found in a room.
func (j *joinedNews) worthTelling() bool {
	return j.entered || j.summary != nil || len(j.state) > 0 || len(j.ephemeral) > 0 || len(j.account) > 0 || len(j.sticky) > 0 ||
		j.timeline != nil && (len(j.timeline.events) > 0 || j.timeline.limited)
}
