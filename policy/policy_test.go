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
		all, err := p.Reports(ctx, 0, 10)
		if err != nil || len(all) != 3 {
			t.Fatalf("the reports are %v, %v", all, err)
		}
		if r := all[2]; r.Reporter != alice || r.Room != room || r.Event != event || r.User != alice || r.Reason != "rude" || r.At != 42 {
			t.Errorf("the first report is %+v", r)
		}
		if r := all[1]; r.User != alice || r.Room != "" || r.Reason != "nul \x00" {
			t.Errorf("the second report is %+v", r)
		}
		if err := p.Forget(ctx, all[1].ID); err != nil {
			t.Fatal(err)
		}
		rest, err := p.Reports(ctx, all[0].ID, 10)
		if err != nil || len(rest) != 1 || rest[0] != all[2] {
			t.Errorf("before the last report are %v, %v", rest, err)
		}
		if err := p.Report(ctx, policy.Report{Reporter: eve, Room: room, Reason: string(make([]byte, 10_001))}); err == nil {
			t.Error("a reason of any length is taken")
		}
	})
}
