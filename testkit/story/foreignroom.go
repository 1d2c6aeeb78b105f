package story

import (
	"encoding/json"
	"net/url"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// ForeignRoom is a room of another server as a foreign one sees it: it makes events for it.
type ForeignRoom struct {
	ID      matrix.RoomID
	User    matrix.UserID // who joined it
	Version *rules.Version

	f     *Foreign
	state map[rules.StateKey]*rules.Event
	last  *rules.Event // that is built upon
}

// Joins has a user of the foreign server join a room.
func (f *Foreign) Joins(s Reached, user, room string) *ForeignRoom {
	f.t.Helper()
	r := &ForeignRoom{ID: matrix.RoomID(room), User: matrix.UserID("@" + user + ":" + string(f.Name)), f: f, state: map[rules.StateKey]*rules.Event{}}
	versions := "?ver=10&ver=11&ver=12"
	made, err := f.Asks(s, "GET", "/_matrix/federation/v1/make_join/"+url.PathEscape(room)+"/"+url.PathEscape(string(r.User))+versions, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	known := false
	if r.Version, known = rules.ByID(matrix.RoomVersion(made.At("room_version").Text())); !known {
		f.t.Fatalf("the room has version %s", made.At("room_version"))
	}
	refs := func(name string) (out []rules.EventRef) {
		for _, id := range made.At("event", name).Texts() {
			out = append(out, rules.EventRef{ID: matrix.EventID(id)})
		}
		return out
	}
	key := string(r.User)
	join := r.build(&rules.Proto{
		RoomID: r.ID, Sender: r.User, Type: "m.room.member", StateKey: &key, Content: made.At("event", "content").Bytes(),
		Prev: refs("prev_events"), Auth: refs("auth_events"), Depth: made.At("event", "depth").Int(),
	})
	told, err := f.Asks(s, "PUT", "/_matrix/federation/v2/send_join/"+url.PathEscape(room)+"/"+url.PathEscape(string(join.ID())), json.RawMessage(join.Bytes()))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, raw := range told.At("state").List() {
		e, err := rules.Read(r.Version, raw.Bytes())
		if err != nil {
			f.t.Fatal(err)
		}
		key, _ := e.StateKey()
		r.state[rules.StateKey{Type: e.Type(), Key: key}] = e
	}
	r.Knows(join)
	return r
}

// Knows has the room's next events built upon one.
func (r *ForeignRoom) Knows(e *rules.Event) {
	if key, is := e.StateKey(); is {
		r.state[rules.StateKey{Type: e.Type(), Key: key}] = e
	}
	r.last = e
}

// Proto is the next event of a type by the user who joined, to be changed before it is made.
func (r *ForeignRoom) Proto(eventType string, content any) *rules.Proto {
	r.f.t.Helper()
	raw, err := json.Marshal(content)
	if err != nil {
		r.f.t.Fatal(err)
	}
	p := &rules.Proto{RoomID: r.ID, Sender: r.User, Type: eventType, Content: raw, Prev: []rules.EventRef{r.last.Ref()}, Depth: r.last.Depth() + 1}
	for _, key := range rules.AuthTypes(r.Version, eventType, r.User, nil, raw) {
		if e := r.state[key]; e != nil {
			p.Auth = append(p.Auth, e.Ref())
		}
	}
	return p
}

// Makes makes an event and signs it.
func (r *ForeignRoom) Makes(p *rules.Proto) *rules.Event {
	r.f.t.Helper()
	return r.build(p)
}

// Says makes the next message, upon which later ones are built.
func (r *ForeignRoom) Says(text string) *rules.Event {
	r.f.t.Helper()
	e := r.build(r.Proto("m.room.message", map[string]any{"msgtype": "m.text", "body": text}))
	r.Knows(e)
	return e
}

func (r *ForeignRoom) build(p *rules.Proto) *rules.Event {
	r.f.t.Helper()
	if p.OriginServerTS == 0 {
		p.OriginServerTS = time.Now().UnixMilli()
	}
	e, err := rules.Build(r.Version, p)
	if err != nil {
		r.f.t.Fatal(err)
	}
	return e.Sign(r.f.Name, r.f.KeyID, r.f.Key)
}

// Sends sends a transaction to a server. Events may be given as such, or as JSON.
func (f *Foreign) Sends(s Reached, txn string, pdus, edus []any) (JSON, error) {
	f.t.Helper()
	body := map[string]any{"origin": f.Name, "origin_server_ts": time.Now().UnixMilli(), "edus": edus}
	raw := make([]json.RawMessage, 0, len(pdus))
	for _, p := range pdus {
		if e, is := p.(*rules.Event); is {
			raw = append(raw, json.RawMessage(e.Bytes()))
		} else {
			raw = append(raw, p.(json.RawMessage))
		}
	}
	body["pdus"] = raw
	return f.Asks(s, "PUT", "/_matrix/federation/v1/send/"+url.PathEscape(txn), body)
}

// State is the state of the room as the foreign server knows it.
func (r *ForeignRoom) State() (out []*rules.Event) {
	for _, e := range r.state {
		out = append(out, e)
	}
	return out
}

// Last is the event upon which the room's next ones are built.
func (r *ForeignRoom) Last() *rules.Event { return r.last }
