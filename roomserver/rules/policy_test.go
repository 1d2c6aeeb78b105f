package rules_test

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver/rules"
)

// policyEvent makes a state event of a room of version 11.
func policyEvent(t *testing.T, tp, key, content string) *rules.Event {
	t.Helper()
	v, _ := rules.ByID("11")
	e, err := rules.Build(v, &rules.Proto{
		RoomID: "!room:example.org", Sender: "@ann:example.org", Type: tp, StateKey: &key, Content: json.RawMessage(content), OriginServerTS: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestPolicyServerOfAnEvent(t *testing.T) {
	t.Parallel()
	key := "6yhHGKhCiXTSEN2ksjV7kX_N6rBQZ3Xb-M7LlC6NS-s" // as the specification has it
	keys := `"public_keys":{"ed25519":"` + key + `"}`
	cases := []struct {
		name, tp, key, content, server string
	}{
		{"as specified", "m.room.policy", "", `{"via":"policy.example.org",` + keys + `}`, "policy.example.org"},
		{"with more keys", "m.room.policy", "", `{"via":"p.example.org:8448","public_keys":{"ed25519":"` + key + `","x":"y"}}`, "p.example.org:8448"},
		{"the other alphabet, padded", "m.room.policy", "", `{"via":"p.example.org","public_keys":{"ed25519":"` +
			strings.NewReplacer("-", "+", "_", "/").Replace(key) + `="}}`, "p.example.org"},
		{"from before, one key", "org.matrix.msc4284.policy", "", `{"via":"p.example.org","public_key":"` + key + `"}`, "p.example.org"},
		{"one key is not as specified", "m.room.policy", "", `{"via":"p.example.org","public_key":"` + key + `"}`, ""},
		{"another state key", "m.room.policy", "x", `{"via":"p.example.org",` + keys + `}`, ""},
		{"another type", "m.room.name", "", `{"via":"p.example.org",` + keys + `}`, ""},
		{"nothing", "m.room.policy", "", `{}`, ""},
		{"no server", "m.room.policy", "", `{` + keys + `}`, ""},
		{"a server that is a number", "m.room.policy", "", `{"via":7,` + keys + `}`, ""},
		{"a server that is no name", "m.room.policy", "", `{"via":"not a name",` + keys + `}`, ""},
		{"no key", "m.room.policy", "", `{"via":"p.example.org","public_keys":{}}`, ""},
		{"keys that are a list", "m.room.policy", "", `{"via":"p.example.org","public_keys":["ed25519"]}`, ""},
		{"a key that is too short", "m.room.policy", "", `{"via":"p.example.org","public_keys":{"ed25519":"abcd"}}`, ""},
		{"a key that is an object", "m.room.policy", "", `{"via":"p.example.org","public_keys":{"ed25519":{}}}`, ""},
	}
	for _, c := range cases {
		got := matrix.ServerName("")
		if p := policyEvent(t, c.tp, c.key, c.content).PolicyServer(); p != nil {
			got = p.Server
		}
		if string(got) != c.server {
			t.Errorf("%s: %q, want %q", c.name, got, c.server)
		}
	}
}

func TestRecommendation(t *testing.T) {
	t.Parallel()
	public, private, _ := ed25519.GenerateKey(nil)
	_, stranger, _ := ed25519.GenerateKey(nil)
	p := &rules.PolicyServer{Server: "example.org", Key: public} // the server of the sender, too
	e := policyEvent(t, "m.room.topic", "", `{"topic":"t"}`).Sign("example.org", "ed25519:1", stranger)
	signature := func(by ed25519.PrivateKey) string {
		found, _ := canonicaljson.Field(e.Sign(p.Server, rules.PolicyKeyID, by).Bytes(), "signatures", "example.org", string(rules.PolicyKeyID))
		text, _ := canonicaljson.Text(found)
		return text
	}
	if e.RecommendedBy(p) {
		t.Error("an event without a signature is recommended")
	}
	for _, bad := range []string{"", "?", "abcd", signature(stranger)} {
		if _, err := e.WithRecommendation(p, bad); err == nil {
			t.Errorf("the signature %q is taken", bad)
		}
	}
	signed, err := e.WithRecommendation(p, signature(private))
	if err != nil || !signed.RecommendedBy(p) || signed.ID() != e.ID() || len(signed.KeyIDs("example.org")) != 2 {
		t.Fatalf("%s, %v", signed.Bytes(), err)
	}
	if err := checkStored(e.Version(), signed); err != nil {
		t.Error(err)
	}
}

func TestPolicyServerIsNotAskedAboutItself(t *testing.T) {
	t.Parallel()
	empty, other := "", "x"
	for _, old := range []bool{false, true} {
		p := &rules.PolicyServer{Old: old}
		for _, c := range []struct {
			tp   string
			key  *string
			want bool
		}{
			{"m.room.policy", &empty, true}, {"m.room.policy", &other, false}, {"m.room.policy", nil, false},
			{"org.matrix.msc4284.policy", &empty, old}, {"m.room.member", &empty, false},
		} {
			if p.Exempts(c.tp, c.key) != c.want {
				t.Errorf("%s is not as it should be, old: %v", c.tp, old)
			}
		}
	}
}
