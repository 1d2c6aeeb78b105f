package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// roomList is the request of the room lists of current clients, as the Rust SDK sends it.
func roomList(ranges ...[2]int) map[string]any {
	return map[string]any{
		"lists": map[string]any{"all_rooms": map[string]any{
			"ranges": ranges, "timeline_limit": 1, "filters": map[string]any{},
			"required_state": [][2]string{
				{"m.room.name", ""}, {"m.room.encryption", ""}, {"m.room.member", "$LAZY"}, {"m.room.member", "$ME"}, {"m.room.topic", ""},
				{"m.room.avatar", ""}, {"m.room.canonical_alias", ""}, {"m.room.power_levels", ""}, {"org.matrix.msc3401.call.member", "*"},
				{"m.room.join_rules", ""}, {"m.room.tombstone", ""}, {"m.room.create", ""}, {"m.room.history_visibility", ""},
				{"io.element.functional_members", ""}, {"m.space.parent", "*"}, {"m.space.child", "*"}, {"org.matrix.msc3672.beacon_info", "*"},
			},
		}},
		"extensions": map[string]any{
			"account_data": map[string]any{"enabled": true},
			"receipts":     map[string]any{"enabled": true, "rooms": []string{"*"}},
			"typing":       map[string]any{"enabled": true},
		},
	}
}

// encryption is the request of the other connection that these clients have.
func encryption() map[string]any {
	return map[string]any{"extensions": map[string]any{
		"to_device": map[string]any{"enabled": true}, "e2ee": map[string]any{"enabled": true},
	}}
}

// view is a list of the accepted form.
func view(limit int, last int) map[string]any {
	list := map[string]any{"timeline_limit": limit, "required_state": map[string]any{"include": []any{map[string]any{}}, "lazy_members": true}}
	if last >= 0 {
		list["range"] = []int{0, last}
	}
	return map[string]any{"lists": map[string]any{"all": list}}
}

