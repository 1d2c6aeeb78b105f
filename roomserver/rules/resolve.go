package rules

// Entry says which event holds a tuple, that is, an interned (type, state key).
type Entry struct{ Tuple, Event int64 }
