package syncapi

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"astrocyte/matrix"
)

// unstableBody is a request as clients have sent it since 2024.
type unstableBody struct {
	ConnID     string                          `json:"conn_id"`
	TxnID      string                          `json:"txn_id"`
	Lists      map[string]unstableList         `json:"lists"`
	Subs       map[matrix.RoomID]*unstableRoom `json:"room_subscriptions"`
	Extensions map[string]json.RawMessage      `json:"extensions"`
}

type unstableRoom struct {
	State [][]string `json:"required_state"`
	Limit int64      `json:"timeline_limit"`
}

type unstableList struct {
	unstableRoom
	Ranges  *[][]int64     `json:"ranges"`
	Filters *requestFilter `json:"filters"`
}

// stableBody is a request as it was accepted.
type stableBody struct {
	ConnID     string                        `json:"conn_id"`
	Pos        string                        `json:"pos"`
	Timeout    int64                         `json:"timeout"`
	Presence   string                        `json:"set_presence"`
	Lists      map[string]stableList         `json:"lists"`
	Subs       map[matrix.RoomID]*stableRoom `json:"room_subscriptions"`
	Extensions map[string]json.RawMessage    `json:"extensions"`
}

type stableRoom struct {
	Limit *int64       `json:"timeline_limit"`
	State *stableState `json:"required_state"`
}

type stableState struct {
	Include []stablePart `json:"include"`
	Exclude []stablePart `json:"exclude"`
	Lazy    bool         `json:"lazy_members"`
}

type stablePart struct {
	Type *string `json:"type"`
	Key  *string `json:"state_key"`
}

type stableList struct {
	stableRoom
	Range   *[]int64       `json:"range"`
	Filters *requestFilter `json:"filters"`
}

// parseUnstable reads a request of the deployed form.
func parseUnstable(query url.Values, body []byte, user matrix.UserID) (*slidingAsk, error) {
	var b unstableBody
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, matrix.BadJSON("the body has members of a wrong type")
	}
	q := &slidingAsk{conn: b.ConnID, txn: b.TxnID, pos: query.Get("pos"), presence: query.Get("set_presence"), form: slidingUnstable}
	if text := query.Get("timeout"); text != "" {
		var err error
		if q.timeout, err = strconv.ParseInt(text, 10, 64); err != nil || q.timeout < 0 {
			return nil, matrix.InvalidParam("timeout must be a number of milliseconds")
		}
	}
	for name, l := range b.Lists {
		c, err := l.config(user)
		if err != nil {
			return nil, err
		}
		list := slidingList{name: name, roomConfig: c}
		if l.Ranges != nil {
			if list.ranges, err = parseRanges(*l.Ranges); err != nil {
				return nil, err
			}
		}
		if list.filter, err = parseListFilter(l.Filters); err != nil {
			return nil, err
		}
		q.lists = append(q.lists, list)
	}
	q.subs = make(map[matrix.RoomID]roomConfig, len(b.Subs))
	for room, r := range b.Subs {
		if r == nil {
			continue
		}
		c, err := r.config(user)
		if err != nil {
			return nil, err
		}
		q.subs[room] = c
	}
	return q, q.finish(b.Extensions)
}

// finish reads what both forms have in common.
func (q *slidingAsk) finish(extensions map[string]json.RawMessage) error {
	slices.SortFunc(q.lists, func(a, b slidingList) int { return cmp.Compare(a.name, b.name) })
	if err := q.ext.parse(extensions); err != nil {
		return err
	}
	return q.check()
}

func (r *unstableRoom) config(user matrix.UserID) (roomConfig, error) {
	c, err := limitOf(r.Limit)
	if err != nil {
		return c, err
	}
	if len(r.State) > slidingStateMost {
		return c, matrix.InvalidParam("required_state has at most %d entries", slidingStateMost)
	}
	for _, pair := range r.State {
		if len(pair) != 2 {
			return c, matrix.InvalidParam("required_state is a list of pairs: a type and a state key")
		}
		c.state.addPair(pair[0], pair[1], user)
	}
	c.state.narrow()
	return c, nil
}

func limitOf(n int64) (roomConfig, error) {
	if n < 0 {
		return roomConfig{}, matrix.InvalidParam("timeline_limit cannot be negative")
	}
	return roomConfig{limit: int(min(n, slidingLimitMost))}, nil
}

// parseRanges reads ranges of a list. They may overlap, and go beyond its end.
func parseRanges(raw [][]int64) ([][2]int64, error) {
	if len(raw) > slidingRangesMost {
		return nil, matrix.InvalidParam("a list has at most %d ranges", slidingRangesMost)
	}
	out := make([][2]int64, 0, len(raw))
	for _, r := range raw {
		if len(r) != 2 || r[0] < 0 || r[1] < r[0] {
			return nil, matrix.InvalidParam("a range has two ends, the first not after the last and none below 0")
		}
		out = append(out, [2]int64{r[0], r[1]})
	}
	return out, nil
}