// TestSlidingRoomList is a client's first minute: the flag, a small window, the whole list, a room that is opened.
func TestSlidingRoomList(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		if v := bob.Reads("/_matrix/client/versions"); !v.At("unstable_features", "org.matrix.simplified_msc3575").Bool() {
			t.Errorf("the server does not say that it has sliding sync: %s", v)
		}
		var rooms []string
		for i := range 5 {
			room := alice.CreatesRoom(map[string]any{"name": fmt.Sprint("room ", i)})
			bob.Joins(room)
			alice.Says(room, fmt.Sprint("hello ", i))
			rooms = append(rooms, room)
		}
		s := bob.Slides("room-list", roomList([2]int{0, 1}))
		a := s.Goes()
		if got := a.At("rooms").Keys(); len(got) != 2 || !a.At("rooms", rooms[4]).There() || !a.At("rooms", rooms[3]).There() {
			t.Fatalf("the first window has %v", got)
		}
		if n := a.At("lists", "all_rooms", "count").Int(); n != 5 {
			t.Errorf("the list has %d rooms, want 5", n)
		}
		newest := a.At("rooms", rooms[4])
		if !newest.At("initial").Bool() || !newest.At("limited").Bool() || newest.At("name").Text() != "room 4" || newest.At("joined_count").Int() != 2 ||
			newest.At("num_live").Int() != 0 || newest.At("notification_count").Int() != 1 || newest.At("prev_batch").Text() == "" || newest.Has("heroes") {
			t.Errorf("a room in the first window is %s", newest)
		}
		if got := bodies(newest.At("timeline").List()); !slices.Equal(got, []string{"hello 4"}) {
			t.Errorf("its timeline is %v", got)
		}
		for _, tp := range []string{"m.room.create", "m.room.name", "m.room.power_levels", "m.room.join_rules", "m.room.history_visibility"} {
			if !slices.Contains(newest.At("required_state").Texts("type"), tp) {
				t.Errorf("the state lacks %s", tp)
			}
		}
		for _, who := range []*story.User{alice, bob} { // who sent the event, and the user
			if !slices.Contains(newest.At("required_state").Texts("state_key"), who.ID) {
				t.Errorf("the state lacks the member %s", who.Name)
			}
		}
		if newest.At("bump_stamp").Int() <= a.At("rooms", rooms[3], "bump_stamp").Int() {
			t.Error("the room with the newest message has not the greatest stamp")
		}
		// The window grows: only what was not told is.
		s.Body["lists"] = roomList([2]int{0, 99})["lists"]
		a = s.Goes()
		if got := a.At("rooms").Keys(); len(got) != 3 || a.At("rooms", rooms[4]).There() {
			t.Errorf("the larger window has %v", got)
		}
		if a = s.Goes(); len(a.At("rooms").Keys()) != 0 {
			t.Errorf("nothing happened, but there is %s", a.At("rooms"))
		}
		// Something happens.
		alice.Says(rooms[0], "news")
		alice.SetsState(rooms[0], "m.room.topic", "", map[string]any{"topic": "new"})
		a = s.Goes()
		if r := a.At("rooms", rooms[0]); r.At("initial").Bool() || r.At("num_live").Int() != 1 || r.At("timeline", 0, "type").Text() != "m.room.topic" ||
			!r.At("limited").Bool() || r.At("required_state", -1, "type").Text() != "m.room.topic" || r.Has("name") {
			t.Errorf("what is new in a room is %s", r)
		}
		// A room is opened: more of its timeline, at once.
		s.Body["room_subscriptions"] = map[string]any{rooms[0]: map[string]any{"timeline_limit": 20, "required_state": [][2]string{{"m.room.pinned_events", ""}}}}
		a = s.Waits(20 * time.Second)
		opened := a.At("rooms", rooms[0])
		if !opened.At("unstable_expanded_timeline").Bool() || len(opened.At("timeline").List()) < 8 || opened.At("initial").Bool() {
			t.Errorf("a room that is opened is %s", opened)
		}
		if before := bob.Messages(rooms[0], "dir=b&from="+s.Pos); len(before.At("chunk").List()) == 0 {
			t.Errorf("a position is no token of messages: %s", before)
		}
	})
}

// TestSlidingWaits looks at each kind of news that ends a waiting request.
func TestSlidingWaits(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room, other := alice.CreatesRoom(), alice.CreatesRoom()
		bob.Joins(room)
		read := alice.Says(room, "read me")
		s, keys := bob.Slides("room-list", roomList([2]int{0, 19})), bob.Slides("encryption", encryption())
		s.Goes()
		keys.Goes()
		for _, c := range []struct {
			what string
			on   *story.Sliding
			do   func()
			path []any
		}{
			{"a message", s, func() { alice.Says(room, "hi") }, []any{"rooms", room, "timeline", 0}},
			{"an invite", s, func() { alice.Invites(other, bob) }, []any{"rooms", other, "invite_state", 0}},
			{"a join", s, func() { bob.Joins(other) }, []any{"rooms", other, "timeline", 0}},
			{"typing", s, func() {
				alice.Must("PUT", story.Path("rooms", room, "typing", alice.ID), `{"typing":true,"timeout":120000}`)
			},
				[]any{"extensions", "typing", "rooms", room, "content", "user_ids", 0}},
			{"a receipt", s, func() { alice.Must("POST", story.Path("rooms", room, "receipt", "m.read", read), `{}`) },
				[]any{"extensions", "receipts", "rooms", room, "content", read, "m.read", alice.ID}},
			{"reading oneself", s, func() { bob.Must("POST", story.Path("rooms", room, "receipt", "m.read.private", read), `{}`) },
				[]any{"rooms", room, "notification_count"}},
			{"account data", s, func() { bob.Must("PUT", story.Path("user", bob.ID, "account_data", "org.example"), `{"a":1}`) },
				[]any{"extensions", "account_data", "global", 0, "content", "a"}},
			{"account data of a room", s, func() {
				bob.Must("PUT", story.Path("user", bob.ID, "rooms", room, "account_data", "org.example"), `{"a":1}`)
			},
				[]any{"extensions", "account_data", "rooms", room, 0, "content", "a"}},
			{"a direct chat", s, func() {
				bob.Must("PUT", story.Path("user", bob.ID, "account_data", "m.direct"), map[string]any{alice.ID: []string{room}})
			}, []any{"rooms", room, "is_dm"}},
			{"a message to the device", keys, func() {
				alice.Must("PUT", "/sendToDevice/org.example/t1", map[string]any{"messages": map[string]any{bob.ID: map[string]any{bob.Device: map[string]any{"a": 1}}}})
			}, []any{"extensions", "to_device", "events", 0, "content", "a"}},
			{"a kick", s, func() { alice.Kicks(other, bob, "") }, []any{"rooms", other, "required_state", 0, "content", "membership"}},
		} {
			c.on.Goes() // up to date
			answered := make(chan story.JSON, 1)
			go func() { answered <- c.on.Asks(25 * time.Second).JSON }()
			c.do()
			a := <-answered
			if !a.At(c.path...).There() {
				t.Errorf("%s: the answer is %s", c.what, a)
			}
			c.on.Pos = a.At("pos").Text()
			if c.on == keys {
				keys.Body["extensions"].(map[string]any)["to_device"] = map[string]any{"enabled": true, "since": a.At("extensions", "to_device", "next_batch").Text()}
			}
		}
		if a := keys.Goes(); len(a.At("extensions", "to_device", "events").List()) != 0 || !a.At("extensions", "e2ee", "device_one_time_keys_count", "signed_curve25519").There() {
			t.Errorf("after all the encryption connection has %s", a)
		}
	})
}

