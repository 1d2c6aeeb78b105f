package appservice

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const good = `
id: bridge
url: http://127.0.0.1:9000/
as_token: a
hs_token: h
sender_localpart: bot
namespaces:
  users: [{exclusive: true, regex: '@_b_.*:example\.org'}]
io.element.msc4190: true
`

func TestRegistrations(t *testing.T) {
	t.Parallel()
	s, err := Parse([]byte(good), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if s.URL != "http://127.0.0.1:9000" || s.Sender != "@bot:example.org" || !s.RateLimited {
		t.Errorf("the registration was read as %+v", s)
	}
	if !s.ActsFor("@_b_1:example.org") || !s.ActsFor("@bot:example.org") || s.ActsFor("@x_b_1:example.org") {
		t.Error("the namespace of users is not as it says")
	}
	for text, told := range map[string]bool{
		"": false, "receive_ephemeral: true": true, "push_ephemeral: true": true, "de.sorunome.msc2409.push_ephemeral: true": true, "org.matrix.msc3202: true": false,
	} {
		if s, err := Parse([]byte(good+text), "example.org"); err != nil || s.ephemeral() != told || s.Encrypts != strings.Contains(text, "msc3202") {
			t.Errorf("with %q the registration was read as %+v, %v", text, s, err)
		}
	}
	if _, err := Parse([]byte(strings.Replace(good, "http://127.0.0.1:9000/", "null", 1)), "example.org"); err != nil {
		t.Errorf("a service without a url: %v", err)
	}
}

func TestRegistrationsTellAllFaults(t *testing.T) {
	t.Parallel()
	_, err := Parse([]byte(`
id: ""
url: ftp://x
hs_token: h
sender_localpart: "b:c"
rate_limit: true
namespaces: {aliases: [{regex: '('}], users: [{exclusive: true}]}
`), "example.org")
	if err == nil {
		t.Fatal("a wrong registration was taken")
	}
	for _, want := range []string{
		"id is missing", "as_token is missing", "ftp://x", `"b:c"`, `"rate_limit"`, "namespaces.aliases[0].regex", "namespaces.users[0].regex",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told:\n%v", want, err)
		}
	}
	for _, text := range []string{"", "[]", "id: [", "id: {}", strings.Replace(good, "url", "uri", 1)} {
		if _, err := Parse([]byte(text), "example.org"); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestRegistrationsMayNotClash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1.yaml", good)
	write("2.yaml", strings.NewReplacer("id: bridge", "id: other", "as_token: a", "as_token: b", "bot", "bob").Replace(good))
	if all, err := Load([]string{dir + "/*.yaml", dir + "/1.yaml", dir + "/*.yml"}, "example.org"); err != nil || len(all) != 2 {
		t.Fatalf("%d services, %v", len(all), err)
	}
	write("3.yaml", strings.NewReplacer("as_token: a", "as_token: c", "bot", "carol").Replace(good))
	write("4.yaml", strings.NewReplacer("id: bridge", "id: third", "bot", "dora").Replace(good))
	write("5.yaml", strings.NewReplacer("id: bridge", "id: fourth", "as_token: a", "as_token: d").Replace(good))
	_, err := Load([]string{dir + "/*.yaml", dir + "/missing.yaml"}, "example.org")
	if err == nil {
		t.Fatal("services that clash were taken")
	}
	for _, want := range []string{"3.yaml: the id", "4.yaml: the as_token", "5.yaml: the sender_localpart", "missing.yaml: there is no such file"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told:\n%v", want, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("namespaces: {users: [{regex: '('}]}")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := Parse([]byte(text), "example.org"); err == nil && (s.ID == "" || s.hsToken == "" || s.Sender == "") {
			t.Errorf("%q was taken without a part that it needs", text)
		}
	})
}
