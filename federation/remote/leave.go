package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// JobDepart is the kind of the jobs that tell other servers that a user of ours does not want into a room; the
// payload of each is an Entry.
const JobDepart = "depart"

// departAttempts bounds how often a job of that kind is tried: the pauses between them grow to an hour, so it
// is about two days.
const departAttempts = 60

// Leave ends an invite to, or a knock upon, a room that this server is not in: here at once, and on the other
// servers as soon as one of them can be reached.
//
// Spec: SS "Leaving Rooms (Rejecting Invites)"
func (r *Remote) Leave(ctx context.Context, was roomserver.Outside, reason string) error {
	content, err := roomserver.Change{Membership: matrix.Leave, Reason: reason}.Written()
	if err != nil {
		return err
	}
	job, err := json.Marshal(Entry{
		Room: was.Room, User: was.User, Via: r.others([]matrix.ServerName{was.Via, was.Sender.Server(), was.Room.Server()}), Content: content,
	})
	if err != nil {
		return fmt.Errorf("write a job: %w", err)
	}
	return r.rooms.LeaveOutside(ctx, was, content, func(tx *store.Tx, _ roomserver.Passed) error {
		return tx.Enqueue(store.Job{Kind: JobDepart, Key: string(was.User) + " " + string(was.Room), Payload: job})
	})
}

// LeaveAll ends all that a user has to do with rooms that this server is not in.
//
// Spec: POST /_matrix/client/v3/account/deactivate
func (r *Remote) LeaveAll(ctx context.Context, user matrix.UserID) error {
	all, err := r.rooms.OutsideOf(ctx, user)
	if err != nil {
		return err
	}
	for _, was := range all {
		if err := r.Leave(ctx, was, ""); err != nil {
			return err
		}
	}
	return nil
}

// Depart does a job of the kind JobDepart.
func (r *Remote) Depart(ctx context.Context, j store.Job) error {
	var e Entry
	if err := json.Unmarshal(j.Payload, &e); err != nil {
		return fmt.Errorf("read a job: %w", err)
	}
	if left, err := r.hasLeft(ctx, e); err != nil || !left {
		return err
	}
	err := r.overServers(ctx, e, func(ctx context.Context, server matrix.ServerName) error { return r.tell(ctx, server, e) })
	var refused *matrix.Error
	if errors.As(err, &refused) && refused.Status < http.StatusInternalServerError || err != nil && j.Attempts >= departAttempts {
		r.log.Info("a room was not told that a user does not want in", "room", e.Room, "user", e.User, "error", err)
		return nil
	}
	return err
}

// hasLeft says whether it is still true that a user of ours does not want into a room: they may have been invited again,
// or be in it.
func (r *Remote) hasLeft(ctx context.Context, e Entry) (bool, error) {
	now, found, err := r.rooms.FindOutside(ctx, e.User, e.Room)
	return found && now.Membership == matrix.Leave, err
}

// departTime bounds how long one server is tried.
const departTime = 20 * time.Second

// tell tells a server that a user of ours does not want into a room, or no longer.
func (r *Remote) tell(ctx context.Context, server matrix.ServerName, e Entry) error {
	leave, err := r.signed(ctx, server, leaving, e)
	if err != nil {
		return err
	}
	if left, err := r.hasLeft(ctx, e); err != nil || !left {
		return err
	}
	request := peer.Request{
		Method: "PUT", Path: peer.Path("/_matrix/federation/v2/send_leave", string(e.Room), string(leave.ID())),
		Body: json.RawMessage(leave.Bytes()), Timeout: departTime,
	}
	err = r.client.Do(ctx, server, request)
	if knowsNoSuchPath(err) {
		request.Path = peer.Path("/_matrix/federation/v1/send_leave", string(e.Room), string(leave.ID()))
		err = r.client.Do(ctx, server, request)
	}
	return err
}

// knowsNoSuchPath says whether an answer is that of a server which does not have the endpoint.
func knowsNoSuchPath(err error) bool {
	var refused *peer.Refused
	return errors.As(err, &refused) && refused.Fault.Code != matrix.CodeNotFound &&
		(refused.Status == http.StatusNotFound || refused.Status == http.StatusMethodNotAllowed)
}