// TestSlidingEndsWithTheDevice logs a device out whose request waits.
func TestSlidingEndsWithTheDevice(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		bob := hs.User("bob")
		s := bob.Slides("room-list", roomList([2]int{0, 19}))
		s.Goes()
		answered := make(chan *story.Answer, 1)
		go func() { answered <- s.Asks(50 * time.Second) }()
		bob.Must("POST", "/logout", `{}`)
		if a := <-answered; a.Status != 401 || a.At("errcode").Text() != "M_UNKNOWN_TOKEN" {
			t.Errorf("the request that waited is answered %d %s", a.Status, a)
		}
	})
}

// TestSlidingAfterLeaving looks for what came after somebody left, was kicked or was banned, in every way of asking.
func TestSlidingAfterLeaving(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		for i, c := range []struct {
			how string
			do  func(room string, bob *story.User)
		}{
			{"left", func(room string, bob *story.User) { bob.Leaves(room) }},
			{"was kicked", func(room string, bob *story.User) { alice.Kicks(room, bob, "go") }},
			{"was banned", func(room string, bob *story.User) { alice.Bans(room, bob, "go") }},
			{"left and was banned", func(room string, bob *story.User) {
				bob.Leaves(room)
				alice.Says(room, "secret between")
				alice.Bans(room, bob, "go")
			}},
		} {
			bob := hs.User(fmt.Sprint("bob", i))
			room := alice.CreatesRoom(map[string]any{"name": "open"})
			bob.Joins(room)
			alice.Says(room, "before")
			body := roomList([2]int{0, 19})
			body["room_subscriptions"] = map[string]any{room: map[string]any{"timeline_limit": 20, "required_state": [][2]string{{"*", "*"}}}}
			stable := view(20, -1)
			stable["room_subscriptions"] = map[string]any{room: map[string]any{"timeline_limit": 50, "required_state": map[string]any{"include": []any{map[string]any{}}}}}
			old := []*story.Sliding{bob.Slides("old", body), bob.SlidesStably("old stable", stable)}
			for _, s := range old {
				s.Goes()
			}
			c.do(room, bob)
			alice.Says(room, "secret")
			alice.SetsState(room, "m.room.name", "", map[string]any{"name": "secret name"})
			hs.User(fmt.Sprint("carol", i)).Joins(room)
			alice.Must("PUT", story.Path("rooms", room, "typing", alice.ID), `{"typing":true,"timeout":30000}`)
			for i, s := range append(old, bob.Slides("new", body), bob.SlidesStably("new stable", stable)) {
				for range 3 {
					a := s.Goes()
					text := a.String()
					if strings.Contains(text, "secret") || strings.Contains(text, "carol") || a.At("extensions", "typing", "rooms", room).There() {
						t.Errorf("bob %s, and connection %d is told what came later: %s", c.how, i, a.At("rooms", room))
					}
					if i < 2 && !strings.Contains(text, "before") && a.At("rooms", room).There() && a.At("rooms", room, "initial").Bool() {
						t.Errorf("bob %s, and connection %d is told %s", c.how, i, a)
					}
				}
			}
		}
	})
}

