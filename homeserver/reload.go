package homeserver

import (
	"context"
	"errors"

	"astrocyte/config"
)

// reloads reads the settings again whenever it is told to.
func (s *Server) reloads(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.o.Hangup:
		}
		c, err := s.o.Reread()
		if err == nil {
			err = s.Reload(c)
		}
		if err != nil {
			s.log.Error("the settings were not all reloaded", "error", err)
			continue
		}
		s.log.Info("the settings were reloaded")
	}
}

// Reload takes over what may change while the server runs: the log's level, rate limits, who may
// register, and the certificates. Everything else waits for the next start.
func (s *Server) Reload(c *config.Config) error {
	if s.o.Level != nil {
		s.o.Level.Set(levelOf(c.Log))
	}
	s.limiter.Set(limitsOf(c.RateLimits))
	s.accounts.SetRegistration(c.Registration)
	var err error
	for _, l := range s.listeners {
		err = errors.Join(err, l.readCertificate())
	}
	return err
}
