package roomserver

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver/rules"
	"astrocyte/testkit"
)

const (
	ann = matrix.UserID("@ann:a.example")
	eve = matrix.UserID("@eve:e.example")
)

// den is a room of ann's site that eve, of another one, is in. Eve writes events by hand.
type den struct {
	a, e *site
	room matrix.RoomID
	v    *rules.Version
	t    *testing.T
}

func openDen(t *testing.T, dsn string, v matrix.RoomVersion) *den {
	t.Helper()
	d := &den{a: openSite(t, "a.example", dsn), e: openSite(t, "e.example", testkit.SQLite(t)), t: t}
	var err error
	if d.room, err = d.a.Create(t.Context(), Creation{Creator: ann, Version: v, Preset: PublicChat}); err != nil {
		t.Fatal(err)
	}
	d.a.admit(d.e, d.room, eve)
	d.v, _ = rules.ByID(v)
	return d
}

// message is a draft of eve's, to be changed.
func (d *den) message(text string) Draft {
	return Draft{Room: d.room, Sender: eve, Type: "m.room.message", Content: fmt.Appendf(nil, `{"body":%q}`, text)}
}

// made makes an event of eve's upon her room as it is, changed before it is hashed and signed.
func (d *den) made(draft Draft, change func(p *rules.Proto)) *rules.Event {
	d.t.Helper()
	plain := d.e.template(draft)
	p := &rules.Proto{
		RoomID: plain.RoomID(), Sender: plain.Sender(), Type: plain.Type(), StateKey: draft.StateKey, Content: draft.Content,
		Depth: plain.Depth(), OriginServerTS: plain.OriginServerTS(),
	}
	for _, id := range plain.Prev() {
		p.Prev = append(p.Prev, rules.EventRef{ID: id})
	}
	for _, id := range plain.Auth() {
		p.Auth = append(p.Auth, rules.EventRef{ID: id})
	}
	if d.v.EventIDInside {
		p.EventID = matrix.EventID("$" + randomText() + ":e.example")
	}
	change(p)
	ev, err := rules.Build(d.v, p)
	if err != nil {
		d.t.Fatal(err)
	}
	return as(d.t, ev.Sign("e.example", d.e.keyID, d.e.key))
}

// expect gives ann's site an event, and says what must come of it: the room's state stays as it is.
func (d *den) expect(what string, ev *rules.Event, want Status) {
	d.t.Helper()
	before := d.a.stateOf(d.room)
	got, err := d.a.Receive(d.t.Context(), ev)
	if err != nil || got != want {
		d.t.Errorf("%s: %d, %v; want %d", what, got, err, want)
	}
	if _, isState := ev.StateKey(); !maps.Equal(before, d.a.stateOf(d.room)) && !(isState && want == Accepted) {
		d.t.Errorf("%s changed the state of the room", what)
	}
}

func (d *den) expectGap(what string, ev *rules.Event) {
	d.t.Helper()
	var gap *Gap
	if _, err := d.a.Receive(d.t.Context(), ev); !errors.As(err, &gap) {
		d.t.Errorf("%s: %v, want a gap", what, err)
	}
	if d.a.get(ev.ID()) != nil {
		d.t.Errorf("%s was stored", what)
	}
}