// TestSlidingTellsOfTheEnd looks at what is told when a membership ends, or an invite comes to nothing.
func TestSlidingTellsOfTheEnd(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room, invited := alice.CreatesRoom(), alice.CreatesRoom()
		bob.Joins(room)
		alice.Invites(invited, bob)
		s, st := bob.Slides("a", roomList([2]int{0, 19})), bob.SlidesStably("b", view(5, -1))
		s.Goes()
		if a := st.Goes(); a.At("rooms", invited, "membership").Text() != "invite" || len(a.At("rooms", invited, "stripped_state").List()) == 0 ||
			a.At("rooms", room, "membership").Text() != "join" || a.At("rooms", room, "lists", 0).Text() != "all" || a.At("rooms", room).Has("notification_count") {
			t.Errorf("in the accepted form the rooms are %s", a.At("rooms"))
		}
		bob.Leaves(room)
		bob.Leaves(invited)
		a := s.Goes()
		for _, r := range []string{room, invited} {
			own, _ := a.At("rooms", r, "required_state").Find(func(e story.JSON) bool { return e.At("state_key").Text() == bob.ID })
			if own.At("content", "membership").Text() != "leave" {
				t.Errorf("after leaving the client is told %s", a.At("rooms", r))
			}
		}
		if a := st.Goes(); a.At("rooms", room, "membership").Text() != "leave" || a.At("rooms", invited, "membership").Text() != "leave" {
			t.Errorf("after leaving, in the accepted form, the rooms are %s", a.At("rooms"))
		}
		if a := bob.Slides("new", roomList([2]int{0, 19})).Goes(); len(a.At("rooms").Keys()) != 0 {
			t.Errorf("a new connection is told of rooms that were left: %s", a.At("rooms"))
		}
		bob.Joins(room)
		if a := s.Goes(); !a.At("rooms", room, "initial").Bool() {
			t.Errorf("after coming back the client is told %s", a.At("rooms", room))
		}
	})
}

