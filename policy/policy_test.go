package policy_test

import (
	"context"
	"crypto/ed25519"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/policy"
	"astrocyte/roomserver"
	"astrocyte/testkit"
)

func TestReportsAreKept(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		ctx := context.Background()
		db := testkit.DB(t, dsn)
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		rooms := roomserver.New(roomserver.Options{DB: db, Server: "example.org", KeyID: "ed25519:1", Key: key, Memory: 1 << 20, Now: time.Now})
		run, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); _ = rooms.Run(run) }()
		t.Cleanup(func() { cancel(); <-done })
		const alice, eve = matrix.UserID("@alice:example.org"), matrix.UserID("@eve:example.org")
		room, err := rooms.Create(ctx, roomserver.Creation{Creator: alice, Version: "12", Preset: roomserver.PrivateChat})
		if err != nil {
			t.Fatal(err)
		}
		event, err := rooms.Send(ctx, roomserver.Draft{Room: room, Sender: alice, Type: "m.room.message", Content: []byte(`{"body":"hello"}`)})
		if err != nil {
			t.Fatal(err)
		}
		p := policy.New(policy.Options{DB: db, Rooms: rooms, Now: func() time.Time { return time.UnixMilli(42) }})
		for _, r := range []policy.Report{
			{Reporter: alice, Room: room, Event: event, Reason: "rude"},
			{Reporter: eve, Room: room, Event: event, Reason: "cannot see it"},
			{Reporter: alice, Room: room, Event: "$nothing", Reason: "is not there"},
			{Reporter: eve, User: alice, Reason: "nul \x00"},
			{Reporter: eve, Room: room},
		} {
			if err := p.Report(ctx, r); err != nil {
				t.Fatal(err)
			}
		}
		read := func(q policy.ReportQuery, want int) []policy.Report {
			t.Helper()
			q.Limit = 10
			list, total, err := p.Reports(ctx, q)
			if err != nil || len(list) != want || total != int64(want) {
				t.Fatalf("the reports are %v, %d, %v", list, total, err)
			}
			return list
		}
		ofEvent, ofUser, ofRoom := read(policy.ReportQuery{Of: policy.OfEvents}, 1)[0], read(policy.ReportQuery{Of: policy.OfUsers}, 1)[0], read(policy.ReportQuery{Of: policy.OfRooms}, 1)[0]
		if r := ofEvent; r.Reporter != alice || r.Room != room || r.Event != event || r.User != alice || r.Reason != "rude" || r.At != 42 {
			t.Errorf("the report of an event is %+v", r)
		}
		if r := ofUser; r.User != alice || r.Room != "" || r.Reason != "nul \x00" {
			t.Errorf("the report of a user is %+v", r)
		}
		if r := ofRoom; r.Reporter != eve || r.Room != room || r.User != "" {
			t.Errorf("the report of a room is %+v", r)
		}
		read(policy.ReportQuery{Of: policy.OfUsers, User: "lic"}, 1)
		read(policy.ReportQuery{Of: policy.OfUsers, User: "%"}, 0)
		read(policy.ReportQuery{Of: policy.OfUsers, Reporter: "alice"}, 0)
		if err := p.Forget(ctx, policy.OfEvents, ofUser.ID); err == nil {
			t.Error("the report of a user is forgotten as that of an event")
		}
		if err := p.Forget(ctx, policy.OfUsers, ofUser.ID); err != nil {
			t.Fatal(err)
		}
		read(policy.ReportQuery{Of: policy.OfUsers}, 0)
		read(policy.ReportQuery{Of: policy.OfEvents}, 1)
		if err := p.Report(ctx, policy.Report{Reporter: eve, Room: room, Reason: string(make([]byte, 10_001))}); err == nil {
			t.Error("a reason of any length is taken")
		}
	})
}
