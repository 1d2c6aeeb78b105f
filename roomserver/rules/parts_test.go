package rules_test

import (
	"fmt"

	"astrocyte/roomserver/rules"
)

// checkStored stores the event and reads it again, as our own and as if it had come from elsewhere.
func checkStored(v *rules.Version, e *rules.Event) error {
	loaded, err := rules.Load(v, e.ID(), e.Bytes())
	if err != nil {
		return err
	}
	again, err := rules.Read(v, e.Bytes())
	if err != nil {
		return fmt.Errorf("read again: %w", err)
	}
	for _, other := range []*rules.Event{loaded, again} {
		if err := sameParts(e, other); err != nil {
			return err
		}
	}
	return nil
}

// sameParts compares all that two events say of themselves.
func sameParts(a, b *rules.Event) error {
	pa, pb := partsOf(a), partsOf(b)
	for name := range pa {
		if pa[name] != pb[name] {
			return fmt.Errorf("%s: %s, and read again %s", name, pa[name], pb[name])
		}
	}
	return nil
}

func partsOf(e *rules.Event) map[string]string {
	key, isState := e.StateKey()
	hash := e.ReferenceHash()
	return map[string]string{
		"bytes": string(e.Bytes()), "id": string(e.ID()), "room": string(e.RoomID()), "sender": string(e.Sender()),
		"type": e.Type(), "state key": fmt.Sprint(key, isState), "content": string(e.Content()),
		"depth": fmt.Sprint(e.Depth(), e.OriginServerTS()), "prev": fmt.Sprint(e.Prev()), "auth": fmt.Sprint(e.Auth()),
		"redacts": string(e.Redacts()), "hash": fmt.Sprint(hash, e.ContentHashOK()),
		"signers": fmt.Sprint(e.RequiredSigners()), "redacted": string(e.Redact().Bytes()),
	}
}
