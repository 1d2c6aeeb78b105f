package story

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver/rules"
)

// Crowd is a room of a foreign server with many members, made in bulk. Who asks may join it by that server.
type Crowd struct {
	ID matrix.RoomID
	// Questions counts how often the notary was asked for keys.
	Questions atomic.Int64
	// Answers counts how often the room was given to somebody who joins, and Slow, where it is set, is called
	// before each event of the state that is given, with its number.
	Answers atomic.Int64
	Slow    func(n int)

	f       *Foreign
	version *rules.Version
	begin   []*rules.Event // create, its creator's join, power levels, join rules
	members []*rules.Event
	entered atomic.Pointer[rules.Event] // the newest join that was taken
	keys    map[matrix.ServerName]ed25519.PrivateKey
}

// HasCrowd makes a room of a number of members, who are users of some servers that do not exist: the foreign
// server is a notary for their keys.
func (f *Foreign) HasCrowd(members, servers int) *Crowd {
	f.t.Helper()
	version, _ := rules.ByID("12")
	c := &Crowd{f: f, version: version, keys: make(map[matrix.ServerName]ed25519.PrivateKey, servers)}
	for i := range servers {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			f.t.Fatal(err)
		}
		c.keys[matrix.ServerName(fmt.Sprintf("s%d.crowd.example", i))] = key
	}
	c.opens()
	c.fills(members, servers)
	f.Handle("GET /_matrix/federation/v1/make_join/"+string(c.ID)+"/{user}", c.proposes)
	f.Handle("PUT /_matrix/federation/v2/send_join/"+string(c.ID)+"/{event}", c.lets)
	return c
}

// IsNotary has the foreign server tell the keys of those in some crowds.
func (f *Foreign) IsNotary(crowds ...*Crowd) {
	f.Handle("POST /_matrix/key/v2/query", func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			Servers map[matrix.ServerName]json.RawMessage `json:"server_keys"`
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		told := []json.RawMessage{}
		for _, c := range crowds {
			c.Questions.Add(1)
			for server := range asked.Servers {
				if key, ok := c.keys[server]; ok {
					told = append(told, f.Signs(keysOf(f.t, server, key)))
				}
			}
		}
		f.Answers(w, http.StatusOK, map[string]any{"server_keys": told})
	})
}

// keysOf is what a server that does not exist publishes of its keys.
func keysOf(t testing.TB, server matrix.ServerName, key ed25519.PrivateKey) []byte {
	object := fmt.Sprintf(`{"server_name":%q,"valid_until_ts":%d,"verify_keys":{%q:{"key":%q}},"old_verify_keys":{}}`,
		server, time.Now().Add(time.Hour).UnixMilli(), crowdKey, canonicaljson.Base64(key.Public().(ed25519.PublicKey)))
	signed, err := canonicaljson.Sign([]byte(object), string(server), string(crowdKey), key)
	if err != nil {
		t.Error(err)
	}
	return signed
}

const crowdKey matrix.KeyID = "ed25519:crowd"

// opens makes the events with which the room begins.
func (c *Crowd) opens() {
	creator := matrix.UserID("@creator:" + string(c.f.Name))
	for _, p := range []rules.Proto{
		{Type: "m.room.create", Content: []byte(`{"room_version":"12"}`)},
		{Type: "m.room.member", StateKey: new(string), Content: []byte(`{"membership":"join"}`)},
		{Type: "m.room.power_levels", Content: []byte(`{}`)},
		{Type: "m.room.join_rules", Content: []byte(`{"join_rule":"public"}`)},
	} {
		p.RoomID, p.Sender, p.OriginServerTS, p.Depth = c.ID, creator, time.Now().UnixMilli(), int64(len(c.begin)+1)
		if p.StateKey != nil {
			*p.StateKey = string(creator)
		} else {
			p.StateKey = new(string)
		}
		for _, e := range c.begin[min(1, len(c.begin)):] { // all but the create event
			p.Auth = append(p.Auth, e.Ref())
		}
		if n := len(c.begin); n > 0 {
			p.Prev = []rules.EventRef{c.begin[n-1].Ref()}
		}
		e, err := rules.Build(c.version, &p)
		if err != nil {
			c.f.t.Fatal(err)
		}
		c.begin = append(c.begin, e.Sign(c.f.Name, c.f.KeyID, c.f.Key))
		c.ID = c.begin[0].RoomID()
	}
}

