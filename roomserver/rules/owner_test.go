package rules_test

import (
	"strings"
	"testing"

	"astrocyte/roomserver/rules"
)

func TestOwnersOfStateKeys(t *testing.T) {
	t.Parallel()
	trial, ok := rules.ByID("org.matrix.msc3757.11")
	if !ok || trial.ID == "11" || len(rules.Trials()) != 2 {
		t.Fatal("the trial version is not known")
	}
	for key, owner := range map[string]string{
		"@a:example.org":                             "@a:example.org",
		"@a:example.org_":                            "@a:example.org",
		"@a:example.org_x_y":                         "@a:example.org",
		"@a_b:example.org:8448_x":                    "@a_b:example.org:8448",
		"@a:example.org_" + strings.Repeat("x", 255): "@a:example.org",
		"@a:example.org_" + strings.Repeat("x", 256): "",
		"@a:example.org@x":                           "",
		"@oops":                                      "",
		"a:example.org_x":                            "",
		"":                                           "",
	} {
		if got, found := trial.KeyOwner(key); found != (owner != "") || found && string(got) != owner {
			t.Errorf("%q is of %q, want %q", key, got, owner)
		}
	}
	plain, _ := rules.ByID("11")
	if _, found := plain.KeyOwner("@a:example.org_x"); found {
		t.Error("version 11 knows owners of state keys")
	}
}
