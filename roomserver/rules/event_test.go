package rules_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

var testKey = ed25519.NewKeyFromSeed(make([]byte, 32))

func version(t testing.TB, id matrix.RoomVersion) *rules.Version {
	t.Helper()
	v, ok := rules.ByID(id)
	if !ok {
		t.Fatalf("no room version %s", id)
	}
	return v
}

// TestVersions holds the table to what gomatrixserverlib knows of the versions.
func TestVersions(t *testing.T) {
	t.Parallel()
	if n := len(rules.Versions()); n != 12 {
		t.Fatalf("%d versions", n)
	}
	if _, ok := rules.ByID("13"); ok {
		t.Error("a version of the future is known")
	}
	for i, v := range rules.Versions() {
		if string(v.ID) != fmt.Sprint(i+1) {
			t.Fatalf("version %d is called %s", i+1, v.ID)
		}
		theirs, err := gomatrixserverlib.GetRoomVersion(gomatrixserverlib.RoomVersion(v.ID))
		if err != nil {
			t.Logf("version %s: %v", v.ID, err)
			continue
		}
		resolution := map[rules.Algorithm]gomatrixserverlib.StateResAlgorithm{
			rules.ResolutionV1: gomatrixserverlib.StateResV1, rules.ResolutionV2: gomatrixserverlib.StateResV2,
			rules.ResolutionV21: gomatrixserverlib.StateResV2_1,
		}[v.Resolution]
		if resolution != theirs.StateResAlgorithm() {
			t.Errorf("version %s: state resolution %v, and theirs is %v", v.ID, v.Resolution, theirs.StateResAlgorithm())
		}
		if inside := theirs.EventFormat() == gomatrixserverlib.EventFormatV1; inside != v.EventIDInside {
			t.Errorf("version %s: event id inside %v, and theirs is %v", v.ID, v.EventIDInside, inside)
		}
		if standard := theirs.EventIDFormat() == gomatrixserverlib.EventIDFormatV2; standard != v.StandardBase64 {
			t.Errorf("version %s: standard base64 %v, and theirs is %v", v.ID, v.StandardBase64, standard)
		}
		if v.ID == rules.Default && !v.PrivilegedCreators {
			t.Errorf("the default version %s has no privileged creators", v.ID)
		}
	}
}

// draft is a message of a user of example.org.
func draft(v *rules.Version) *rules.Proto {
	p := &rules.Proto{
		RoomID: "!room:example.org", Sender: "@alice:example.org", Type: "m.room.message", Content: json.RawMessage(`{"msgtype":"m.text","body":"hello"}`),
		Prev: []rules.EventRef{{ID: "$prev"}}, Auth: []rules.EventRef{{ID: "$create"}, {ID: "$levels"}, {ID: "$member"}},
		Depth: 12, OriginServerTS: 1700000000000,
	}
	if v.EventIDInside {
		p.EventID = "$own:example.org"
	}
	if v.RoomIDIsHash {
		p.RoomID = matrix.RoomID("!" + strings.Repeat("r", 43))
	}
	return p
}

