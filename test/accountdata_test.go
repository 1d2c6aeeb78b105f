package test

import (
	"testing"

	"astrocyte/matrix"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// datum gives the content of a type of account data in a list of events.
func datum(events story.JSON, eventType string) story.JSON {
	e, _ := events.Find(func(e story.JSON) bool { return e.At("type").Text() == eventType })
	return e.At("content")
}

func TestAccountDataReachesTheOtherDevices(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob := hs.User("alice"), hs.User("bob")
		phone := alice.LogsIn()
		room := alice.CreatesRoom()
		phone.Syncs()
		global := story.Path("user", alice.ID, "account_data", "org.example.setting")
		alice.IsRefused(matrix.CodeNotFound, 404, "GET", global, nil)
		alice.Must("PUT", global, `{"colour":"blue"}`)
		phone.Waits("the setting", func(a story.JSON) bool {
			return datum(a.At("account_data", "events"), "org.example.setting").At("colour").Text() == "blue"
		})
		if got := phone.Reads(global).At("colour").Text(); got != "blue" {
			t.Errorf("the setting is %q", got)
		}
		ofRoom := story.Path("user", alice.ID, "rooms", room, "account_data", "org.example.setting")
		alice.Must("PUT", ofRoom, `{"colour":"red"}`)
		phone.Waits("the room's setting", func(a story.JSON) bool {
			return datum(a.At("rooms", "join", room, "account_data", "events"), "org.example.setting").At("colour").Text() == "red"
		})
		a := phone.SyncsAnew()
		if datum(a.At("account_data", "events"), "org.example.setting").At("colour").Text() != "blue" ||
			datum(a.At("rooms", "join", room, "account_data", "events"), "org.example.setting").At("colour").Text() != "red" {
			t.Errorf("a first sync lacks account data: %s", a)
		}
		bob.IsRefused(matrix.CodeForbidden, 403, "GET", global, nil)
		bob.IsRefused(matrix.CodeForbidden, 403, "PUT", global, `{}`)
		alice.IsRefused(matrix.CodeBadJSON, 400, "PUT", global, `[]`)
		alice.IsRefused(matrix.CodeBadJSON, 405, "PUT", story.Path("user", alice.ID, "account_data", "m.push_rules"), `{}`)
	})
}

func TestTags(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		room := alice.CreatesRoom()
		alice.Syncs()
		tags := story.Path("user", alice.ID, "rooms", room, "tags")
		alice.Must("PUT", tags+"/m.favourite", `{"order":0.25}`)
		alice.Must("PUT", tags+"/u.work", `{}`)
		told := alice.Waits("the tags", func(a story.JSON) bool {
			return datum(a.At("rooms", "join", room, "account_data", "events"), "m.tag").At("tags", "u.work").There()
		})
		if got := datum(told.At("rooms", "join", room, "account_data", "events"), "m.tag").String(); got != `{"tags":{"m.favourite":{"order":0.25},"u.work":{}}}` {
			t.Errorf("the tags are %s", got)
		}
		alice.Must("DELETE", tags+"/m.favourite", nil)
		if got := alice.Reads(tags).At("tags").String(); got != `{"u.work":{}}` {
			t.Errorf("after the removal the tags are %s", got)
		}
		alice.Waits("the removal", func(a story.JSON) bool {
			d := datum(a.At("rooms", "join", room, "account_data", "events"), "m.tag")
			return d.There() && !d.At("tags", "m.favourite").There()
		})
		hs.User("bob").IsRefused(matrix.CodeForbidden, 403, "GET", tags, nil)
	})
}

func TestIgnoredUsersAreNotHeard(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice, bob, eve := hs.User("alice"), hs.User("bob"), hs.User("eve")
		room := alice.CreatesRoom()
		bob.Joins(room)
		eve.Joins(room)
		alice.Must("PUT", story.Path("user", alice.ID, "account_data", "m.ignored_user_list"), map[string]any{
			"ignored_users": map[string]any{eve.ID: map[string]any{}},
		})
		eve.Says(room, "buy my things")
		bob.Says(room, "hello")
		alice.Sees(room, "hello")
		alice.DoesNotSee(room, "buy my things")
		for _, text := range bodies(alice.History(room)) {
			if text == "buy my things" {
				t.Error("the history has the ignored user's message")
			}
		}
		bob.Sees(room, "buy my things")
		eve.SetsState(eve.CreatesRoom(), "m.room.topic", "", map[string]any{"topic": "x"})
		trap := eve.CreatesRoom(private())
		eve.Invites(trap, alice)
		if a := alice.Syncs(); a.At("rooms", "invite", trap).There() {
			t.Error("alice is told of an ignored user's invite")
		}
	})
}

func TestSettingsOfADeviceGoWithIt(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn)
		alice := hs.User("alice")
		phone := alice.LogsIn()
		device := phone.Reads("/account/whoami").At("device_id").Text()
		old, stable := "org.matrix.msc3890.local_notification_settings."+device, "m.local_notification_settings."+device
		for _, tp := range []string{old, stable, "m.local_notification_settings.OTHER"} {
			alice.Must("PUT", story.Path("user", alice.ID, "account_data", tp), `{"is_silenced":true}`)
		}
		alice.Syncs()
		phone.Must("POST", "/logout", `{}`)
		for _, tp := range []string{old, stable} {
			alice.IsRefused(matrix.CodeNotFound, 404, "GET", story.Path("user", alice.ID, "account_data", tp), nil)
		}
		alice.Waits("the end of the settings", func(a story.JSON) bool {
			e, found := a.At("account_data", "events").Find(func(e story.JSON) bool { return e.At("type").Text() == stable })
			return found && e.At("content").String() == "{}"
		})
		alice.Must("GET", story.Path("user", alice.ID, "account_data", "m.local_notification_settings.OTHER"), nil)
	})
}
