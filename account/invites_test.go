package account

import (
	"encoding/json"
	"testing"

	"astrocyte/matrix"
)

func TestInviteRules(t *testing.T) {
	t.Parallel()
	const bob = matrix.UserID("@bob:good.org")
	tests := []struct {
		name, blocks, lists string
		ignored             matrix.UserID
		want                Welcome
	}{
		{name: "nothing is set", want: InviteShown},
		{name: "all are blocked", blocks: `{"default_action":"block"}`, want: InviteBlocked},
		{name: "an action that is not known", blocks: `{"default_action":"explode"}`, want: InviteShown},
		{name: "an action of the wrong type", blocks: `{"default_action":true}`, want: InviteShown},
		{name: "ignored comes before blocked", ignored: bob, blocks: `{"default_action":"block"}`, want: InviteIgnored},
		{name: "blocked comes before allowed", blocks: `{"default_action":"block"}`, lists: `{"allowed_users":["*"]}`, want: InviteBlocked},
		{name: "ignored comes before allowed", ignored: bob, lists: `{"allowed_users":["*"]}`, want: InviteIgnored},
		{name: "a user", lists: `{"blocked_users":["@bob:good.org"]}`, want: InviteBlocked},
		{name: "a user in other letters", lists: `{"blocked_users":["@BOB:good.org"]}`, want: InviteBlocked},
		{name: "a pattern for users", lists: `{"ignored_users":["@b?b:*"]}`, want: InviteIgnored},
		{name: "a pattern that another matches", lists: `{"ignored_users":["@c?b:*"]}`, want: InviteShown},
		{name: "a server", lists: `{"blocked_servers":["good.org"]}`, want: InviteBlocked},
		{name: "a user is no server", lists: `{"blocked_users":["good.org"]}`, want: InviteShown},
		{name: "allowed users come first", lists: `{"allowed_users":["@bob:*"],"ignored_users":["*"],"blocked_servers":["*"]}`, want: InviteShown},
		{name: "ignored users before blocked ones", lists: `{"blocked_users":["*"],"ignored_users":["*"]}`, want: InviteIgnored},
		{name: "users before servers", lists: `{"allowed_servers":["*"],"blocked_users":["@bob:good.org"]}`, want: InviteBlocked},
		{name: "allowed servers before ignored ones", lists: `{"allowed_servers":["good.org"],"ignored_servers":["*"]}`, want: InviteShown},
		{name: "ignored servers before blocked ones", lists: `{"ignored_servers":["good.*"],"blocked_servers":["*"]}`, want: InviteIgnored},
		{name: "nulls are nothing", lists: `{"allowed_users":null,"blocked_servers":null}`, want: InviteShown},
		{name: "switched off", lists: `{"enabled":false,"blocked_servers":["*"]}`, want: InviteShown},
		{name: "switched on", lists: `{"enabled":true,"blocked_servers":["*"]}`, want: InviteBlocked},
		{name: "one wrong list spoils all", lists: `{"blocked_servers":["*"],"allowed_users":"@bob:good.org"}`, want: InviteShown},
	}
	for _, tt := range tests {
		r := InviteRules{ignored: map[matrix.UserID]bool{tt.ignored: true}}
		if tt.blocks != "" {
			r.nobody = blocksAll(json.RawMessage(tt.blocks))
		}
		if tt.lists != "" {
			r.lists = invitesIn(json.RawMessage(tt.lists))
		}
		if got := r.Welcome(bob); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	r := InviteRules{lists: invitesIn(json.RawMessage(`{"blocked_servers":["good.org"]}`))}
	if got := r.Welcome("@bob:good.org:8448"); got != InviteBlocked {
		t.Errorf("with a port: %v", got)
	}
}