func build(t testing.TB, v *rules.Version, change func(*rules.Proto)) *rules.Event {
	t.Helper()
	p := draft(v)
	if change != nil {
		change(p)
	}
	e, err := rules.Build(v, p)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestBuildSignReadLoad(t *testing.T) {
	t.Parallel()
	for _, v := range rules.Versions() {
		t.Run(string(v.ID), func(t *testing.T) {
			built := build(t, v, nil)
			signed := built.Sign("example.org", "ed25519:1", testKey).Sign("another.example", "ed25519:2", testKey)
			if signed.ID() != built.ID() || len(signed.ID()) < 2 {
				t.Fatalf("the id %s became %s by signing", built.ID(), signed.ID())
			}
			for server, key := range map[matrix.ServerName]matrix.KeyID{"example.org": "ed25519:1", "another.example": "ed25519:2"} {
				if err := signed.VerifySignature(server, key, testKey.Public().(ed25519.PublicKey)); err != nil {
					t.Error(err)
				}
				if ids := signed.KeyIDs(server); !slices.Equal(ids, []matrix.KeyID{key}) {
					t.Errorf("%s signed with %v", server, ids)
				}
			}
			if err := built.VerifySignature("example.org", "ed25519:1", testKey.Public().(ed25519.PublicKey)); !errors.Is(err, rules.ErrSignature) {
				t.Errorf("an event without a signature: %v", err)
			}
			if !signed.ContentHashOK() || signed.Redacted() {
				t.Error("the content hash is wrong")
			}
			if err := checkStored(v, signed); err != nil {
				t.Error(err)
			}
			if err := meansTheSame(signed); err != nil {
				t.Error(err)
			}
			if key, ok := signed.StateKey(); ok || key != "" || signed.IsState("m.room.message", "") {
				t.Error("a message is a state event")
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	v := version(t, "10")
	good := string(build(t, v, func(p *rules.Proto) { p.StateKey = new(string) }).Bytes())
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, c := range []struct{ name, pdu, stage string }{
		{"nothing", ``, "json"},
		{"no JSON", `{`, "json"},
		{"a list", `[]`, "format"},
		{"a key twice", replace(`"depth":12`, `"depth":12,"depth":12`), "json"},
		{"a key twice, escaped", replace(`"depth":12`, `"depth":12,"\u0064epth":12`), "json"},
		{"a key twice in the content", replace(`"body":`, `"body":"x","body":`), "json"},
		{"a float", replace(`"depth":12`, `"depth":12.0`), "json"},
		{"half of a surrogate pair", replace(`hello`, `\ud800`), "json"},
		{"not UTF-8", replace(`hello`, "\xff"), "json"},
		{"no sender, but one in another case", replace(`"sender"`, `"Sender"`), "format"},
		{"no state key that is one, but its like", replace(`"sender"`, `"ſender"`), "format"},
		{"a sender that is no user", replace(`@alice:example.org`, `alice`), "format"},
		{"a sender without a server", replace(`@alice:example.org`, `@alice`), "format"},
		{"a sender of 256 bytes", replace(`@alice`, `@`+strings.Repeat("a", 256-len("@:example.org"))), "limits"},
		{"a room that is none", replace(`!room:example.org`, `room`), "format"},
		{"a null room", replace(`"!room:example.org"`, `null`), "format"},
		{"a type that is a number", replace(`"m.room.message"`, `5`), "format"},
		{"a type of 256 bytes", replace(`m.room.message`, strings.Repeat("ü", 128)), "limits"},
		{"a state key of 256 bytes", replace(`"state_key":""`, `"state_key":"`+strings.Repeat("a", 256)+`"`), "limits"},
		{"a null state key", replace(`"state_key":""`, `"state_key":null`), "format"},
		{"a negative depth", replace(`"depth":12`, `"depth":-1`), "format"},
		{"a list as content", replace(`"content":{"body":"hello","msgtype":"m.text"}`, `"content":[]`), "format"},
		{"a null unsigned", replace(`"type"`, `"unsigned":null,"type"`), "format"},
		{"prev_events that are numbers", replace(`["$prev"]`, `[1]`), "format"},
		{"prev_events that are no ids", replace(`["$prev"]`, `["prev"]`), "format"},
		{"prev_events in pairs", replace(`["$prev"]`, `[["$prev",{}]]`), "format"},
		{"21 prev_events", replace(`["$prev"]`, `["$prev"`+strings.Repeat(`,"$x"`, 20)+`]`), "limits"},
		{"11 auth_events", replace(`"$create"`, `"$create"`+strings.Repeat(`,"$x"`, 8)), "limits"},
		{"an event id inside", replace(`"depth":12`, `"depth":12,"event_id":"$x:example.org"`), "format"},
		{"no hash", replace(`"sha256"`, `"sha512"`), "hash"},
		{"too large", replace(`hello`, strings.Repeat("x", 65536)), "limits"},
		{"too large to look at", replace(`hello`, strings.Repeat(`\u0041`, 100000)), "limits"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := rules.Read(v, []byte(c.pdu))
			var bad *rules.Malformed
			if !errors.As(err, &bad) || bad.Stage != c.stage {
				t.Errorf("%v, wanted it refused at %s", err, c.stage)
			}
		})
	}
	if _, err := rules.Read(v, []byte(good)); err != nil {
		t.Errorf("and the good one: %v", err)
	}
}

// TestUnknownKeys: a key in another case is a member without a meaning. It is hashed, and redacted away.
func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	v := version(t, "10")
	pdu := build(t, v, nil).Bytes()
	e, err := rules.Read(v, append(bytes.Clone(pdu[:len(pdu)-1]), `,"Sender":"@eve:evil.example","ſender":"@eve:evil.example","uſer":1}`...))
	if err != nil {
		t.Fatal(err)
	}
	if e.Sender() != "@alice:example.org" || e.ContentHashOK() || bytes.Contains(e.Redact().Bytes(), []byte("evil")) {
		t.Errorf("the sender is %s; redacted: %s", e.Sender(), e.Redact().Bytes())
	}
}

// TestMeasure: the limit counts the event as it was received, but of unsigned only that it is there.
func TestMeasure(t *testing.T) {
	t.Parallel()
	v := version(t, "10")
	small := build(t, v, nil).Bytes()
	grown := func(size int, unsigned string) []byte {
		body := strings.Repeat("x", size-len(small)+len("hello")-min(len(unsigned), len(`,"unsigned":{}`)))
		pdu := strings.Replace(string(small), "hello", body, 1)
		return []byte(pdu[:len(pdu)-1] + unsigned + "}")
	}
	for _, c := range []struct {
		name     string
		size     int
		unsigned string
		ok       bool
	}{
		{"the largest", 65536, ``, true}, {"a byte more", 65537, ``, false},
		{"the largest with unsigned", 65536, `,"unsigned":{}`, true}, {"a byte more with unsigned", 65537, `,"unsigned":{}`, false},
		{"a full unsigned", 65536, `,"unsigned":{"age":1234567890,"x":[1,2,3]}`, true},
	} {
		e, err := rules.Read(v, grown(c.size, c.unsigned))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil && bytes.Contains(e.Bytes(), []byte("unsigned")) {
			t.Errorf("%s: unsigned was kept", c.name)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	v := version(t, rules.Default)
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name   string
		change func(*rules.Proto)
		code   matrix.Code // "" for a fault of the server
	}{
		{"a long type", func(p *rules.Proto) { p.Type = long }, matrix.CodeTooLarge},
		{"a long state key", func(p *rules.Proto) { p.StateKey = &long }, matrix.CodeTooLarge},
		{"a long content", func(p *rules.Proto) { p.Content = json.RawMessage(`"` + strings.Repeat("x", 65000) + `"`) }, matrix.CodeBadJSON},
		{"a content that makes it too large", func(p *rules.Proto) { p.Content = json.RawMessage(`{"x":"` + strings.Repeat("x", 64800) + `"}`) }, matrix.CodeTooLarge},
		{"no content", func(p *rules.Proto) { p.Content = nil }, matrix.CodeBadJSON},
		{"a list as content", func(p *rules.Proto) { p.Content = json.RawMessage(`[]`) }, matrix.CodeBadJSON},
		{"a float", func(p *rules.Proto) { p.Content = json.RawMessage(`{"x":1.5}`) }, matrix.CodeBadJSON},
		{"a type that is no text", func(p *rules.Proto) { p.Type = "\xff" }, matrix.CodeBadJSON},
		{"a time out of range", func(p *rules.Proto) { p.OriginServerTS = 1 << 53 }, matrix.CodeBadJSON},
		{"a negative depth", func(p *rules.Proto) { p.Depth = -1 }, ""},
		{"an id of its own", func(p *rules.Proto) { p.EventID = "$x" }, ""},
		{"21 prev_events", func(p *rules.Proto) { p.Prev = make([]rules.EventRef, 21) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := draft(v)
			c.change(p)
			e, err := rules.Build(v, p)
			var fault *matrix.Error
			if errors.As(err, &fault); err == nil || e != nil || (fault == nil) != (c.code == "") || fault != nil && fault.Code != c.code {
				t.Errorf("%v, wanted %s", err, c.code)
			}
		})
	}
}

func TestRedactsIsWrittenByVersion(t *testing.T) {
	t.Parallel()
	for _, v := range rules.Versions() {
		e := build(t, v, func(p *rules.Proto) {
			p.Type, p.Redacts, p.Content = "m.room.redaction", "$target", json.RawMessage(`{"reason":"r","redacts":"$other"}`)
		})
		if e.Redacts() != "$target" {
			t.Errorf("version %s: %s redacts %q", v.ID, e.Bytes(), e.Redacts())
		}
		if inContent := strings.Contains(string(e.Content()), `"redacts":"$target"`); inContent != v.RedactsInContent {
			t.Errorf("version %s: content %s", v.ID, e.Content())
		}
		if message := build(t, v, func(p *rules.Proto) { p.Content = json.RawMessage(`{"redacts":"$target"}`) }); message.Redacts() != "" {
			t.Errorf("version %s: a message redacts %q", v.ID, message.Redacts())
		}
	}
}

func TestRoomOfCreateEvent(t *testing.T) {
	t.Parallel()
	v := version(t, "12")
	e := build(t, v, func(p *rules.Proto) {
		p.RoomID, p.Type, p.StateKey, p.Prev, p.Auth = "", "m.room.create", new(string), nil, nil
	})
	if e.RoomID() != matrix.RoomID("!"+e.ID()[1:]) || bytes.Contains(e.Bytes(), []byte("room_id")) {
		t.Errorf("room %s of %s", e.RoomID(), e.Bytes())
	}
	if err := checkStored(v, e.Sign("example.org", "ed25519:1", testKey)); err != nil {
		t.Error(err)
	}
	named := strings.Replace(string(e.Bytes()), `"sender"`, `"room_id":"!x","sender"`, 1)
	if _, err := rules.Read(v, []byte(named)); err == nil {
		t.Error("a create event with a room_id was accepted")
	}
}

func TestSameContent(t *testing.T) {
	t.Parallel()
	v := version(t, rules.Default)
	stands := build(t, v, nil).Content()
	for draft, want := range map[string]bool{
		`{ "body":"hel\u006co", "msgtype":"m.text" }`: true, `{"body":"hello"}`: false, `{}`: false,
	} {
		if same, err := rules.SameContent(v, stands, json.RawMessage(draft)); err != nil || same != want {
			t.Errorf("%s: %v, %v", draft, same, err)
		}
	}
	if _, err := rules.SameContent(v, stands, json.RawMessage(`{"x":1.5}`)); err == nil {
		t.Error("a float was taken")
	}
}