func TestHostileEvents(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		d := openDen(t, dsn, "10")
		ctx := t.Context()
		other, err := d.a.Create(ctx, Creation{Creator: ann, Version: "10", Preset: PublicChat})
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := d.a.extremitiesOf(other)[0]

		d.expect("an honest message", d.made(d.message("hello"), func(*rules.Proto) {}), Accepted)
		forged := d.made(d.message("I am ann"), func(p *rules.Proto) { p.Sender = ann })
		d.expect("an event of ann's with eve's permission", forged, Rejected)
		d.expect("an auth event of another room", d.made(d.message("x"), func(p *rules.Proto) {
			p.Auth = append(p.Auth[:len(p.Auth)-1], rules.EventRef{ID: elsewhere})
		}), Rejected)
		d.expect("auth events left out", d.made(d.message("x"), func(p *rules.Proto) { p.Auth = p.Auth[:1] }), Rejected)
		key := ""
		levels := Draft{Room: d.room, Sender: eve, Type: "m.room.power_levels", StateKey: &key, Content: []byte(`{"users":{"@eve:e.example":100}}`)}
		grab := d.made(levels, func(*rules.Proto) {})
		d.expect("power for eve", grab, Rejected)
		d.expect("what relies on what was rejected", d.made(d.message("x"), func(p *rules.Proto) {
			for i, a := range p.Auth {
				if e := d.a.get(a.ID); e.Type() == "m.room.power_levels" {
					p.Auth[i].ID = grab.ID()
				}
			}
		}), Rejected)
		d.expect("an event behind a rejected one", d.made(d.message("on"), func(p *rules.Proto) {
			p.Prev = []rules.EventRef{{ID: grab.ID()}}
		}), Accepted)
		if n := len(d.a.extremitiesOf(d.room)); n > 2 {
			t.Errorf("%d extremities", n)
		}
		deep := d.made(d.message("deep"), func(p *rules.Proto) { p.Depth = canonicaljson.MaxInt })
		d.expect("a depth without end", deep, Accepted)
		d.expect("the same again", deep, Accepted)
		if _, err := d.a.Send(ctx, Draft{Room: d.room, Sender: ann, Type: "m.room.message", Content: []byte(`{"body":"on top"}`)}); err != nil {
			t.Errorf("ann cannot send behind the deepest event: %v", err)
		}
		nothing := matrix.EventID("$" + randomText() + "0123456789abcdefg")
		d.expectGap("an unknown prev event", d.made(d.message("x"), func(p *rules.Proto) { p.Prev = []rules.EventRef{{ID: nothing}} }))
		d.expectGap("an unknown auth event", d.made(d.message("x"), func(p *rules.Proto) { p.Auth[0] = rules.EventRef{ID: nothing} }))
		d.expectGap("a prev event of another room", d.made(d.message("x"), func(p *rules.Proto) { p.Prev = []rules.EventRef{{ID: elsewhere}} }))
		d.expectGap("a prev event that is no text", d.made(d.message("x"), func(p *rules.Proto) { p.Prev = []rules.EventRef{{ID: "$a\x00b"}} }))
		d.expect("no prev events", d.made(d.message("x"), func(p *rules.Proto) { p.Prev = nil }), Rejected)
		odd := "a\x00b"
		d.expect("a state key that is no text", d.made(Draft{
			Room: d.room, Sender: ann, Type: "x\x00y", StateKey: &odd, Content: []byte(`{}`),
		}, func(p *rules.Proto) { p.Sender = eve }), Rejected)
		d.lies(grab)
		d.flood()
	})
}

// lies tells ann's site a state in which eve has power.
func (d *den) lies(grab *rules.Event) {
	d.t.Helper()
	ctx := d.t.Context()
	gone := d.made(d.message("never told"), func(*rules.Proto) {})
	ev := d.made(d.message("behind it"), func(p *rules.Proto) { p.Prev = []rules.EventRef{{ID: gone.ID()}} })
	before := d.a.stateOf(d.room)
	var told []matrix.EventID
	for key, id := range before {
		if key.Type == "m.room.power_levels" {
			id = grab.ID()
		}
		if key.Type != "m.room.member" || key.Key != string(ann) { // and ann is not there at all
			told = append(told, id)
		}
	}
	if _, err := d.a.ReceiveAt(ctx, ev, told); err != nil {
		d.t.Errorf("an event with a state that is a lie: %v", err)
	}
	if !maps.Equal(before, d.a.stateOf(d.room)) {
		d.t.Error("a state that is a lie changed the room")
	}
}

// flood has eve send many events behind the same one.
func (d *den) flood() {
	d.t.Helper()
	for i := range 30 {
		d.expect("a branch", d.made(d.message(fmt.Sprint(i)), func(*rules.Proto) {}), Accepted)
	}
	if n := len(d.a.extremitiesOf(d.room)); n > extremitiesMost {
		d.t.Errorf("%d extremities", n)
	}
	d.a.checkMembers(d.room)
}

// TestCycles has events of the oldest room version, whose ids are free, refer to each other.
func TestCycles(t *testing.T) {
	t.Parallel()
	d := openDen(t, testkit.SQLite(t), "1")
	one, two := matrix.EventID("$one:e.example"), matrix.EventID("$two:e.example")
	circle := func(id, refers matrix.EventID) *rules.Event {
		return d.made(d.message("x"), func(p *rules.Proto) {
			p.EventID, p.Auth[0].ID, p.Prev = id, refers, []rules.EventRef{{ID: refers}}
		})
	}
	events := []*rules.Event{circle(one, two), circle(two, one), circle("$self:e.example", "$self:e.example")}
	if err := d.a.KeepOutliers(t.Context(), d.room, events); err != nil {
		t.Fatal(err)
	}
	for _, ev := range events {
		d.expectGap("an event in a circle", ev)
	}
}
