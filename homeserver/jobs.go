package homeserver

import (
	"context"
	"errors"
	"slices"
	"time"

	"astrocyte/account"
	"astrocyte/federation/remote"
	"astrocyte/matrix"
	"astrocyte/policy"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// The kinds of jobs that one part asks of another. The key of each is a user.
const (
	jobProfile = "profile" // tell rooms of a changed profile
	jobLeave   = "leave"   // take a deactivated user out of all rooms
)

// profileDelay is how long the job for a changed profile waits. Rooms are told at once; the job makes
// sure of it should the node die meanwhile.
const profileDelay = 10 * time.Second

// makeJobs connects the accounts to the rooms: what a change of one means for the other survives a crash.
func (s *Server) makeJobs() error {
	inRooms := func(field string) bool { return field == "displayname" || field == "avatar_url" }
	s.accounts.Use(func(h *account.Hooks) {
		h.ProfileChanged = func(tx *store.Tx, user matrix.UserID, field string) error {
			if !inRooms(field) {
				return nil
			}
			return tx.Enqueue(store.Job{Kind: jobProfile, Key: string(user), Delay: profileDelay})
		}
		h.Profile = func(ctx context.Context, user matrix.UserID, field string) error {
			if !inRooms(field) {
				return nil
			}
			return s.tellRooms(ctx, user)
		}
		h.Deactivated = append(h.Deactivated, func(tx *store.Tx, user matrix.UserID, _ bool) error {
			return tx.Enqueue(store.Job{Kind: jobLeave, Key: string(user)})
		})
	})
	jobs, err := store.NewJobs(s.db,
		store.JobHandler{Kind: jobProfile, Do: func(ctx context.Context, j store.Job) error {
			return s.tellRooms(ctx, matrix.UserID(j.Key))
		}},
		store.JobHandler{Kind: jobLeave, Do: func(ctx context.Context, j store.Job) error {
			if err := s.remote.LeaveAll(ctx, matrix.UserID(j.Key)); err != nil {
				return err
			}
			return s.rooms.LeaveAll(ctx, matrix.UserID(j.Key))
		}},
		store.JobHandler{Kind: roomserver.RedactRelatedJob, Do: s.rooms.RedactRelated, Parallel: 2},
		store.JobHandler{Kind: roomserver.JobForget, Parallel: 2, Do: s.rooms.ForgetRedacted},
		store.JobHandler{Kind: roomserver.JobAbandoned, Parallel: 2, Do: s.rooms.ForgetEntry},
		store.JobHandler{Kind: roomserver.JobSticky, Parallel: 2, Do: s.rooms.ReviewSticky},
		store.JobHandler{Kind: policy.JobTask, Parallel: 2, Do: s.policy.DoTask},
		store.JobHandler{Kind: roomserver.JobGuests, Do: func(ctx context.Context, j store.Job) error {
			return s.guestsLeave(ctx, matrix.RoomID(j.Key))
		}},
		store.JobHandler{Kind: remote.JobDepart, Parallel: 4, Do: func(ctx context.Context, j store.Job) error {
			return s.remote.Depart(ctx, j)
		}},
		store.JobHandler{Kind: remote.JobExchange, Parallel: 4, Do: func(ctx context.Context, j store.Job) error {
			return s.remote.Exchange(ctx, j)
		}},
	)
	if err != nil {
		return err
	}
	s.runs("jobs", jobs.Run)
	return nil
}

// tellRooms carries a user's profile into the rooms that they are in, unless nobody is to hear of them.
func (s *Server) tellRooms(ctx context.Context, user matrix.UserID) error {
	if u, _, err := s.accounts.User(ctx, user); err != nil || u.Shadowed {
		return err
	}
	profiles, err := s.accounts.Profiles(ctx, []matrix.UserID{user})
	if err != nil {
		return err
	}
	return s.rooms.Rejoin(ctx, user, roomserver.Profile(profiles[user]))
}

// guestsLeave takes guests out of a room that is not open to them any more.
func (s *Server) guestsLeave(ctx context.Context, room matrix.RoomID) error {
	users, err := s.rooms.ClosedTo(ctx, room)
	var unknown *matrix.Error // nobody has come in
	if errors.As(err, &unknown) {
		return nil
	}
	if err != nil {
		return err
	}
	for part := range slices.Chunk(users, 1000) {
		guests, err := s.accounts.GuestsAmong(ctx, part)
		if err != nil {
			return err
		}
		for _, guest := range guests {
			_, err := s.rooms.SetMembership(ctx, roomserver.Change{
				Room: room, Sender: guest, Target: guest, Membership: matrix.Leave, Reason: "the room is not open to guests any more",
			})
			var left *matrix.Error // by themselves, meanwhile
			if err != nil && !errors.As(err, &left) {
				return err
			}
		}
	}
	return nil
}
