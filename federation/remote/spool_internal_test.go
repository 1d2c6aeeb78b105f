package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// chain makes a create event and others, each of which names the one before it as an auth event.
func chain(t *testing.T, n int) []*rules.Event {
	t.Helper()
	v, _ := rules.ByID("11")
	var all []*rules.Event
	for i := range n {
		p := rules.Proto{
			RoomID: "!room:far.example", Sender: "@u:far.example", Type: "m.room.create", StateKey: new(string), Content: []byte(`{}`),
			Depth: int64(i), OriginServerTS: 1,
		}
		if i > 0 {
			p.Type, *p.StateKey, p.Auth = "m.test", fmt.Sprint(i), []rules.EventRef{all[i-1].Ref()}
		}
		e, err := rules.Build(v, &p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func TestRoomThatIsToldInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, memory := range []int{1 << 20, 1000, 1} {
		dir := t.TempDir()
		events := chain(t, 20)
		s := newSpool(events[0].Version(), events[0].RoomID(), dir)
		s.memory = memory
		told := slices.Clone(events)
		slices.Reverse(told)
		for _, e := range slices.Concat(told, told[:5]) {
			if err := s.add(e, e.Depth() > 10); err != nil {
				t.Fatal(err)
			}
		}
		for i, n := range s.order() {
			e, err := s.read(n)
			if err != nil {
				t.Fatal(err)
			}
			if e.ID() != events[i].ID() || !bytes.Equal(e.Bytes(), events[i].Bytes()) || s.events[n].state != (i > 10) {
				t.Errorf("with %d bytes of memory event %d comes back as %s", memory, i, e.ID())
			}
		}
		if got := len(s.order()); got != len(events) {
			t.Errorf("of %d events %d come back", len(events), got)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("a file is left: %v, %v", left, err)
		}
		s.close()
	}
}

func TestBoundsOfWhatIsToldOfARoom(t *testing.T) {
	t.Parallel()
	events := chain(t, 10)
	var list []string
	for _, e := range events {
		list = append(list, string(e.Bytes()))
	}
	whole := `{"origin":"far.example","state":[` + strings.Join(list, ",") + `],"auth_chain":[],"servers_in_room":["far.example"]}`
	read := func(text io.Reader, size int64, most int) (*spool, error) {
		s := newSpool(events[0].Version(), events[0].RoomID(), t.TempDir())
		defer s.close()
		a := newToldRoom(s, text, map[string]bool{"state": true, "auth_chain": false})
		a.body.left, a.most = size, most
		return s, a.read()
	}
	for _, text := range []string{whole, "[200," + whole + "]"} {
		if s, err := read(strings.NewReader(text), 1<<20, 10); err != nil || len(s.order()) != 10 {
			t.Errorf("a good answer: %v", err)
		}
	}
	endless := io.MultiReader(strings.NewReader(`{"state":[{"content":"`), zeros{})
	var own *matrix.Error
	for name, c := range map[string]struct {
		text io.Reader
		size int64
		most int
		is   func(error) bool
	}{
		"too many bytes":     {strings.NewReader(whole), int64(len(whole)) / 2, 10, func(err error) bool { return errors.As(err, &own) && own.Code == matrix.CodeTooLarge }},
		"too many events":    {strings.NewReader(whole), 1 << 20, 9, func(err error) bool { return errors.As(err, &own) && own.Code == matrix.CodeTooLarge }},
		"one endless event":  {endless, maxTold, 10, func(err error) bool { return errors.Is(err, errToldValue) }},
		"it breaks off":      {strings.NewReader(whole[:len(whole)/2]), 1 << 20, 10, func(err error) bool { return err != nil }},
		"it ends in a value": {strings.NewReader(whole[:len(whole)-1]), 1 << 20, 10, func(err error) bool { return err != nil }},
		"another form":       {strings.NewReader(`"no"`), 1 << 20, 10, func(err error) bool { return errors.Is(err, errToldShape) }},
		"a list of another":  {strings.NewReader(`{"state":{}}`), 1 << 20, 10, func(err error) bool { return errors.Is(err, errToldShape) }},
	} {
		if _, err := read(c.text, c.size, c.most); !c.is(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// zeros is a text without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}