// fills lets the members join, one after the other.
func (c *Crowd) fills(members, servers int) {
	c.members = make([]*rules.Event, members)
	last := c.begin[len(c.begin)-1]
	for i := range c.members {
		server := matrix.ServerName(fmt.Sprintf("s%d.crowd.example", i%servers))
		user := fmt.Sprintf("@member%d:%s", i, server)
		e, err := rules.Build(c.version, &rules.Proto{
			RoomID: c.ID, Sender: matrix.UserID(user), Type: "m.room.member", StateKey: &user,
			Content: fmt.Appendf(nil, `{"membership":"join","displayname":"Member %d of many","avatar_url":"mxc://%s/face%d"}`, i, server, i),
			Prev:    []rules.EventRef{last.Ref()}, Auth: c.auth(), Depth: last.Depth() + 1, OriginServerTS: time.Now().UnixMilli(),
		})
		if err != nil {
			c.f.t.Fatal(err)
		}
		c.members[i], last = e, e
	}
	var wg sync.WaitGroup
	for part := range slices.Chunk(c.members, members/runtime.GOMAXPROCS(0)+1) {
		wg.Go(func() {
			for i, e := range part {
				server := e.Sender().Server()
				part[i] = e.Sign(server, crowdKey, c.keys[server])
			}
		})
	}
	wg.Wait()
}

// auth is what a join refers to.
func (c *Crowd) auth() []rules.EventRef {
	return []rules.EventRef{c.begin[2].Ref(), c.begin[3].Ref()}
}

// proposes answers with a template of a join.
func (c *Crowd) proposes(w http.ResponseWriter, r *http.Request) {
	last := c.begin[len(c.begin)-1]
	if n := len(c.members); n > 0 {
		last = c.members[n-1]
	}
	user := r.PathValue("user")
	c.f.Answers(w, http.StatusOK, map[string]any{"room_version": c.version.ID, "event": map[string]any{
		"room_id": c.ID, "sender": user, "state_key": user, "type": "m.room.member", "content": map[string]any{"membership": "join"},
		"prev_events": []matrix.EventID{last.ID()}, "auth_events": []matrix.EventID{c.begin[2].ID(), c.begin[3].ID()},
		"depth": last.Depth() + 1, "origin_server_ts": time.Now().UnixMilli(),
	}})
}

// lets takes a join, and answers with the room.
func (c *Crowd) lets(w http.ResponseWriter, r *http.Request) {
	var join json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&join); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if e, err := rules.Read(c.version, join); err == nil {
		c.entered.Store(e)
	}
	c.Answers.Add(1)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"origin":%q,"members_omitted":false,"event":%s,"auth_chain":`, c.f.Name, join)
	c.writes(w, c.begin)
	fmt.Fprint(w, `,"state":`)
	c.writes(w, slices.Concat(c.begin, c.members))
	fmt.Fprint(w, "}")
}

// Says makes a message of the room's creator, after the newest join that was taken.
func (c *Crowd) Says(text string) json.RawMessage {
	last := c.entered.Load()
	e, err := rules.Build(c.version, &rules.Proto{
		RoomID: c.ID, Sender: c.begin[0].Sender(), Type: "m.room.message", Content: fmt.Appendf(nil, `{"msgtype":"m.text","body":%q}`, text),
		Prev: []rules.EventRef{last.Ref()}, Auth: []rules.EventRef{c.begin[1].Ref(), c.begin[2].Ref()}, Depth: last.Depth() + 1,
		OriginServerTS: time.Now().UnixMilli(),
	})
	if err != nil {
		c.f.t.Error(err)
		return nil
	}
	return e.Sign(c.f.Name, c.f.KeyID, c.f.Key).Bytes()
}

func (c *Crowd) writes(w http.ResponseWriter, events []*rules.Event) {
	for i, e := range events {
		between := []byte(",")
		if i == 0 {
			between[0] = '['
		}
		if c.Slow != nil {
			c.Slow(i)
		}
		if _, err := w.Write(append(between, e.Bytes()...)); err != nil {
			return // who asked has gone
		}
	}
	_, _ = w.Write([]byte("]"))
}
