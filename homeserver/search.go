package homeserver

import (
	"context"

	"astrocyte/account"
	"astrocyte/bus"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/search"
	"astrocyte/store"
)

// makeSearch makes the search index, and lets it know of users and their names.
func (s *Server) makeSearch(wakes bus.Bus) {
	s.search = search.New(search.Options{
		DB: s.db, Bus: wakes, Rooms: s.rooms, Accounts: s.accounts,
		AllUsers: s.o.Config.Users.Directory == "all", Log: s.logOf("search"),
	})
	s.runs("search", s.search.Run)
	s.accounts.Use(func(h *account.Hooks) {
		h.Registered = append(h.Registered, s.search.Registered)
		h.Deactivated = append(h.Deactivated, s.search.Deactivated)
		before := h.ProfileChanged
		h.ProfileChanged = func(tx *store.Tx, user matrix.UserID, field string) error {
			if before != nil {
				if err := before(tx, user, field); err != nil {
					return err
				}
			}
			return s.search.ProfileChanged(tx, user, field)
		}
	})
}

// noSettings is a request without parameters.
type noSettings struct{}

// rebuildSearch begins to make the search index anew.
//
// Extension: POST /search/rebuild, at the control socket
func (s *Server) rebuildSearch(ctx context.Context, _ *httpapi.Caller, _ *noSettings) (*search.Progress, error) {
	if err := s.search.Rebuild(ctx); err != nil {
		return nil, err
	}
	return s.searchProgress(ctx, nil, nil)
}

// searchProgress tells how far the search index has been made anew.
//
// Extension: GET /search/rebuild, at the control socket
func (s *Server) searchProgress(ctx context.Context, _ *httpapi.Caller, _ *noSettings) (*search.Progress, error) {
	p, err := s.search.Progress(ctx)
	return &p, err
}
