package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// TestRoomDoctor has three servers in a room, of which one knows of a topic that the two others never heard of. The
// doctor finds that, by the command and by the administrators' endpoint, and heals it by the rules of the room.
func TestRoomDoctor(t *testing.T) {
	t.Parallel()
	dir := ""
	a := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), testkit.SQLite(t), func(c *config.Config) { dir = c.DataDir })
	b := story.StartAs(t, matrix.ServerName(story.OwnAddress(t)), testkit.SQLite(t))
	f := story.NewForeign(t)
	f.Handle("PUT /_matrix/federation/v1/send/{txn}", func(w http.ResponseWriter, _ *http.Request) {
		f.Answers(w, 200, map[string]any{"pdus": map[string]any{}})
	})
	alice, bob := a.User("alice"), b.User("bob")
	room := alice.CreatesRoom(map[string]any{"power_level_content_override": map[string]any{"events": map[string]int{"m.room.topic": 0}}})
	bob.Must("POST", story.Path("join", room)+"?via="+string(a.ServerName()), `{}`)
	alice.SeesMembership(room, bob, "join")
	carol := f.Joins(a, "carol", room)

	doctor := func(args ...string) string {
		t.Helper()
		out, err := run(t, "", append([]string{"room", "doctor", "--data", dir, room}, args...)...)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return out
	}
	p := carol.Proto("m.room.topic", map[string]any{"topic": "only carol knows"})
	p.StateKey = new(string)
	topic := carol.Makes(p)
	last := carol.Says("carol is here") // beside the topic, which is sent to nobody
	for _, hs := range []*story.Server{a, b} {
		if _, err := f.Sends(hs, "t1", []any{last}, nil); err != nil {
			t.Fatal(err)
		}
	}
	alice.Sees(room, "carol is here")
	bob.Sees(room, "carol is here")
	tells(f, carol, topic)

	out := doctor()
	want := "only there  " + string(topic.ID()) + `  "m.room.topic" "" of @carol:` + string(f.Name)
	if !strings.Contains(out, string(b.ServerName())+" agrees.") || !strings.Contains(out, string(f.Name)+" differs:") || !strings.Contains(out, want) {
		t.Errorf("the doctor says:\n%s", out)
	}
	if out := doctor("--server", string(b.ServerName())); strings.Contains(out, string(f.Name)) {
		t.Errorf("the doctor was to ask one server:\n%s", out)
	}
	if out, err := run(t, "pass the word\n", "user", "create", "--data", dir, "--admin", "root"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	root := a.Nobody()
	root.Name, root.Password = "root", "pass the word"
	root = root.LogsIn()
	path := "/_astrocyte/admin/v1" + story.Path("rooms", room, "doctor")
	alice.IsRefused(matrix.CodeForbidden, 403, "GET", path, nil)
	root.IsRefused(matrix.CodeInvalidParam, 400, "GET", path+"?server=no%20name", nil)
	root.IsRefused(matrix.CodeNotFound, 404, "GET", "/_astrocyte/admin/v1/rooms/!nowhere:example.org/doctor", nil)
	seen := root.Reads(path + "?server=" + string(f.Name))
	if there := seen.At("servers", 0, "only_there"); len(there.List()) != 1 || there.At(0, "event_id").Text() != string(topic.ID()) || seen.At("event_id").Text() != string(last.ID()) {
		t.Errorf("the endpoint says %s", seen)
	}
	alice.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("rooms", room, "state", "m.room.topic"), nil)

	if out := doctor("--repair", "--server", string(f.Name)); !strings.Contains(out, "repaired: 1 places") {
		t.Errorf("the doctor says:\n%s", out)
	}
	if got := alice.State(room, "m.room.topic", "").At("topic").Text(); got != "only carol knows" {
		t.Errorf("the topic is %q", got)
	}
	alice.Says(room, "healed")
	bob.Sees(room, "healed")
	again := root.Must("POST", path+"?server="+string(b.ServerName()), `{}`) // whose own doctor has to be asked
	if alone := again.At("servers", 0); len(alone.At("only_here").List()) != 1 || len(alone.At("only_there").List()) != 0 || alone.At("repaired").Int() != 0 {
		t.Errorf("the endpoint says %s", again)
	}
}

// tells has a foreign server tell of a state with one event more than the others know.
func tells(f *story.Foreign, room *story.ForeignRoom, more *rules.Event) {
	f.Handle("GET /_matrix/federation/v1/state_ids/{room}", func(w http.ResponseWriter, _ *http.Request) {
		ids := []matrix.EventID{more.ID()}
		for _, e := range room.State() {
			ids = append(ids, e.ID())
		}
		f.Answers(w, 200, map[string]any{"pdu_ids": ids, "auth_chain_ids": ids[1:]})
	})
	f.Handle("GET /_matrix/federation/v1/event/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != string(more.ID()) {
			f.Answers(w, 404, map[string]any{"errcode": "M_NOT_FOUND", "error": "not here"})
			return
		}
		f.Answers(w, 200, map[string]any{"origin": f.Name, "origin_server_ts": 1, "pdus": []any{json.RawMessage(more.Bytes())}})
	})
}