// parseStable reads a request of the accepted form.
func parseStable(body []byte) (*slidingAsk, error) {
	var b stableBody
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, matrix.BadJSON("the body has members of a wrong type")
	}
	if b.Timeout < 0 {
		return nil, matrix.InvalidParam("timeout must be a number of milliseconds")
	}
	q := &slidingAsk{conn: b.ConnID, pos: b.Pos, timeout: b.Timeout, presence: b.Presence, form: slidingStable}
	for name, l := range b.Lists {
		if !isOpaque(name) {
			return nil, matrix.InvalidParam("the name of a list is an opaque identifier: letters, digits and -._~")
		}
		c, err := l.config()
		if err != nil {
			return nil, err
		}
		list := slidingList{name: name, roomConfig: c}
		if l.Range != nil {
			if list.ranges, err = parseRanges([][]int64{*l.Range}); err != nil {
				return nil, err
			}
		}
		if list.filter, err = parseListFilter(l.Filters); err != nil {
			return nil, err
		}
		q.lists = append(q.lists, list)
	}
	q.subs = make(map[matrix.RoomID]roomConfig, len(b.Subs))
	for room, r := range b.Subs {
		if r == nil {
			continue
		}
		c, err := r.config()
		if err != nil {
			return nil, err
		}
		q.subs[room] = c
	}
	return q, q.finish(b.Extensions)
}

// isOpaque says whether a text is an opaque identifier.
//
// Spec: Appendices "Opaque Identifiers".
func isOpaque(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return len(s) > 0 && len(s) <= slidingNameLongest
}

func (r *stableRoom) config() (roomConfig, error) {
	if r.Limit == nil || r.State == nil {
		return roomConfig{}, matrix.MissingParam("lists and subscriptions need timeline_limit and required_state")
	}
	c, err := limitOf(*r.Limit)
	if err != nil {
		return c, err
	}
	if len(r.State.Include)+len(r.State.Exclude) > slidingStateMost {
		return c, matrix.InvalidParam("required_state has at most %d entries", slidingStateMost)
	}
	c.state.Lazy = r.State.Lazy
	for _, part := range r.State.Include {
		p := statePart{Type: part.Type, Key: part.Key}
		if r.State.Lazy && part.Type == nil && part.Key == nil {
			p.But = []string{memberEvent} // anything, and members as they are needed
		}
		c.state.Include = append(c.state.Include, p)
	}
	for _, part := range r.State.Exclude {
		c.state.Exclude = append(c.state.Exclude, statePart{Type: part.Type, Key: part.Key})
	}
	return c, nil
}

// extensionNames are the keys of the extensions: as they are deployed, and those that proposals give until they
// are accepted.
var extensionNames = map[string]func(*slidingExtensions) *extension{
	"to_device":                       func(x *slidingExtensions) *extension { return &x.toDevice },
	"org.matrix.msc4538.to_device":    func(x *slidingExtensions) *extension { return &x.toDevice },
	"e2ee":                            func(x *slidingExtensions) *extension { return &x.e2ee },
	"org.matrix.msc4543.e2ee":         func(x *slidingExtensions) *extension { return &x.e2ee },
	"account_data":                    func(x *slidingExtensions) *extension { return &x.account },
	"org.matrix.msc3959.account_data": func(x *slidingExtensions) *extension { return &x.account },
	"receipts":                        func(x *slidingExtensions) *extension { return &x.receipts },
	"org.matrix.msc3960.receipts":     func(x *slidingExtensions) *extension { return &x.receipts },
	"typing":                          func(x *slidingExtensions) *extension { return &x.typing },
	"thread_subscriptions":            func(x *slidingExtensions) *extension { return &x.threads },
	"io.element.msc4308.thread_subscriptions": func(x *slidingExtensions) *extension { return &x.threads },
	"org.matrix.msc4354.sticky_events":        func(x *slidingExtensions) *extension { return &x.sticky },
	"org.matrix.msc4508.typing":               func(x *slidingExtensions) *extension { return &x.typing },
}

// parse reads the extensions. Those that are not known are passed over.
//
// Spec: MSC4508.
func (x *slidingExtensions) parse(raw map[string]json.RawMessage) error {
	for name, find := range extensionNames {
		value, ok := raw[name]
		if !ok {
			continue
		}
		var b struct {
			Enabled bool             `json:"enabled"`
			Lists   *[]string        `json:"lists"`
			Rooms   *[]matrix.RoomID `json:"rooms"`
			Since   string           `json:"since"`
			Limit   *int64           `json:"limit"`
		}
		if err := json.Unmarshal(value, &b); err != nil {
			return matrix.BadJSON("the extension %s has members of a wrong type", name)
		}
		if !b.Enabled {
			continue
		}
		had, err := parseHad(b.Since)
		if err != nil {
			return err
		}
		e := extension{key: name, enabled: true, had: had, lists: chosen(b.Lists), rooms: chosen(b.Rooms)}
		if b.Limit != nil {
			if *b.Limit < 1 {
				return matrix.InvalidParam("the limit of the extension %s must be at least 1", name)
			}
			e.limit = int(min(*b.Limit, 1<<20))
		}
		*find(x) = e
	}
	return nil
}

// chosen makes a set of a list. No list, or a star, means all.
func chosen[T ~string](list *[]T) map[T]bool {
	if list == nil || slices.Contains(*list, "*") {
		return nil
	}
	set := make(map[T]bool, len(*list))
	for _, s := range *list {
		set[s] = true
	}
	return set
}

// hadPrefix begins the tokens of messages to a device.
const hadPrefix = "d1_"

// parseHad reads up to which position a client has its messages; 0: it has none.
func parseHad(token string) (int64, error) {
	if token == "" {
		return 0, nil
	}
	rest, ok := strings.CutPrefix(token, hadPrefix)
	n, err := strconv.ParseInt(rest, 10, 64)
	if !ok || err != nil || n < 0 {
		return 0, matrix.InvalidParam("since is not a token of this extension")
	}
	return n, nil
}