// TestSlidingFilters looks at each filter of a list.
func TestSlidingFilters(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		plain := alice.CreatesRoom()
		secret := alice.CreatesRoom(map[string]any{"initial_state": []any{map[string]any{"type": "m.room.encryption", "state_key": "", "content": map[string]any{"algorithm": "m.megolm.v1.aes-sha2"}}}})
		space := alice.CreatesRoom(map[string]any{"creation_content": map[string]any{"type": "m.space"}})
		alice.SetsState(space, "m.space.child", secret, map[string]any{"via": []string{"localhost"}})
		alice.SetsState(space, "m.space.child", plain, map[string]any{})
		invite := hs.User("bob").CreatesRoom(map[string]any{"invite": []string{alice.ID}, "is_direct": true})
		alice.Must("PUT", story.Path("user", alice.ID, "account_data", "m.direct"), map[string]any{"@x:localhost": []string{plain, invite}})
		alice.Must("PUT", story.Path("user", alice.ID, "rooms", plain, "tags", "m.favourite"), `{}`)
		for _, c := range []struct {
			filter string
			want   []string
		}{
			{`{}`, []string{plain, secret, space, invite}},
			{`{"is_dm":true}`, []string{plain, invite}},
			{`{"is_dm":false}`, []string{secret, space}},
			{`{"is_encrypted":true}`, []string{secret}},
			{`{"is_invite":true}`, []string{invite}},
			{`{"is_invited":false}`, []string{plain, secret, space}},
			{`{"room_types":["m.space"]}`, []string{space}},
			{`{"room_types":[null]}`, []string{plain, secret, invite}},
			{`{"not_room_types":["m.space"]}`, []string{plain, secret, invite}},
			{`{"room_types":["m.space"],"not_room_types":["m.space"]}`, nil},
			{`{"tags":["m.favourite","u.x"]}`, []string{plain}},
			{`{"not_tags":["m.favourite"]}`, []string{secret, space, invite}},
			{`{"spaces":["` + space + `","!none:localhost"]}`, []string{secret}},
			{`{"spaces":["!none:localhost"]}`, nil},
		} {
			body := `{"lists":{"l":{"ranges":[[0,99]],"timeline_limit":1,"required_state":[],"filters":` + c.filter + `}}}`
			a := alice.Must("POST", story.UnstableSync, body)
			want := slices.Clone(c.want)
			slices.Sort(want)
			if got := a.At("rooms").Keys(); !slices.Equal(got, want) && len(got)+len(want) > 0 {
				t.Errorf("%s shows %v, want %v", c.filter, got, want)
			}
			if n := a.At("lists", "l", "count").Int(); int(n) != len(want) {
				t.Errorf("%s counts %d, want %d", c.filter, n, len(want))
			}
		}
	})
}

