package rules_test

import (
	"encoding/json"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

func checkersOther() map[string]checker {
	return map[string]checker{
		"glob/server_acl":   checkServerACL,
		"visibility/client": checkVisibleToClient,
		"visibility/server": checkVisibleToServer,
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
