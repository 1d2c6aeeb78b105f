package account

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"astrocyte/matrix"
	"astrocyte/matrix/glob"
	"astrocyte/store"
)

// Welcome is what becomes of an invite.
type Welcome int

// An invite is shown to the user; or it is taken, but they hear nothing of it; or it is refused.
const (
	InviteShown Welcome = iota
	InviteIgnored
	InviteBlocked
)

// The account data that says which invites a user wants.
const (
	inviteConfig = "m.invite_permission_config"
	inviteLists  = "org.matrix.msc4155.invite_permission_config" // MSC4155, under its unstable name
)

// InviteRules are what a user wants to become of invites. The zero value shows all.
type InviteRules struct {
	ignored map[matrix.UserID]bool
	nobody  bool // no invites at all
	lists   []inviteList
}

// inviteList is one list of patterns, and what becomes of the invites that match any.
type inviteList struct {
	servers  bool // the patterns are for the inviter's server, not for their id
	patterns []string
	welcome  Welcome
}

// MayInvite refuses an invite that its target does not want: M_INVITE_BLOCKED. Who is only ignored is not
// told. It is for invites of users of any server; the target is a user of ours.
//
// Spec: CS "Invite permission".
func (a *Accounts) MayInvite(ctx context.Context, inviter, target matrix.UserID) error {
	var rules InviteRules
	err := a.db.View(ctx, func(tx *store.Tx) (err error) {
		rules, err = ReadInviteRules(tx, target)
		return err
	})
	if err != nil {
		return err
	}
	if rules.Welcome(inviter) == InviteBlocked {
		return matrix.E(matrix.CodeInviteBlocked, "%s does not want to be invited by you", target)
	}
	return nil
}

// ReadInviteRules reads what a user wants to become of invites.
func ReadInviteRules(tx *store.Tx, user matrix.UserID) (InviteRules, error) {
	var r InviteRules
	var err error
	if r.ignored, err = ReadIgnored(tx, user); err != nil {
		return r, err
	}
	raw, found, err := ReadAccountData(tx, user, "", inviteConfig)
	if err != nil {
		return r, fmt.Errorf("read the invite permission of %s: %w", user, err)
	}
	if found {
		r.nobody = blocksAll(raw)
	}
	if raw, found, err = ReadAccountData(tx, user, "", inviteLists); err != nil {
		return r, fmt.Errorf("read the invite filter of %s: %w", user, err)
	}
	if found {
		r.lists = invitesIn(raw)
	}
	return r, nil
}

// blocksAll reads an m.invite_permission_config. What is not of its form blocks nothing.
func blocksAll(raw json.RawMessage) bool {
	var config struct {
		Default string `json:"default_action"`
	}
	return json.Unmarshal(raw, &config) == nil && config.Default == "block"
}

// invitesIn reads the lists of MSC4155 in the order in which they are asked. What is not of their form
// counts as none.
func invitesIn(raw json.RawMessage) []inviteList {
	var config struct {
		Enabled        *bool    `json:"enabled"`
		AllowedUsers   []string `json:"allowed_users"`
		IgnoredUsers   []string `json:"ignored_users"`
		BlockedUsers   []string `json:"blocked_users"`
		AllowedServers []string `json:"allowed_servers"`
		IgnoredServers []string `json:"ignored_servers"`
		BlockedServers []string `json:"blocked_servers"`
	}
	if json.Unmarshal(raw, &config) != nil || config.Enabled != nil && !*config.Enabled {
		return nil
	}
	return []inviteList{
		{false, config.AllowedUsers, InviteShown},
		{false, config.IgnoredUsers, InviteIgnored},
		{false, config.BlockedUsers, InviteBlocked},
		{true, config.AllowedServers, InviteShown},
		{true, config.IgnoredServers, InviteIgnored},
		{true, config.BlockedServers, InviteBlocked},
	}
}

// Welcome says what becomes of an invite by somebody: whom the user ignores is ignored, where they want no
// invites all others are blocked, and else the first list that names the inviter or their server decides.
func (r InviteRules) Welcome(inviter matrix.UserID) Welcome {
	switch {
	case r.ignored[inviter]:
		return InviteIgnored
	case r.nobody:
		return InviteBlocked
	}
	for _, l := range r.lists {
		if l.names(inviter) {
			return l.welcome
		}
	}
	return InviteShown
}

// maxPattern bounds a pattern, in bytes: a user id or server name cannot have more than 255.
const maxPattern = 512

func (l inviteList) names(inviter matrix.UserID) bool {
	subject := string(inviter)
	if l.servers {
		subject, _ = inviter.Server().Split() // without the port, as server ACLs look at it
	}
	for _, p := range l.patterns {
		if strings.EqualFold(p, subject) {
			return true
		}
		if len(p) <= maxPattern && strings.ContainsAny(p, "*?") && glob.Compile(p).Match(subject) {
			return true
		}
	}
	return false
}
