package rules_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver/rules"
)

// pdus are events of the forms of room versions 1 and 2, 3 to 11, and 12; further seeds, which were hard
// once, are in testdata.
var pdus = []string{
	`{"auth_events":[["$a:b",{"sha256":"x"}]],"content":{"body":"x"},"depth":1,"event_id":"$e:b","hashes":{"sha256":"` + hash43 + `"},` +
		`"origin_server_ts":1,"prev_events":[["$p:b",{}]],"room_id":"!r:b","sender":"@a:b","signatures":{"b":{}},"type":"m.room.message"}`,
	`{"auth_events":["$a"],"content":{"membership":"invite","third_party_invite":{"signed":{}}},"depth":1,"hashes":{"sha256":"` + hash43 + `"},` +
		`"origin_server_ts":1,"prev_events":["$p"],"room_id":"!r:b","sender":"@a:b","signatures":{},"state_key":"@c:d","type":"m.room.member","unsigned":{"age":1}}`,
	`{"auth_events":[],"content":{"room_version":"12"},"depth":1,"hashes":{"sha256":"` + hash43 + `"},` +
		`"origin_server_ts":1,"prev_events":[],"sender":"@a:b","signatures":{},"state_key":"","type":"m.room.create"}`,
	`{"type":"m.room.redaction","sender":"@:b","auth_events":["$a"],"content":{"redacts":"$\u0041"},"depth":9007199254740991,"hashes":{"sha256":"` + hash43 + `"},` +
		`"origin_server_ts":-1,"prev_events":["$p"],"room_id":"!` + hash43 + `","redacts":"$b","signatures":{},"age_ts":1,"outlier":true,"zz":1}`,
	`{"Sender":"@x:b","\u0073ender":"@a:b","type":"m.room.power_levels","auth_events":[],"content":{"users":{"@a:b":1.5}},"depth":0,"hashes":{"sha256":"` + hash43 + `"},` +
		`"origin_server_ts":1,"prev_events":[],"room_id":"!r:b","signatures":{},"state_key":"\n\u0001","membership":"x","origin":"y","prev_state":[],"event_id":"$e:b"}`,
	`{}`, `[]`, `null`, `{"unsigned":{}}`, `{"type":null}`,
}

var hash43 = strings.Repeat("A", 43)

func FuzzRead(f *testing.F) {
	for _, pdu := range pdus {
		f.Add([]byte(pdu))
	}
	var versions []*rules.Version
	for _, id := range []matrix.RoomVersion{"1", "6", "12"} {
		v, _ := rules.ByID(id)
		versions = append(versions, v)
	}
	f.Fuzz(func(t *testing.T, pdu []byte) {
		for _, v := range versions {
			before := bytes.Clone(pdu)
			e, err := rules.Read(v, pdu)
			if !bytes.Equal(before, pdu) {
				t.Fatal("the input was written")
			}
			if err != nil {
				if e != nil {
					t.Fatal("an event was given with the error")
				}
				continue
			}
			if err := checkStored(v, e); err != nil {
				t.Fatalf("version %s, %q: %v", v.ID, pdu, err)
			}
			if err := meansTheSame(e); err != nil {
				t.Fatalf("version %s, %q: %v", v.ID, pdu, err)
			}
			if r := e.Redact(); r.ReferenceHash() != e.ReferenceHash() || !bytes.Equal(r.Redact().Bytes(), r.Bytes()) {
				t.Fatalf("version %s, %q: redacted it is %s", v.ID, pdu, r.Bytes())
			}
		}
	})
}

