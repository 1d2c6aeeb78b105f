package search

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"astrocyte/account"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

func (w *world) registers(name, shown string) matrix.UserID {
	w.t.Helper()
	id := matrix.UserID("@" + name + ":" + server)
	if err := w.accounts.CreateUser(w.t.Context(), account.NewUser{ID: id, DisplayName: shown}); err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) meets(caller matrix.UserID, text string, limit int) (users []matrix.UserID, limited bool) {
	w.t.Helper()
	people, limited, err := w.People(w.t.Context(), caller, text, limit)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range people {
		users = append(users, p.User)
	}
	return users, limited
}

func TestPeople(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, false)
		eve := w.registers("eve", "Eve")
		friend, public, stranger := w.registers("friend", "王小明 (Max)"), w.registers("public", "Maxine Müller"), w.registers("stranger", "Max Stranger")
		guest := matrix.UserID("@guest:example.org")
		if err := w.accounts.CreateUser(t.Context(), account.NewUser{ID: guest, Kind: account.Guest, DisplayName: "Max Guest"}); err != nil {
			t.Fatal(err)
		}
		private := w.creates(eve, roomserver.PrivateChat)
		w.member(eve, friend, private, matrix.Invite)
		check := func(caller matrix.UserID, text string, want ...matrix.UserID) {
			t.Helper()
			if got, _ := w.meets(caller, text, 10); !slices.Equal(got, want) {
				t.Errorf("%s looks for %q and finds %v, not %v", caller, text, got, want)
			}
		}
		check(eve, "max")
		w.joins(friend, private)
		check(eve, "max", friend)
		w.creates(public, roomserver.PublicChat)
		w.creates(stranger, roomserver.PrivateChat)
		check(eve, "max", friend, public)
		check(eve, "MAXINE", public)
		check(eve, "muller", public)
		check(eve, "axin", public)
		check(eve, "m", public, friend)
		check(eve, "小明", friend)
		check(eve, "王", friend)
		check(eve, "@friend", friend)
		check(eve, "friend:example.org", friend)
		check(eve, "eve")
		check(public, "maxine", public)
		check(eve, "stranger")
		check(eve, "")
		check(eve, "@")
		check(stranger, "max", public)
		if err := w.accounts.SetProfileField(t.Context(), friend, "displayname", json.RawMessage(`"Moritz"`)); err != nil {
			t.Fatal(err)
		}
		check(eve, "max", public)
		check(eve, "moritz", friend)
		w.member(friend, friend, private, matrix.Leave)
		check(eve, "moritz")
	})
}

func TestPeopleOfAllRooms(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, true)
		eve := w.registers("eve", "")
		var want []matrix.UserID
		for i := range 15 {
			want = append(want, w.registers(fmt.Sprintf("user%02d", i), ""))
		}
		if got, limited := w.meets(eve, "user", 10); !slices.Equal(got, want[:10]) || !limited {
			t.Errorf("found %v, limited %v", got, limited)
		}
		if got, limited := w.meets(eve, "user", 15); !slices.Equal(got, want) || limited {
			t.Errorf("found %v, limited %v", got, limited)
		}
		if err := w.accounts.Deactivate(t.Context(), want[3], false); err != nil {
			t.Fatal(err)
		}
		if got, _ := w.meets(eve, "user03", 15); got != nil {
			t.Errorf("found %v, who is gone", got)
		}
	})
}

// TestPeopleWhoCameFirst has users who are there before the index begins.
func TestPeopleWhoCameFirst(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := restingWorld(t, dsn, true)
		eve, first := w.registers("eve", ""), w.registers("first", "Early Bird")
		if err := w.renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, _ := w.meets(eve, "early", 10); !slices.Equal(got, []matrix.UserID{first}) {
			t.Errorf("found %v", got)
		}
		if p, err := w.Progress(t.Context()); err != nil || !p.Running {
			t.Errorf("what was there before is not read: %+v, %v", p, err)
		}
	})
}

// TestPeopleOfOtherServers has users of another server, who have a name for each room.
func TestPeopleOfOtherServers(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, false)
		eve, zoe := w.registers("eve", "Eve"), w.registers("zoe", "Zoe")
		far := matrix.UserID("@far:elsewhere.example")
		one, other := w.creates(eve, roomserver.PublicChat), w.creates(zoe, roomserver.PrivateChat)
		var nids [2]roomserver.RoomNID
		w.view(func(tx *store.Tx) (err error) {
			for i, id := range []matrix.RoomID{one, other} {
				if nids[i], _, err = w.rooms.NID(tx, id); err != nil {
					return err
				}
			}
			return nil
		})
		err := w.db.Update(t.Context(), func(tx *store.Tx) error {
			if _, err := lockRebuild(tx); err != nil {
				return err
			}
			if err := w.writeName(tx, name{user: far, room: nids[0], profile: roomserver.Profile{DisplayName: "Known Name"}}); err != nil {
				return err
			}
			return w.writeName(tx, name{user: far, room: nids[1], profile: roomserver.Profile{DisplayName: "Private Name"}})
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			caller matrix.UserID
			text   string
			finds  bool
		}{{eve, "known", true}, {eve, "private", false}, {zoe, "private", true}, {zoe, "known", true}, {eve, "far", true}} {
			got, _ := w.meets(c.caller, c.text, 10)
			if slices.Contains(got, far) != c.finds || len(got) > 1 {
				t.Errorf("%s looks for %q and finds %v", c.caller, c.text, got)
			}
		}
		people, _, err := w.People(t.Context(), eve, "elsewhere", 10)
		if err != nil || len(people) != 1 || people[0].Profile.DisplayName != "Known Name" {
			t.Errorf("eve finds %v, %v", people, err)
		}
		w.member(eve, eve, one, matrix.Leave) // the last of this server
		if got, _ := w.meets(zoe, "known", 10); len(got) != 0 {
			t.Errorf("in a room that nobody here is in any more %v are found", got)
		}
	})
}
