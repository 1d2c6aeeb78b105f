package httpapi

import (
	"log/slog"
	"slices"
	"strings"
)

// secretValue is the value of paths that is not logged: tokens by which accounts are made.
const secretValue = "token"

// audit logs a change that somebody has to answer for: who asked for it, by which endpoint, about what, which members
// of the body were given, and what came of it. Of the body nothing but these names is logged.
func (x *exchange) audit(e *endpoint, err error) {
	slices.Sort(x.caller.given)
	attrs := []slog.Attr{
		slog.String("by", string(x.caller.User)), slog.String("method", e.method), slog.String("endpoint", e.path),
		slog.String("about", strings.Join(x.about(e), " ")), slog.String("given", strings.Join(x.caller.given, " ")),
		slog.Int("status", x.w.status), slog.String("ip", x.caller.IP.String()), slog.String("request", x.caller.Request),
	}
	if fault := asFault(err); fault != nil {
		attrs = append(attrs, slog.String("refused", string(fault.Code)))
	}
	x.router.o.Log.LogAttrs(x.r.Context(), slog.LevelInfo, "administration", attrs...)
}

// about gives the values in a path.
func (x *exchange) about(e *endpoint) (values []string) {
	for part := range strings.SplitSeq(e.path, "/") {
		name, isValue := strings.CutPrefix(part, "{")
		if name = strings.TrimSuffix(name, "}"); isValue && name != secretValue {
			values = append(values, x.r.PathValue(name))
		}
	}
	return values
}
