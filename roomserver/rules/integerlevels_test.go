package rules_test

import (
	"encoding/json"
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

func TestIntegerLevels(t *testing.T) {
	for _, c := range []struct{ version, content, want string }{
		{"9", `{"ban":"50","users":{"@a:b.c":" 100 ","@d:e.f":7,"nobody":3},"events":{"m.room.name":"+20"},"org.example.x":"50"}`,
			`{"ban":50,"events":{"m.room.name":20},"org.example.x":"50","users":{"@a:b.c":100,"@d:e.f":7}}`},
		{"9", `{"kick":"many","redact":null,"notifications":{"room":[]},"users":"all"}`, `{"notifications":{},"users":{}}`},
		{"1", `{"invite":"10.7","users_default":"-5"}`, `{"users_default":-5}`},
		{"11", `{"ban":50,"kick":"50"}`, `{"ban":50}`},
	} {
		v, _ := rules.ByID(matrix.RoomVersion(c.version))
		key, id := "", matrix.EventID("")
		if v.EventIDInside {
			id = "$e:b.c"
		}
		ev, err := rules.Build(v, &rules.Proto{
			RoomID: "!r:b.c", Sender: "@a:b.c", Type: "m.room.power_levels", StateKey: &key, Content: json.RawMessage(c.content), EventID: id,
		})
		if err != nil {
			t.Fatalf("version %s: %v", c.version, err)
		}
		got, err := json.Marshal(ev.IntegerLevels())
		if err != nil || string(got) != c.want {
			t.Errorf("version %s: %s becomes %s, want %s; %v", c.version, c.content, got, c.want, err)
		}
	}
}
