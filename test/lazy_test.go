package test

import (
	"slices"
	"testing"

	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// members gives the users of the member events in a list of events, sorted.
func members(events story.JSON) []string {
	var users []string
	for _, e := range events.List() {
		if e.At("type").Text() == "m.room.member" {
			users = append(users, e.At("state_key").Text())
		}
	}
	slices.Sort(users)
	return users
}

func TestMembersAreLoadedLazily(t *testing.T) {
	t.Parallel()
	const lazy = `{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true}}}`
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, carol, dave := hs.User("alice"), hs.User("bob"), hs.User("carol"), hs.User("dave")
		room := alice.CreatesRoom(map[string]any{"name": "Hall"})
		for _, u := range []*story.User{bob, carol, dave} {
			u.Joins(room)
		}
		bob.Says(room, "first")
		a := alice.Syncs("filter", lazy).At("rooms", "join", room)
		if got, want := members(a.At("state", "events")), []string{alice.ID, bob.ID}; !slices.Equal(got, want) {
			t.Errorf("the first sync has the members %v, want %v: oneself, and who speaks", got, want)
		}
		bob.Says(room, "second")
		a = alice.Syncs("filter", lazy).At("rooms", "join", room)
		if got := members(a.At("state", "events")); len(got) != 0 {
			t.Errorf("members that were sent are sent again: %v", got)
		}
		carol.Says(room, "third")
		a = alice.Syncs("filter", lazy).At("rooms", "join", room)
		if got, want := members(a.At("state", "events")), []string{carol.ID}; !slices.Equal(got, want) {
			t.Errorf("who speaks for the first time is sent: got %v, want %v", got, want)
		}
		bob.Says(room, "fourth")
		again := `{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true,"include_redundant_members":true}}}`
		a = alice.Syncs("filter", again).At("rooms", "join", room)
		if got := members(a.At("state", "events")); !slices.Contains(got, bob.ID) {
			t.Errorf("redundant members were wanted, got %v", got)
		}
		other := alice.LogsIn()
		a = other.Syncs("filter", lazy).At("rooms", "join", room)
		if got, want := members(a.At("state", "events")), []string{alice.ID, bob.ID}; !slices.Equal(got, want) {
			t.Errorf("another device is told %v, want %v", got, want)
		}
	})
}

func TestMembersOfAPageOfHistory(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, carol := hs.User("alice"), hs.User("bob"), hs.User("carol")
		room := alice.CreatesRoom()
		bob.Joins(room)
		carol.Joins(room)
		id := bob.Says(room, "hello")
		page := alice.Messages(room, `dir=b&limit=1&filter=%7B%22lazy_load_members%22:true%7D`)
		if got := members(page.At("state")); !slices.Equal(got, []string{bob.ID}) {
			t.Errorf("the page has the members %v, want bob's alone", got)
		}
		around := alice.Reads(story.Path("rooms", room, "context", id) + `?limit=0&filter=%7B%22lazy_load_members%22:true%7D`)
		if got := members(around.At("state")); !slices.Contains(got, bob.ID) || slices.Contains(got, carol.ID) {
			t.Errorf("the context has the members %v", got)
		}
	})
}

func TestHeroesNameARoom(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, carol := hs.User("alice"), hs.User("bob"), hs.User("carol")
		room := alice.CreatesRoom()
		bob.Joins(room)
		alice.Invites(room, carol)
		const lazy = `{"room":{"timeline":{"limit":1},"state":{"lazy_load_members":true}}}`
		summary := alice.Syncs("filter", lazy).At("rooms", "join", room, "summary")
		heroes := []string{}
		for _, h := range summary.At("m.heroes").List() {
			heroes = append(heroes, h.Text())
		}
		slices.Sort(heroes)
		if !slices.Equal(heroes, []string{bob.ID, carol.ID}) || summary.At("m.joined_member_count").Int() != 2 || summary.At("m.invited_member_count").Int() != 1 {
			t.Errorf("the summary is %s", summary)
		}
		carol.Joins(room)
		summary = alice.Syncs("filter", lazy).At("rooms", "join", room, "summary")
		if summary.At("m.joined_member_count").Int() != 3 {
			t.Errorf("after a join the summary is %s", summary)
		}
	})
}
