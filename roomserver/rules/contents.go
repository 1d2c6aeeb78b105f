package rules

// contents caches what was parsed of an event's content.
type contents struct{}
