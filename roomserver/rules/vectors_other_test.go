package rules_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/push"
	"astrocyte/roomserver/rules"
)

func checkersOther() map[string]checker {
	return map[string]checker{
		"glob/server_acl":   checkServerACL,
		"visibility/client": checkVisibleToClient,
		"visibility/server": checkVisibleToServer,

		"pushrules/condition":     checkPushCondition,
		"pushrules/ruleset":       checkPushRuleset,
		"pushrules/default_rules": checkDefaultPushRules,
	}
}

func checkServerACL(_ *vectorFile, record json.RawMessage) error {
	var r struct {
		Content json.RawMessage
		Servers [][2]any
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return err
	}
	acl := rules.ParseACL(r.Content)
	for _, s := range r.Servers {
		name, want := s[0].(string), s[1].(bool)
		if got := acl.Allows(matrix.ServerName(name)); got != want {
			return fmt.Errorf("%s allows %s: %v, want %v", r.Content, name, got, want)
		}
	}
	return nil
}

func checkVisibleToClient(_ *vectorFile, record json.RawMessage) error {
	var r struct {
		User              matrix.UserID
		HistoryVisibility any `json:"history_visibility"`
		Membership        matrix.Membership
		IsPeeking         bool `json:"is_peeking"`
		Event             struct {
			Type        string
			Sender      matrix.UserID
			StateKey    *string        `json:"state_key"`
			PrevContent map[string]any `json:"prev_content"`
		}
		SenderErased  bool   `json:"sender_erased"`
		SenderIgnored bool   `json:"sender_ignored"`
		SoftFailed    bool   `json:"soft_failed"`
		JoinRule      string `json:"join_rule"`
		Outlier       bool
		Visible       string
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return err
	}
	history, _ := r.HistoryVisibility.(string)
	member := map[string]string{"m.room.member": "membership", "m.room.history_visibility": "history_visibility"}[r.Event.Type]
	before, _ := r.Event.PrevContent[member].(string)
	got := rules.Visible(&rules.Sight{
		User: r.User, History: history, Membership: r.Membership, Outside: r.IsPeeking, PublicJoin: r.JoinRule == "public",
		Type: r.Event.Type, StateKey: r.Event.StateKey, Sender: r.Event.Sender, Before: before,
		SenderErased: r.SenderErased, SenderIgnored: r.SenderIgnored, SoftFailed: r.SoftFailed, Outlier: r.Outlier,
	})
	want := map[string]rules.Visibility{"yes": rules.VisibleInFull, "no": rules.Hidden, "redacted": rules.RedactedOnly}[r.Visible]
	if got != want {
		return fmt.Errorf("visible: %v, want %v", got, want)
	}
	return nil
}

func checkVisibleToServer(_ *vectorFile, record json.RawMessage) error {
	var r struct {
		HistoryVisibility string            `json:"history_visibility"`
		TargetServer      matrix.ServerName `json:"target_server"`
		Members           [][2]string
		SenderErased      bool `json:"sender_erased"`
		Outlier, Visible  bool
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return err
	}
	s := rules.ServerSight{History: r.HistoryVisibility, SenderErased: r.SenderErased, Outlier: r.Outlier}
	for _, m := range r.Members {
		if matrix.UserID(m[0]).Server() == r.TargetServer {
			s.Joined = s.Joined || m[1] == "join"
			s.Invited = s.Invited || m[1] == "invite"
		}
	}
	if got := rules.VisibleToServer(&s); got != r.Visible {
		return fmt.Errorf("visible: %v, want %v", got, r.Visible)
	}
	return nil
}

// pushCase is what the records about push rules share.
type pushCase struct {
	Event   json.RawMessage
	Context struct {
		Members     int64            `json:"room_member_count"`
		SenderLevel *int64           `json:"sender_power_level"`
		Levels      map[string]int64 `json:"notification_power_levels"`
	}
	User        matrix.UserID `json:"user_id"`
	DisplayName string        `json:"display_name"`
}

func (p *pushCase) evaluate(rules *push.Ruleset) (push.Outcome, error) {
	event, err := canonicaljson.Canonical(nil, p.Event, canonicaljson.Loose)
	if err != nil {
		return push.Outcome{}, err
	}
	facts := &push.Facts{Members: p.Context.Members, DisplayName: p.DisplayName}
	if level := p.Context.SenderLevel; level != nil {
		facts.MayNotify = func(_ matrix.UserID, kind string) bool {
			need, ok := p.Context.Levels[kind]
			if !ok {
				need = 50
			}
			return *level >= need
		}
	}
	return push.Compile(p.User, rules).Evaluate(push.AboutJSON(event), facts), nil
}

func checkPushCondition(_ *vectorFile, record json.RawMessage) error {
	var r struct {
		pushCase
		Condition json.RawMessage
		Matches   bool
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return err
	}
	o, err := r.evaluate(&push.Ruleset{Override: []push.Rule{{ID: "it", Enabled: true, Conditions: &[]json.RawMessage{r.Condition}}}})
	if err != nil {
		return err
	}
	if got := o.Rule != ""; got != r.Matches {
		return fmt.Errorf("%s matches: %v, want %v", r.Condition, got, r.Matches)
	}
	return nil
}

func checkPushRuleset(_ *vectorFile, record json.RawMessage) error {
	var r struct {
		pushCase
		Rules   map[push.Kind][]push.Rule
		Enabled map[string]bool `json:"default_rule_enabled"`
		Effect  struct {
			Notify, Highlight bool
			Sound             *string
		}
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return err
	}
	changes := &push.Changes{Own: r.Rules}
	for name, enabled := range r.Enabled {
		parts := strings.SplitN(name, "/", 3)
		if err := changes.SetEnabled(push.Kind(parts[1]), parts[2], enabled); err != nil {
			if parts[2] == ".im.vector.jitsi" || slices.Contains(legacyRules, parts[2]) {
				continue // rules that are not in the specification
			}
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	o, err := r.evaluate(changes.Rules(r.User))
	if err != nil {
		return err
	}
	sound := ""
	if r.Effect.Sound != nil {
		sound = *r.Effect.Sound
	}
	if o.Notify != r.Effect.Notify || o.Highlight != r.Effect.Highlight || o.Sound != sound {
		return fmt.Errorf("the effect is %+v, want %+v with the sound %q", o, r.Effect, sound)
	}
	return nil
}

var legacyRules = []string{".m.rule.contains_display_name", ".m.rule.roomnotif", ".m.rule.contains_user_name"}

func checkDefaultPushRules(_ *vectorFile, record json.RawMessage) error {
	var r struct{ Active []string }
	if err := json.Unmarshal(record, &r); err != nil {
		return err
	}
	ours := new(push.Changes).Rules("@user:example.org")
	last := map[push.Kind]int{}
	for _, name := range r.Active {
		if name == "global/underride/.im.vector.jitsi" {
			continue // not in the specification
		}
		parts := strings.SplitN(name, "/", 3)
		kind := push.Kind(parts[1])
		i := slices.IndexFunc(*ours.Of(kind), func(r push.Rule) bool { return r.ID == parts[2] })
		if i < 0 || i < last[kind] {
			return fmt.Errorf("%s is missing, or not in its place", name)
		}
		last[kind] = i
	}
	return nil
}
