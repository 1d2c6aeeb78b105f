package test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// about is the content of a message that is about another event.
func about(kind, event, text string) map[string]any {
	return map[string]any{
		"msgtype": "m.text", "body": text,
		"m.relates_to": map[string]any{"rel_type": kind, "event_id": event},
	}
}

// edit is the content of a message that replaces another one.
func edit(event, text string) map[string]any {
	content := about("m.replace", event, "* "+text)
	content["m.new_content"] = map[string]any{"msgtype": "m.text", "body": text}
	return content
}

func reaction(event, key string) map[string]any {
	return map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": event, "key": key}}
}

// tells sends a message event of any content.
func tells(u *story.User, room string, content map[string]any) string {
	return u.SendsEvent(room, "m.room.message", u.Txn(), content)
}

func relationsPath(room, event string, more ...string) string {
	return "/_matrix/client/v1" + story.Path(append([]string{"rooms", room, "relations", event}, more...)...)
}

func relatedTo(u *story.User, room, event string) story.JSON {
	return u.Reads(story.Path("rooms", room, "event", event)).At("unsigned", "m.relations")
}

func TestRelations(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, eve := hs.User("alice"), hs.User("bob"), hs.User("eve")
		room := alice.CreatesRoom(private(), map[string]any{"invite": []string{bob.ID}})
		bob.Joins(room)
		root := alice.Says(room, "root")
		reply := tells(bob, room, about("m.thread", root, "in the thread"))
		ref := tells(alice, room, about("m.reference", root, "look there"))
		like := bob.SendsEvent(room, "m.reaction", bob.Txn(), reaction(root, "+1"))
		likeReply := alice.SendsEvent(room, "m.reaction", alice.Txn(), reaction(reply, "+1"))

		ids := func(path string) []string {
			t.Helper()
			return alice.Reads(path).At("chunk").Texts("event_id")
		}
		for path, want := range map[string][]string{
			relationsPath(room, root):                                   {like, ref, reply},
			relationsPath(room, root) + "?dir=f":                        {reply, ref, like},
			relationsPath(room, root) + "?recurse=true":                 {likeReply, like, ref, reply},
			relationsPath(room, root, "m.thread"):                       {reply},
			relationsPath(room, root, "m.annotation") + "?recurse=true": {likeReply, like},
			relationsPath(room, root, "m.reference", "m.room.message"):  {ref},
			relationsPath(room, root, "m.reference", "m.other"):         nil,
			relationsPath(room, ref):                                    nil,
		} {
			if got := ids(path); !slices.Equal(got, want) {
				t.Errorf("GET %s: %v, want %v", path, got, want)
			}
			path = strings.Replace(path, "/client/v1/", "/client/unstable/", 1) // as bots ask
			if got := ids(path); !slices.Equal(got, want) {
				t.Errorf("GET %s: %v, want %v", path, got, want)
			}
		}
		if depth := alice.Reads(relationsPath(room, root) + "?recurse=true").At("recursion_depth").Int(); depth < 3 {
			t.Errorf("the recursion goes %d deep, want 3 at least", depth)
		}
		if alice.Reads(relationsPath(room, root)).At("recursion_depth").There() {
			t.Error("recursion_depth is there, though nobody asked for recursion")
		}

		for path, code := range map[string]matrix.Code{
			relationsPath(room, root) + "?limit=0":       matrix.CodeInvalidParam,
			relationsPath(room, root) + "?limit=-1":      matrix.CodeInvalidParam,
			relationsPath(room, root) + "?dir=x":         matrix.CodeInvalidParam,
			relationsPath(room, root) + "?from=nonsense": matrix.CodeInvalidParam,
			relationsPath(room, root) + "?recurse=maybe": matrix.CodeInvalidParam,
			relationsPath(room, "no event"):              matrix.CodeInvalidParam,
		} {
			alice.IsRefused(code, 400, "GET", path, nil)
		}
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", relationsPath(room, "$nothing"), nil)
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", relationsPath("!nowhere:localhost", root), nil)
		eve.IsRefused(matrix.CodeNotFound, 404, "GET", relationsPath(room, root), nil)

		bob.Redacts(room, like, "")
		if got := ids(relationsPath(room, root, "m.annotation")); len(got) != 0 {
			t.Errorf("the redacted reaction is still there: %v", got)
		}
	})
}

