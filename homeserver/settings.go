package homeserver

import (
	"net/netip"

	"astrocyte/config"
	"astrocyte/httpapi"
	"astrocyte/matrix"
)

// limitsOf makes the rate limits of the HTTP layer from the settings.
func limitsOf(c config.RateLimits) httpapi.Limits {
	if !c.Enabled {
		return httpapi.Limits{}
	}
	l := httpapi.Limits{Classes: map[string]httpapi.Class{}, Servers: map[string]httpapi.Rate{}, Factors: map[matrix.UserID]float64{}}
	for name, class := range c.Classes() {
		l.Classes[name] = httpapi.Class{Account: httpapi.Rate(class.Account), Address: httpapi.Rate(class.Address)}
	}
	for name, rate := range c.Servers.Classes() {
		l.Servers[name] = httpapi.Rate(rate)
	}
	for _, u := range c.Users {
		l.Factors[u.User] = u.Factor
	}
	return l
}

func prefixesOf(ranges []config.Prefix) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, p := range ranges {
		prefixes = append(prefixes, netip.Prefix(p))
	}
	return prefixes
}
