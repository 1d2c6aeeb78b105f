package syncapi

import (
	"errors"
	"testing"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

func TestFiltersAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		filter string
		code   matrix.Code // empty: it is good
	}{
		{`{}`, ""},
		{`{"room":{"timeline":{"limit":0}}}`, ""},
		{`{"unknown":[1,2],"event_format":"federation"}`, ""},
		{`{"room":{"timeline":{"limit":"5"}}}`, matrix.CodeBadJSON},
		{`{"room":[]}`, matrix.CodeBadJSON},
		{`{"room":{"timeline":{"limit":-1}}}`, matrix.CodeInvalidParam},
		{`{"room":{"timeline":{"types":"m.room.message"}}}`, matrix.CodeBadJSON},
		{`{"room":{"rooms":["kitchen"]}}`, matrix.CodeInvalidParam},
		{`{"room":{"state":{"not_senders":["alice"]}}}`, matrix.CodeInvalidParam},
		{`{"event_format":"xml"}`, matrix.CodeInvalidParam},
		{`{"event_fields":"type"}`, matrix.CodeBadJSON},
	} {
		_, err := newFilter([]byte(c.filter))
		var e *matrix.Error
		if got := errors.As(err, &e); got != (c.code != "") || got && e.Code != c.code {
			t.Errorf("%s: %v, want %q", c.filter, err, c.code)
		}
	}
}

func TestTimelineLimits(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]int{
		`{}`:                                    defaultLimit,
		`{"room":{"timeline":{"limit":0}}}`:     0,
		`{"room":{"timeline":{"limit":7}}}`:     7,
		`{"room":{"timeline":{"limit":99999}}}`: limitMost,
	} {
		if got := mustFilter(t, filter).timelineLimit(); got != want {
			t.Errorf("%s: the limit is %d, want %d", filter, got, want)
		}
	}
}

func TestEventFields(t *testing.T) {
	t.Parallel()
	const event = `{"content":{"a.b":{"c":1},"body":"hi","x":{"y":1,"z":[2]}},"event_id":"$e","type":"m.room.message","unsigned":{"age":5}}`
	for _, c := range []struct {
		fields []string
		want   string
	}{
		{[]string{}, `{}`},
		{[]string{"type"}, `{"type":"m.room.message"}`},
		{[]string{"content.body", "type"}, `{"content":{"body":"hi"},"type":"m.room.message"}`},
		{[]string{"content"}, `{"content":{"a.b":{"c":1},"body":"hi","x":{"y":1,"z":[2]}}}`},
		{[]string{"content", "content.body"}, `{"content":{"a.b":{"c":1},"body":"hi","x":{"y":1,"z":[2]}}}`},
		{[]string{`content.a\.b.c`}, `{"content":{"a.b":{"c":1}}}`},
		{[]string{"content.x.z", "content.x.nothing"}, `{"content":{"x":{"z":[2]}}}`},
		{[]string{"content.body.deeper", "event_id"}, `{"content":{},"event_id":"$e"}`},
		{[]string{"nothing"}, `{}`},
	} {
		got := appendFields(nil, []byte(event), fieldPaths(c.fields))
		if string(got) != c.want {
			t.Errorf("%v: %s, want %s", c.fields, got, c.want)
		}
		if err := canonicaljson.Check(got, canonicaljson.Strict); err != nil {
			t.Errorf("%v: %v", c.fields, err)
		}
	}
}