func TestRelationsPages(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		root := alice.Says(room, "root")
		var want []string
		for i := range 7 {
			want = append(want, tells(alice, room, about("m.thread", root, strconv.Itoa(i))))
			alice.Says(room, "in between")
		}
		pages := func(query string) []string {
			t.Helper()
			var all []string
			next := ""
			for range 5 {
				page := alice.Reads(relationsPath(room, root) + "?limit=3" + query + next)
				all = append(all, page.At("chunk").Texts("event_id")...)
				if !page.At("next_batch").There() {
					return all
				}
				next = "&from=" + page.At("next_batch").Text()
			}
			t.Error("the pages do not end")
			return all
		}
		if got := pages("&dir=f"); !slices.Equal(got, want) {
			t.Errorf("forward: %v, want %v", got, want)
		}
		slices.Reverse(want)
		if got := pages(""); !slices.Equal(got, want) {
			t.Errorf("backward: %v, want %v", got, want)
		}
	})
}

func TestEditsAreBundled(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		said := alice.Says(room, "helo")
		if relatedTo(bob, room, said).There() {
			t.Error("an event that nothing is about has relations")
		}
		first := tells(alice, room, edit(said, "hello"))
		tells(bob, room, edit(said, "hell")) // not his
		alice.SendsEvent(room, "m.other", alice.Txn(), edit(said, "other type"))
		tells(alice, room, about("m.replace", said, "without new content"))
		tells(alice, room, edit(first, "an edit of an edit"))
		want := func(when, id string) {
			t.Helper()
			if got := relatedTo(bob, room, said).At("m.replace", "event_id").Text(); got != id {
				t.Errorf("%s: the edit told is %q, want %q", when, got, id)
			}
		}
		want("one valid edit", first)
		if relatedTo(bob, room, first).At("m.replace").There() {
			t.Error("an edit is told to be edited")
		}
		second := tells(alice, room, edit(said, "hello, Bob"))
		want("two edits", second)
		full := relatedTo(bob, room, said).At("m.replace")
		if full.At("content", "m.new_content", "body").Text() != "hello, Bob" || full.At("sender").Text() != alice.ID || full.At("room_id").Text() != room {
			t.Errorf("the edit is not told in full: %s", full)
		}
		if body := bob.Reads(story.Path("rooms", room, "event", said)).At("content", "body").Text(); body != "helo" {
			t.Errorf("the original reads %q", body)
		}
		for _, e := range bob.Messages(room, "dir=b&limit=20").At("chunk").List() {
			if got := e.At("unsigned", "m.relations", "m.replace", "event_id").Text(); e.At("event_id").Text() == said && got != second {
				t.Errorf("/messages tells the edit %q", got)
			}
		}
		for _, e := range bob.SyncsAnew().At("rooms", "join", room, "timeline", "events").List() {
			if got := e.At("unsigned", "m.relations", "m.replace", "event_id").Text(); e.At("event_id").Text() == said && got != second {
				t.Errorf("/sync tells the edit %q", got)
			}
		}
		alice.Redacts(room, second, "")
		want("the second edit is redacted", first)
		alice.Redacts(room, said, "")
		want("the original is redacted", "")
	})
}