// TestSlidingRefusesWhatIsBad asks for what is wrong, out of order, huge or not there any more.
func TestSlidingRefusesWhatIsBad(t *testing.T) {
	t.Parallel()
	hs := story.Start(t, testkit.SQLite(t))
	alice, bob := hs.User("alice"), hs.User("bob")
	alice.CreatesRoom()
	s := alice.Slides("c", roomList([2]int{0, 9}))
	s.Goes()
	many := func(n int, one string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"%s%d%s`, map[bool]string{true: "!r", false: "l"}[one[0] == '!'], i, one[1:])
			if i < n-1 {
				b.WriteByte(',')
			}
		}
		return b.String()
	}
	list := func(inner string) string {
		return `{"lists":{"l":{"timeline_limit":1,"required_state":[],` + inner + `}}}`
	}
	for _, c := range []struct {
		path, body string
		code       matrix.Code
	}{
		{story.UnstableSync + "?pos=nonsense", `{"conn_id":"c"}`, matrix.CodeUnknownPos},
		{story.UnstableSync + "?pos=" + s.Pos, `{"conn_id":"other"}`, matrix.CodeUnknownPos},
		{story.UnstableSync + "?pos=" + s.Pos + "1", `{"conn_id":"c"}`, ""},
		{story.UnstableSync + "?pos=p1_0_0_0_0_0", `{"conn_id":"c"}`, matrix.CodeUnknownPos},
		{story.UnstableSync + "?pos=p1_1_1_1_1_1_1_0", `{"conn_id":"c"}`, matrix.CodeUnknownPos},
		{story.UnstableSync + "?timeout=soon", `{}`, matrix.CodeInvalidParam},
		{story.UnstableSync + "?timeout=-1", `{}`, matrix.CodeInvalidParam},
		{story.UnstableSync + "?set_presence=asleep", `{}`, matrix.CodeInvalidParam},
		{story.UnstableSync, `[]`, matrix.CodeBadJSON},
		{story.UnstableSync, `{"lists"`, matrix.CodeNotJSON},
		{story.UnstableSync, `{"lists":{},"lists":{}}`, matrix.CodeNotJSON},
		{story.UnstableSync, `{"lists":[]}`, matrix.CodeBadJSON},
		{story.UnstableSync, list(`"ranges":[[9,0]]`), matrix.CodeInvalidParam},
		{story.UnstableSync, list(`"ranges":[[-1,0]]`), matrix.CodeInvalidParam},
		{story.UnstableSync, list(`"ranges":[[1]]`), matrix.CodeInvalidParam},
		{story.UnstableSync, list(`"ranges":[[0,1e99]]`), matrix.CodeBadJSON},
		{story.UnstableSync, list(`"ranges":"all"`), matrix.CodeBadJSON},
		{story.UnstableSync, list(`"ranges":[[0,9007199254740991],[5,7],[2,9]]`), ""},
		{story.UnstableSync, list(`"filters":{"is_dm":"yes"}`), matrix.CodeBadJSON},
		{story.UnstableSync, list(`"filters":{"room_types":"m.space"}`), matrix.CodeBadJSON},
		{story.UnstableSync, list(`"filters":{"tags":[1]}`), matrix.CodeBadJSON},
		{story.UnstableSync, `{"lists":{"l":{"ranges":[],"timeline_limit":-1}}}`, matrix.CodeInvalidParam},
		{story.UnstableSync, `{"lists":{"l":{"ranges":[],"required_state":[["m.room.name"]]}}}`, matrix.CodeInvalidParam},
		{story.UnstableSync, `{"lists":{` + many(3000, `l":{"ranges":[]}`) + `}}`, matrix.CodeInvalidParam},
		{story.UnstableSync, `{"room_subscriptions":{` + many(3000, `!":{}`) + `}}`, matrix.CodeInvalidParam},
		{story.UnstableSync, `{"room_subscriptions":{"!none:localhost":{"timeline_limit":5}}}`, ""},
		{story.UnstableSync, `{"extensions":{"to_device":{"enabled":true,"since":"x"}}}`, matrix.CodeInvalidParam},
		{story.UnstableSync, `{"extensions":{"to_device":{"enabled":true,"limit":0}}}`, matrix.CodeInvalidParam},
		{story.UnstableSync, `{"extensions":{"typing":{"enabled":"yes"}}}`, matrix.CodeBadJSON},
		{story.UnstableSync, `{"extensions":{"org.example.unknown":{"enabled":[]}}}`, ""},
		{story.UnstableSync, `{"conn_id":"` + strings.Repeat("c", 300) + `"}`, matrix.CodeInvalidParam},
		{story.StableSync, `{"lists":{"l":{"timeline_limit":1}}}`, matrix.CodeMissingParam},
		{story.StableSync, `{"lists":{"l l":{"timeline_limit":1,"required_state":{}}}}`, matrix.CodeInvalidParam},
		{story.StableSync, `{"lists":{"l":{"timeline_limit":1,"required_state":[]}}}`, matrix.CodeBadJSON},
		{story.StableSync, `{"lists":{"l":{"timeline_limit":1,"required_state":{},"range":[5,1]}}}`, matrix.CodeInvalidParam},
		{story.StableSync, `{"lists":{"l":{"timeline_limit":1,"required_state":{"include":[{"type":1}]}}}}`, matrix.CodeBadJSON},
		{story.StableSync, `{"room_subscriptions":{` + many(101, `!":{"timeline_limit":1,"required_state":{}}`) + `}}`, matrix.CodeInvalidParam},
		{story.StableSync, `{"pos":"s1_5_0_0"}`, matrix.CodeUnknownPos},
		{story.StableSync, `{"pos":7}`, matrix.CodeBadJSON},
		{story.StableSync, `{"timeout":-5}`, matrix.CodeInvalidParam},
	} {
		if c.code != "" {
			alice.IsRefused(c.code, 400, "POST", c.path, c.body)
			continue
		}
		if a := alice.Does("POST", c.path, c.body); a.Status != 200 && !strings.HasSuffix(c.path, "1") {
			t.Errorf("%s is answered %d %s", c.body, a.Status, a)
		}
	}
	bob.IsRefused(matrix.CodeUnknownPos, 400, "POST", story.UnstableSync+"?pos="+s.Pos, `{"conn_id":"c"}`)
	alice.LogsIn().IsRefused(matrix.CodeUnknownPos, 400, "POST", story.UnstableSync+"?pos="+s.Pos, `{"conn_id":"c"}`)
	s.Goes() // and the connection is as it was
}

