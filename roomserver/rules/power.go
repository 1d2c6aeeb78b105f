package rules

import (
	"maps"
	"math"
	"strconv"
	"strings"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// Level is a power level. The larger has more power.
type Level int64

// Infinite is the power of those who made a room, where its version sets them above all levels. Nothing
// that an event can say is as much.
const Infinite Level = math.MaxInt64

// AtLeast says whether the power suffices where need is needed.
func (l Level) AtLeast(need Level) bool { return l >= need }

// Compare is negative where l is less power than other, 0 where it is the same, else positive.
func (l Level) Compare(other Level) int {
	switch {
	case l < other:
		return -1
	case l > other:
		return 1
	}
	return 0
}

// String is the level as it is told to users.
func (l Level) String() string {
	if l == Infinite {
		return "that of the room's creators"
	}
	return strconv.FormatInt(int64(l), 10)
}

// named are the levels that stand in the content of m.room.power_levels by themselves.
type named int

const (
	usersDefault named = iota
	eventsDefault
	stateDefault
	banLevel
	redactLevel
	kickLevel
	inviteLevel
	namedCount
)

// namedKeys are their keys, and what they are where they are not set.
//
// Spec: CS m.room.power_levels.
var namedKeys = [namedCount]struct {
	key   string
	usual Level
}{
	{"users_default", 0}, {"events_default", 0}, {"state_default", 50}, {"ban", 50}, {"redact", 50},
	{"kick", 50}, {"invite", 0},
}

// levels is the parsed content of m.room.power_levels. Values that are no levels are left out.
type levels struct {
	set    [namedCount]bool
	value  [namedCount]Level
	events map[string]Level
	notify map[string]Level
	users  map[matrix.UserID]Level

	fault string // why the content is none that the rules allow, empty for none
}

func (e *Event) levels() *levels { return parsed(e, "m.room.power_levels", parseLevels) }

func parseLevels(v *Version, content []byte) *levels {
	l := new(levels)
	for w := canonicaljson.Walk(content); w.Next(); {
		switch key := string(w.RawKey()); key {
		case "events":
			l.events = l.parseMap(v, key, w.Value())
		case "notifications":
			l.notify = l.parseMap(v, key, w.Value())
		case "users":
			l.parseUsers(v, w.Value())
		default:
			l.parseNamed(v, key, w.Value())
		}
	}
	return l
}

func (l *levels) blame(fault string) {
	if l.fault == "" {
		l.fault = fault
	}
}

func (l *levels) parseNamed(v *Version, key string, value []byte) {
	for i := range namedKeys {
		if namedKeys[i].key != key {
			continue
		}
		level, ok := v.level(value)
		if !ok && v.IntegerLevels {
			l.blame(key + " is not an integer")
		}
		l.set[i], l.value[i] = ok, level
	}
}

// parseMap reads the levels of event types or notifications. Only from version 10 faults in it count.
func (l *levels) parseMap(v *Version, key string, value []byte) map[string]Level {
	found := map[string]Level{}
	w := canonicaljson.Walk(value)
	for w.Next() {
		level, ok := v.level(w.Value())
		switch {
		case ok:
			found[w.Key()] = level
		case v.IntegerLevels:
			l.blame("the level of " + w.Key() + " in " + key + " is not an integer")
		}
	}
	if w.Err() != nil && v.IntegerLevels {
		l.blame(key + " is not an object")
	}
	return found
}

func (l *levels) parseUsers(v *Version, value []byte) {
	l.users = map[matrix.UserID]Level{}
	w := canonicaljson.Walk(value)
	for w.Next() {
		user := w.Key()
		level, ok := v.level(w.Value())
		switch {
		case !looksLikeUser(user):
			l.blame(user + " in users is not a user ID")
		case !ok:
			l.blame("the level of " + user + " is not an integer")
		}
		if ok {
			l.users[matrix.UserID(user)] = level
		}
	}
	if w.Err() != nil {
		l.blame("users is not an object")
	}
}

// level reads one level: an integer, and up to version 9 also a string that is one, or in the loose JSON
// of the oldest versions a number, of which the fraction is dropped.
//
// Spec: Room Versions 1 "m.room.power_levels events", 10 "Values in m.room.power_levels events must be
// integers".
func (v *Version) level(value []byte) (Level, bool) {
	if n, ok := integer(value); ok {
		return Level(n), true
	}
	if v.IntegerLevels || len(value) == 0 {
		return 0, false
	}
	if value[0] != '"' {
		return truncated(string(value))
	}
	text, _ := canonicaljson.Text(value)
	digits := strings.TrimSpace(text)
	if unsigned, ok := strings.CutPrefix(digits, "+"); ok && !strings.HasPrefix(unsigned, "-") {
		digits = unsigned
	}
	if n, ok := integer([]byte(digits)); ok {
		return Level(n), true
	}
	if bare := strings.TrimPrefix(digits, "-"); bare == "" || strings.Trim(bare, "0123456789") != "" {
		return 0, false
	}
	return truncated(digits)
}

// truncated reads a number without its fraction. Of what is beyond any sense, only that it is counts.
func truncated(number string) (Level, bool) {
	const most = 1 << 62
	if c := number[0]; c != '-' && (c < '0' || c > '9') {
		return 0, false
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, false
	}
	return Level(min(max(f, -most), most)), true
}

// get is a level that stands by itself, or its default.
func (l *levels) get(n named) Level {
	if l != nil && l.set[n] {
		return l.value[n]
	}
	return namedKeys[n].usual
}

// PowerLevels is who may do what in a room: the power levels event, read beside the create event.
type PowerLevels struct {
	create     *Create // nil: none is known
	levels     *levels // nil: the room has none
	privileged bool    // creators stand above all levels
}

// Levels reads the power levels of a room. Either event may be nil.
func Levels(create, powerLevels *Event) *PowerLevels {
	p := readLevels(create, powerLevels)
	return &p
}

func readLevels(create, powerLevels *Event) PowerLevels {
	var p PowerLevels
	if create != nil {
		p.create, p.privileged = create.Create(), create.version.PrivilegedCreators
	}
	if powerLevels != nil {
		p.levels = powerLevels.levels()
	}
	return p
}

// User is the power of a user.
//
// Spec: CS "m.room.power_levels"; Room Versions 12 "Room creators".
func (p *PowerLevels) User(u matrix.UserID) Level {
	if p.privileged && p.create.IsCreator(u) {
		return Infinite
	}
	if p.levels == nil {
		if p.create != nil && u == p.create.Creator() && u != "" {
			return 100
		}
		return 0
	}
	if level, ok := p.levels.users[u]; ok {
		return level
	}
	return p.levels.get(usersDefault)
}

// Users are the users who have a power of their own: those whom the event names, and privileged
// creators. The map is the caller's.
func (p *PowerLevels) Users() map[matrix.UserID]Level {
	users := map[matrix.UserID]Level{}
	if p.levels != nil {
		maps.Copy(users, p.levels.users)
	}
	if p.create != nil && (p.privileged || p.levels == nil) {
		for _, u := range p.create.Creators {
			users[u] = p.User(u)
		}
	}
	return users
}

// Event is the power that sending an event of a type needs.
func (p *PowerLevels) Event(tp string, isState bool) Level {
	if p.levels != nil {
		if level, ok := p.levels.events[tp]; ok {
			return level
		}
	}
	if isState {
		return p.levels.get(stateDefault)
	}
	return p.levels.get(eventsDefault)
}

// Invite is the power that an invite needs.
func (p *PowerLevels) Invite() Level { return p.levels.get(inviteLevel) }

// Kick is the power that a kick needs.
func (p *PowerLevels) Kick() Level { return p.levels.get(kickLevel) }

// Ban is the power that a ban needs.
func (p *PowerLevels) Ban() Level { return p.levels.get(banLevel) }

// Redact is the power that redacting the events of others needs.
func (p *PowerLevels) Redact() Level { return p.levels.get(redactLevel) }

// Notifications is the power that a notification of a kind needs, such as room for @room.
func (p *PowerLevels) Notifications(key string) Level {
	if p.levels != nil {
		if level, ok := p.levels.notify[key]; ok {
			return level
		}
	}
	return 50
}

// MayInvite says whether the power of a user suffices for invites.
func (p *PowerLevels) MayInvite(u matrix.UserID) bool { return p.User(u).AtLeast(p.Invite()) }

// MayRedact says whether the power of a user suffices to redact the events of others.
func (p *PowerLevels) MayRedact(u matrix.UserID) bool { return p.User(u).AtLeast(p.Redact()) }

// MaySend says whether the power of a user suffices for events of a type.
func (p *PowerLevels) MaySend(u matrix.UserID, tp string, isState bool) bool {
	return p.User(u).AtLeast(p.Event(tp, isState))
}
