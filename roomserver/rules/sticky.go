package rules

import "astrocyte/matrix/canonicaljson"

const (
	// StickyKey is the member of an event that makes it sticky. It is not kept by a redaction.
	StickyKey = "msc4354_sticky"
	// MaxSticky is for how long an event may be sticky, in milliseconds.
	MaxSticky = 3600_000
)

// Sticky is for how long the sender wants the event to be sticky, in milliseconds; 0: it is not.
//
// Spec: MSC4354.
func (e *Event) Sticky() int64 { return e.sticky }

// stickyOf reads the member that makes an event sticky. One that is not as it should be does not.
func stickyOf(value []byte) int64 {
	if len(value) == 0 {
		return 0
	}
	raw, found := canonicaljson.Field(value, "duration_ms")
	n, ok := integer(raw)
	if !found || !ok || n < 0 || n > MaxSticky {
		return 0
	}
	return n
}