// TestSlidingConnections looks at connections that are repeated, begun anew, too many, or go on at another node.
func TestSlidingConnections(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		s := alice.SlidesStably("c", view(5, -1))
		first := s.Goes()
		alice.Says(room, "one")
		before := s.Pos
		a := s.Goes()
		alice.Says(room, "two")
		s.Pos = before // the answer was lost
		again := s.Goes()
		if one, two := bodies(a.At("rooms", room, "timeline").List()), bodies(again.At("rooms", room, "timeline").List()); !slices.Equal(two, append(one, "two")) {
			t.Errorf("a repeated request is answered %v, and first %v", two, one)
		}
		if a := s.Goes(); len(a.At("rooms").Keys()) != 0 {
			t.Errorf("then there is %s", a.At("rooms"))
		}
		hs.Restart()
		alice.Says(room, "after the restart")
		if a := s.Goes(); a.At("rooms", room, "initial").Bool() || !slices.Equal(bodies(a.At("rooms", room, "timeline").List()), []string{"after the restart"}) {
			t.Errorf("after a restart the connection goes on with %s", a.At("rooms"))
		}
		// Beginning anew ends what was.
		old := s.Pos
		if a := s.Anew(); !a.At("rooms", room, "initial").Bool() || len(a.At("rooms").Keys()) != len(first.At("rooms").Keys()) {
			t.Errorf("a connection that begins anew is told %s", a.At("rooms"))
		}
		current := s.Pos
		s.Pos = old
		if a := s.Asks(0); a.Status != 400 || a.At("errcode").Text() != "M_UNKNOWN_POS" {
			t.Errorf("the old position is answered %d %s", a.Status, a)
		}
		s.Pos = current
		// So do many others.
		for i := range 25 {
			alice.SlidesStably(fmt.Sprint("other ", i), view(1, 0)).Goes()
		}
		if a := s.Asks(0); a.Status != 400 || a.At("errcode").Text() != "M_UNKNOWN_POS" {
			t.Errorf("with too many connections the oldest is answered %d %s", a.Status, a)
		}
	})
}

// TestSlidingTellsOfThreads subscribes to threads, and looks what another device is told.
func TestSlidingTellsOfThreads(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withThreads)
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		var roots []string
		for range 3 {
			root := alice.Says(room, "root")
			alice.SendsEvent(room, "m.room.message", alice.Txn(), map[string]any{
				"msgtype": "m.text", "body": "reply", "m.relates_to": map[string]any{"rel_type": "m.thread", "event_id": root},
			})
			roots = append(roots, root)
		}
		const name = "io.element.msc4308.thread_subscriptions"
		s := alice.Slides("c", map[string]any{"extensions": map[string]any{name: map[string]any{"enabled": true, "limit": 2}}})
		if a := s.Goes(); a.At("extensions", name).There() {
			t.Errorf("without subscriptions the client is told %s", a)
		}
		for _, root := range roots {
			alice.Must("PUT", subscription(room, root), `{}`)
		}
		a := s.Waits(20*time.Second).At("extensions", name)
		if len(a.At("subscribed", room).Keys()) != 2 || a.At("prev_batch").Text() == "" || !a.At("subscribed", room, roots[2]).Has("automatic") {
			t.Errorf("of three subscriptions the client is told %s", a)
		}
		alice.Must("DELETE", subscription(room, roots[0]), nil)
		if a := s.Goes().At("extensions", name); !a.At("unsubscribed", room, roots[0], "bump_stamp").There() || a.At("subscribed").There() {
			t.Errorf("of the end of a subscription the client is told %s", a)
		}
	})
}