func TestThreads(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, eve := hs.User("alice"), hs.User("bob"), hs.User("eve")
		room := alice.CreatesRoom()
		bob.Joins(room)
		var roots []string
		for _, text := range []string{"one", "two", "three"} {
			roots = append(roots, alice.Says(room, text))
		}
		for _, root := range roots {
			tells(alice, room, about("m.thread", root, "first reply"))
		}
		last := tells(bob, room, about("m.thread", roots[0], "second reply"))
		path := "/_matrix/client/v1" + story.Path("rooms", room, "threads")
		list := func(u *story.User, query string) []string {
			t.Helper()
			return u.Reads(path + query).At("chunk").Texts("event_id")
		}
		if got, want := list(alice, ""), []string{roots[0], roots[2], roots[1]}; !slices.Equal(got, want) {
			t.Errorf("the threads are %v, want %v", got, want)
		}
		if got, want := list(bob, "?include=participated"), roots[:1]; !slices.Equal(got, want) {
			t.Errorf("bob's threads are %v, want %v", got, want)
		}
		if got := list(alice, "?include=participated"); len(got) != 3 {
			t.Errorf("alice's threads are %v", got)
		}
		page := alice.Reads(path + "?limit=2")
		rest := list(alice, "?limit=2&from="+page.At("next_batch").Text())
		if got := append(page.At("chunk").Texts("event_id"), rest...); len(got) != 3 || got[2] != roots[1] {
			t.Errorf("in pages the threads are %v", got)
		}
		thread := relatedTo(bob, room, roots[0]).At("m.thread")
		if thread.At("count").Int() != 2 || thread.At("latest_event", "event_id").Text() != last || !thread.At("current_user_participated").Bool() {
			t.Errorf("bob is told of the thread %s", thread)
		}
		if relatedTo(bob, room, roots[1]).At("m.thread", "current_user_participated").Bool() {
			t.Error("bob is told that he wrote in a thread that he never wrote in")
		}

		edited := tells(bob, room, edit(last, "edited"))
		if got := relatedTo(alice, room, roots[0]).At("m.thread", "latest_event", "unsigned", "m.relations", "m.replace", "event_id").Text(); got != edited {
			t.Errorf("the latest event of the thread tells the edit %q, want %q", got, edited)
		}
		bob.IsRefused(matrix.CodeUnknown, 400, "PUT", story.Path("rooms", room, "send", "m.room.message", "x"), about("m.thread", last, "a thread in a thread"))

		alice.Must("PUT", story.Path("user", alice.ID, "account_data", "m.ignored_user_list"), map[string]any{"ignored_users": map[string]any{bob.ID: map[string]any{}}})
		if thread := relatedTo(alice, room, roots[0]).At("m.thread"); thread.At("count").Int() != 1 || thread.At("latest_event", "event_id").Text() == last {
			t.Errorf("alice ignores bob, and is told of the thread %s", thread)
		}
		bobs := bob.Says(room, "bob's root")
		tells(alice, room, about("m.thread", bobs, "alice answers anyway"))
		for _, e := range alice.Reads(path).At("chunk").List() {
			if e.At("event_id").Text() == bobs && e.At("content", "body").There() {
				t.Errorf("the root of an ignored user is shown: %s", e)
			}
		}
		if got := list(alice, ""); got[0] != bobs {
			t.Errorf("the thread of the ignored root is missing: %v", got)
		}

		bob.Redacts(room, last, "")
		if thread := relatedTo(bob, room, roots[0]).At("m.thread"); thread.At("count").Int() != 1 {
			t.Errorf("after the redaction of a reply the thread is %s", thread)
		}
		for _, query := range []string{"?limit=0", "?include=some", "?from=nonsense"} {
			alice.IsRefused(matrix.CodeInvalidParam, 400, "GET", path+query, nil)
		}
		eve.IsRefused(matrix.CodeForbidden, 403, "GET", "/_matrix/client/v1"+story.Path("rooms", "!nowhere:localhost", "threads"), nil)
	})
}

func TestAnnotationsAreMadeOnce(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		said := alice.Says(room, "hello")
		long := string(make([]byte, 0, 300)) + "👍" + string(slices.Repeat([]byte("x"), 300))
		for _, key := range []string{"👍", long, "nul\x00"} {
			first := bob.SendsEvent(room, "m.reaction", bob.Txn(), reaction(said, key))
			bob.IsRefused(matrix.CodeDuplicateAnnotation, 400, "PUT", story.Path("rooms", room, "send", "m.reaction", bob.Txn()), reaction(said, key))
			alice.SendsEvent(room, "m.reaction", alice.Txn(), reaction(said, key))
			bob.SendsEvent(room, "m.reaction", bob.Txn(), reaction(said, key+"!"))
			bob.Redacts(room, first, "")
			bob.SendsEvent(room, "m.reaction", bob.Txn(), reaction(said, key))
		}
		if relatedTo(alice, room, said).There() {
			t.Error("annotations are bundled")
		}
		// What cannot be looked up is sent, and is about nothing.
		bob.SendsEvent(room, "m.reaction", bob.Txn(), map[string]any{"m.relates_to": map[string]any{"rel_type": "nul\x00", "event_id": said}})
		bob.SendsEvent(room, "m.reaction", bob.Txn(), map[string]any{"m.relates_to": map[string]any{"rel_type": long, "event_id": said}})
		bob.SendsEvent(room, "m.reaction", bob.Txn(), map[string]any{"m.relates_to": "nonsense"})
	})
}

