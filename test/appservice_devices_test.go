package test

import (
	"slices"
	"strings"
	"testing"

	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// told waits until the bridge took a transaction that fits, and gives it.
func (b *bridge) told(what string, fits func(txn story.JSON) bool) story.JSON {
	b.t.Helper()
	for {
		b.mu.Lock()
		for _, txn := range b.txns {
			if all, err := story.ParseJSON([]byte(txn.body)); err != nil {
				b.t.Error(err)
			} else if txn.taken && fits(all) {
				b.mu.Unlock()
				return all
			}
		}
		b.mu.Unlock()
		select {
		case <-b.news:
		case <-b.t.Context().Done():
			b.t.Fatalf("the bridge was not told: %s", what)
		}
	}
}

// forgets what the bridge was told until now.
func (b *bridge) forgets() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.txns = nil
}

// makesDevice makes a device of a user of the bridge, with keys.
func (b *bridge) makesDevice(user, device string) {
	b.t.Helper()
	if made := b.bot.Does("PUT", as(user, "/devices/"+device), `{}`); made.Status != 201 {
		b.t.Fatalf("a new device: %d %s", made.Status, made)
	}
	keys := newSigner(b.t, &story.User{ID: user}, device)
	b.bot.Must("POST", as(user, "/keys/upload?device_id="+device), map[string]any{"device_keys": keys.device(), "one_time_keys": map[string]any{"signed_curve25519:1": keys.oneTime()}})
}

func TestABridgeThatEncryptsIsToldOfDevices(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		b := startBridge(t, dsn, "org.matrix.msc3202: true")
		bot, alice, carol := b.bot, b.hs.User("alice"), b.hs.User("carol")
		ghost := b.registers("_bridge_7")
		room := alice.CreatesRoom()
		bot.Must("POST", as(ghost, "/rooms/"+room+"/join"), `{}`)
		const lists, counts, messages = "org.matrix.msc3202.device_lists", "org.matrix.msc3202.device_one_time_keys_count", "de.sorunome.msc2409.to_device"
		b.told("alice is there", func(txn story.JSON) bool { return slices.Contains(txn.At(lists, "changed").Texts(), alice.ID) })
		b.makesDevice(ghost, "NEST")
		b.told("the keys are counted", func(txn story.JSON) bool {
			return txn.At(counts, ghost, "NEST", "signed_curve25519").Int() == 1
		})

		b.forgets()
		hasDevice(t, carol)
		hasDevice(t, alice)
		txn := b.told("alice has a device", func(txn story.JSON) bool { return slices.Contains(txn.At(lists, "changed").Texts(), alice.ID) })
		if slices.Contains(txn.At(lists, "changed").Texts(), carol.ID) {
			t.Errorf("the bridge was told of who is in none of its rooms: %s", txn)
		}

		alice.Must("POST", "/keys/claim", `{"one_time_keys":{"`+ghost+`":{"NEST":"signed_curve25519"}}}`)
		b.told("a key was given out", func(txn story.JSON) bool {
			device := txn.At(counts, ghost, "NEST")
			return device.There() && device.At("signed_curve25519").Int() == 0 && txn.At("org.matrix.msc3202.device_unused_fallback_key_types", ghost).Has("NEST")
		})

		b.mu.Lock()
		b.broken, b.txns = 2, nil
		b.mu.Unlock()
		for _, text := range []string{"one", "two"} {
			alice.Must("PUT", "/sendToDevice/org.example.coo/"+text, `{"messages":{"`+ghost+`":{"NEST":{"body":"`+text+`"}},"`+alice.ID+`":{"*":{"body":"own"}}}}`)
		}
		<-b.news
		b.hs.Restart()
		var heard []string
		b.told("both messages", func(txn story.JSON) bool {
			heard = append(heard, txn.At(messages).Texts("content", "body")...)
			return slices.Contains(heard, "two")
		})
		last := b.told("the second message", func(txn story.JSON) bool { return strings.Contains(txn.String(), `"two"`) })
		if m, found := last.At(messages).Find(func(m story.JSON) bool { return m.At("content", "body").Text() == "two" }); !found ||
			m.At("to_user_id").Text() != ghost || m.At("to_device_id").Text() != "NEST" || m.At("sender").Text() != alice.ID || m.At("type").Text() != "org.example.coo" {
			t.Errorf("the message is %s", last)
		}
		if slices.Sort(heard); !slices.Equal(slices.Compact(heard), []string{"one", "two"}) {
			t.Errorf("the bridge was told %q", heard)
		}
		if own := alice.Syncs(); len(own.At("to_device", "events").List()) != 2 {
			t.Errorf("alice's own messages are %s", own.At("to_device"))
		}

		b.forgets()
		alice.Says(room, "after the messages") // once the bridge has it, the messages before it are deleted
		b.hears("after the messages")
		if left := bot.Reads(as(ghost, "/sync?device_id=NEST")); len(left.At("to_device", "events").List()) != 0 {
			t.Errorf("what the bridge has taken waits still: %s", left.At("to_device"))
		}

		b.forgets()
		alice.Leaves(room)
		b.told("alice has left", func(txn story.JSON) bool { return slices.Contains(txn.At(lists, "left").Texts(), alice.ID) })
	})
}
