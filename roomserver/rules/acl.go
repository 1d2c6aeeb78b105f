package rules

import (
	"net/netip"
	"strings"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/matrix/glob"
)

// ACL says which servers may take part in a room: a parsed m.room.server_acl. It is immutable.
//
// Spec: CS "Server Access Control Lists (ACLs) for rooms".
type ACL struct {
	literals    bool // servers named by an IP address may take part
	allow, deny []*glob.Pattern
}

// ParseACL reads the content of an m.room.server_acl event. What has the wrong type counts as absent.
func ParseACL(content []byte) *ACL {
	literals, _ := canonicaljson.Field(content, "allow_ip_literals")
	return &ACL{
		literals: string(literals) != "false",
		allow:    patterns(content, "allow"),
		deny:     patterns(content, "deny"),
	}
}

// ACL is the parsed content of an m.room.server_acl event.
func (e *Event) ACL() *ACL {
	return parsed(e, "m.room.server_acl", func(_ *Version, content []byte) *ACL { return ParseACL(content) })
}

func patterns(content []byte, key string) []*glob.Pattern {
	list, _ := canonicaljson.Field(content, key)
	var all []*glob.Pattern
	w := canonicaljson.WalkArray(list)
	for w.Next() {
		if text, ok := canonicaljson.Text(w.Value()); ok {
			all = append(all, glob.Compile(text))
		}
	}
	return all
}

// Allows says whether the server may take part. The port is not looked at.
func (a *ACL) Allows(server matrix.ServerName) bool {
	host, _ := server.Split()
	if !a.literals && isAddress(host) {
		return false
	}
	return !anyMatches(a.deny, host) && anyMatches(a.allow, host)
}

func anyMatches(list []*glob.Pattern, host string) bool {
	for _, p := range list {
		if p.Match(host) {
			return true
		}
	}
	return false
}

func isAddress(host string) bool {
	if strings.HasPrefix(host, "[") {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// ServerAllowed says whether the content of an m.room.server_acl event lets the server take part. Who
// asks more than once about the same event parses it once.
func ServerAllowed(content []byte, server matrix.ServerName) bool {
	return ParseACL(content).Allows(server)
}