// TestBundlesDoNotTellWhatIsHidden: who has left is not told in a bundle what was said since.
func TestBundlesDoNotTellWhatIsHidden(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		root := alice.Says(room, "root")
		seen := tells(alice, room, about("m.thread", root, "seen"))
		bob.Leaves(room)
		tells(alice, room, about("m.thread", root, "secret"))
		tells(alice, room, edit(root, "secret"))
		tells(alice, room, about("m.reference", root, "secret"))
		told := relatedTo(bob, room, root)
		if told.At("m.thread", "latest_event", "event_id").Text() != seen || told.At("m.thread", "count").Int() != 1 ||
			told.At("m.replace").There() || told.At("m.reference").There() {
			t.Errorf("bob is told %s", told)
		}
	})
}

// TestThreadWithHiddenEvents: the latest event that is told is the newest that the reader may see.
func TestThreadWithHiddenEvents(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom(map[string]any{"initial_state": []any{
			map[string]any{"type": "m.room.history_visibility", "content": map[string]any{"history_visibility": "joined"}},
		}})
		bob.Joins(room)
		root := alice.Says(room, "root")
		seen := tells(alice, room, about("m.thread", root, "seen"))
		bob.Leaves(room)
		secret := tells(alice, room, about("m.thread", root, "secret"))
		bob.Joins(room)
		if got := relatedTo(bob, room, root).At("m.thread", "latest_event", "event_id").Text(); got != seen {
			t.Errorf("bob is told %s, want %s; he was not there at %s", got, seen, secret)
		}
	})
}

func TestRedactionTakesRelatedEventsAlong(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		room := alice.CreatesRoom()
		bob.Joins(room)
		about := func(u *story.User, eventType, kind, target string) string {
			return u.SendsEvent(room, eventType, u.Txn(), map[string]any{
				"msgtype": "m.text", "body": "x", "m.new_content": map[string]any{"msgtype": "m.text", "body": "x"},
				"m.relates_to": map[string]any{"rel_type": kind, "event_id": target, "key": "+1"},
			})
		}
		redacted := func(event string) bool {
			return alice.Reads(story.Path("rooms", room, "event", event)).At("unsigned").Has("redacted_because")
		}
		until := func(u *story.User, event string) {
			u.SeesEvent(room, "the redaction of "+event, func(e story.JSON) bool {
				return e.At("type").Text() == "m.room.redaction" && (e.At("redacts").Text() == event || e.At("content", "redacts").Text() == event)
			})
		}
		redact := func(u *story.User, event, how string) {
			u.Must("PUT", story.Path("rooms", room, "redact", event, u.Txn()), how)
		}

		target := bob.Says(room, "a typo")
		edit, reaction := about(bob, "m.room.message", "m.replace", target), about(bob, "m.reaction", "m.annotation", target)
		second := about(bob, "m.room.message", "m.replace", target)
		redact(bob, target, `{"reason":"oops","with_rel_types":["m.replace"]}`)
		until(alice, second)
		if !redacted(target) || !redacted(edit) || redacted(reaction) {
			t.Error("bob did not redact the message and its edits alone")
		}

		// Bob may not redact what alice says; she may redact all.
		root := bob.Says(room, "a thread")
		hers, his := about(alice, "m.room.message", "m.thread", root), about(bob, "m.room.message", "m.thread", root)
		redact(bob, root, `{"org.matrix.msc3912.with_relations":["*"]}`)
		until(alice, his)
		if redacted(hers) {
			t.Error("bob redacted what alice said")
		}
		redact(alice, root, `{"with_rel_types":["*"]}`)
		until(bob, hers)

		alone := bob.Says(room, "alone")
		kept := about(bob, "m.room.message", "m.thread", alone)
		redact(bob, alone, `{"with_rel_types":[]}`)
		until(alice, alone)
		if redacted(kept) {
			t.Error("a redaction without kinds took others along")
		}
		bob.IsRefused(matrix.CodeBadJSON, 400, "PUT", story.Path("rooms", room, "redact", kept, "x"), `{"with_rel_types":"*"}`)
	})
}
