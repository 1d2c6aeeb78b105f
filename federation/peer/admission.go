package peer

import (
	"slices"

	"astrocyte/matrix"
	"astrocyte/matrix/glob"
)

// Admission says which servers this one speaks with, in both directions. The zero value is all.
type Admission struct {
	// None is a server that stands alone.
	None        bool
	allow, deny []*glob.Pattern
}

// Admit makes an admission of patterns of server names, in which * and ? stand for any text. Where there are
// patterns to allow, nobody else is; what is denied is so even where it is allowed as well.
func Admit(allow, deny []string) Admission {
	var a Admission
	for _, p := range allow {
		a.allow = append(a.allow, glob.Compile(p))
	}
	for _, p := range deny {
		a.deny = append(a.deny, glob.Compile(p))
	}
	return a
}

// Admits says whether this server speaks with another. A pattern without a port is for all ports.
func (c *Client) Admits(server matrix.ServerName) bool {
	a := &c.o.Admission
	host, _ := server.Split()
	matches := func(p *glob.Pattern) bool { return p.Match(host) || p.Match(string(server)) }
	if a.None || slices.ContainsFunc(a.deny, matches) {
		return false
	}
	return len(a.allow) == 0 || slices.ContainsFunc(a.allow, matches)
}
