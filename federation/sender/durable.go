package sender

import (
	"fmt"

	"astrocyte/matrix"
	"astrocyte/store"
)

// addDurable adds what package e2ee keeps for a server: messages to devices, and which devices changed.
func (s *Sender) addDurable(tx *store.Tx, t *transaction, most int) error {
	if s.encryption == nil {
		return nil
	}
	for most = min(most, maxEDUs); ; most /= 2 {
		out, err := s.encryption.Waiting(tx, t.server, most)
		if err != nil {
			return err
		}
		t.edus, t.bytes = nil, 0
		for _, e := range out.EDUs {
			text := eduOf(e.Type, e.Content)
			t.edus = append(t.edus, edu{json: text, lasts: true})
			t.bytes += len(text)
		}
		if t.durable = out; t.bytes <= maxBytes || most <= 1 {
			return nil
		}
	}
}

// settleDurable forgets what a server has taken, or is not sent.
func (s *Sender) settleDurable(tx *store.Tx, t *transaction) error {
	if t.durable == nil || len(t.durable.EDUs) == 0 {
		return nil
	}
	return s.encryption.Told(tx, t.server, t.durable)
}

// anyWaiting says whether anything durable waits for a server.
func (s *Sender) anyWaiting(tx *store.Tx, server matrix.ServerName) (bool, error) {
	if any, err := anyStretch(tx, server); err != nil || any || s.encryption == nil {
		return any, err
	}
	out, err := s.encryption.Waiting(tx, server, 1)
	if err != nil {
		return false, fmt.Errorf("look whether EDUs wait for %s: %w", server, err)
	}
	return len(out.EDUs) > 0, nil
}

// wakeOld makes those destinations due for which package e2ee has kept something while nobody sent.
func (s *Sender) wakeOld(tx *store.Tx) error {
	if s.encryption == nil {
		return nil
	}
	servers, err := s.encryption.Destinations(tx)
	if err != nil || len(servers) == 0 {
		return err
	}
	return s.Wake(tx, servers)
}