// FuzzLoad loads bytes that no one has verified, as from a damaged store: it must not panic.
func FuzzLoad(f *testing.F) {
	for _, pdu := range pdus {
		for _, mode := range []canonicaljson.Mode{canonicaljson.Strict, canonicaljson.Loose} {
			if canonical, err := canonicaljson.Canonical(nil, []byte(pdu), mode); err == nil {
				f.Add(canonical)
			}
		}
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		for _, id := range []matrix.RoomVersion{"1", "12"} {
			v, _ := rules.ByID(id)
			e, err := rules.Load(v, "$id", stored)
			if err != nil {
				continue
			}
			partsOf(e)
			e.KeyIDs("b")
			_ = e.VerifySignature("b", "ed25519:1", testKey.Public().(ed25519.PublicKey))
			partsOf(e.Sign("b", "ed25519:1", testKey))
		}
	})
}

// meansTheSame reads the bytes of an event in another way, and compares with what the event says.
func meansTheSame(e *rules.Event) error {
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(e.Bytes()))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		return err
	}
	key, isState := e.StateKey()
	_, hasKey := m["state_key"]
	_, hasUnsigned := m["unsigned"]
	content, err := json.Marshal(m["content"])
	if err != nil {
		return err
	}
	var again any
	if err := json.Unmarshal(e.Content(), &again); err != nil && !strings.Contains(err.Error(), "cannot unmarshal number") {
		return fmt.Errorf("content %s of %s: %w", e.Content(), content, err)
	}
	for name, same := range map[string]bool{
		"type": m["type"] == e.Type(), "sender": m["sender"] == string(e.Sender()),
		"state_key":        hasKey == isState && (!hasKey || m["state_key"] == key),
		"depth":            fmt.Sprint(m["depth"]) == fmt.Sprint(e.Depth()),
		"origin_server_ts": fmt.Sprint(m["origin_server_ts"]) == fmt.Sprint(e.OriginServerTS()),
		"room_id":          m["room_id"] == nil || m["room_id"] == string(e.RoomID()),
		"prev_events":      len(m["prev_events"].([]any)) == len(e.Prev()),
		"auth_events":      len(m["auth_events"].([]any)) == len(e.Auth()),
		"unsigned":         !hasUnsigned,
	} {
		if !same {
			return fmt.Errorf("%s is not what the bytes say: %s", name, e.Bytes())
		}
	}
	return nil
}

// FuzzBuild makes events of whatever a client may choose: what is built must pass the strict reader.
func FuzzBuild(f *testing.F) {
	f.Add("m.room.message", "", false, []byte(`{"body":"x"}`), "")
	f.Add("m.room.member", "@a:b", true, []byte(`{"membership":"join"}`), "")
	f.Add("m.room.redaction", "", false, []byte(`{"reason":"\u0000"}`), "$x")
	f.Add("m.room.create", "", true, []byte(`{}`), "")
	f.Add("\x01\"\\", "\u2028\xff", true, []byte(`{"":[1.5]}`), "\n")
	f.Fuzz(func(t *testing.T, tp, key string, isState bool, content []byte, redacts string) {
		for _, id := range []matrix.RoomVersion{"1", "6", "11", "12"} {
			v, _ := rules.ByID(id)
			p := rules.Proto{
				RoomID: "!r:b", Sender: "@a:b", Type: tp, Content: content, Redacts: matrix.EventID(redacts), Depth: 5, OriginServerTS: 7,
				Prev: []rules.EventRef{{ID: "$p"}}, Auth: []rules.EventRef{{ID: "$a"}, {ID: "$b"}},
			}
			if v.EventIDInside {
				p.EventID = "$e:b"
			}
			if v.RoomIDIsHash {
				p.RoomID = "!r"
			}
			if isState {
				p.StateKey = &key
			}
			e, err := rules.Build(v, &p)
			if err != nil {
				continue
			}
			if !e.ContentHashOK() || e.Type() != tp || e.Sender() != p.Sender {
				t.Fatalf("built %s", e.Bytes())
			}
			s := e.Sign("b", "ed25519:1", testKey)
			again, err := rules.Read(v, s.Bytes())
			if err != nil {
				t.Fatalf("version %s refuses %s: %v", id, s.Bytes(), err)
			}
			if err := sameParts(s, again); err != nil {
				t.Fatal(err)
			}
		}
	})
}
