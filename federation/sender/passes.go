package sender

import (
	"context"
	"fmt"

	"astrocyte/ephemeral"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// Abroad is how package ephemeral tells other servers of what passes. presenceRoom is how many members a room
// has at most whose servers are told of the presence of its members; 0: presence is told to nobody.
func (s *Sender) Abroad(presenceRoom int) ephemeral.Abroad {
	a := ephemeral.Abroad{Typing: s.typing, Read: s.read}
	if presenceRoom > 0 {
		a.Presence = func(ctx context.Context, user matrix.UserID, p ephemeral.Presence) {
			s.presence(ctx, user, p, presenceRoom)
		}
	}
	return a
}

// typing tells the servers of a room who types.
//
// Spec: SS "Typing Notifications"
func (s *Sender) typing(ctx context.Context, user matrix.UserID, room matrix.RoomID, types bool) {
	var servers []matrix.ServerName
	err := s.db.View(ctx, func(tx *store.Tx) error {
		nid, known, err := s.rooms.NID(tx, room)
		if err == nil && known {
			servers, err = s.rooms.ServersIn(tx, nid)
		}
		return err
	})
	if err != nil {
		s.log.Warn("tell other servers who types", "room", room, "error", err)
		return
	}
	s.passing.put(s.admitted(servers), note{
		noteKey: noteKey{kind: kindTyping, room: room, user: user},
		content: written(map[string]any{"room_id": room, "user_id": user, "typing": types}),
	})
}

// read tells the servers of a room how far a user has read, once that is stored.
//
// Spec: SS "Receipts"
func (s *Sender) read(tx *store.Tx, r ephemeral.Receipt) error {
	servers, err := s.rooms.ServersIn(tx, r.Room)
	if err != nil || len(servers) == 0 {
		return err
	}
	heads, err := s.rooms.Heads(tx, []roomserver.RoomNID{r.Room})
	if err != nil {
		return fmt.Errorf("find the room of a receipt: %w", err)
	}
	data := map[string]any{"ts": r.TS}
	if r.Thread != "" {
		data["thread_id"] = r.Thread
	}
	n := note{
		noteKey: noteKey{kind: kindReceipt, room: heads[r.Room].ID, user: r.User, thread: r.Thread},
		content: written(map[string]any{"event_ids": []matrix.EventID{r.Event}, "data": data}),
	}
	tx.AfterCommit(func() { s.passing.put(s.admitted(servers), n) })
	return nil
}

// presence tells the servers with which a user shares a room that is not too large.
//
// Spec: SS "Presence"
func (s *Sender) presence(ctx context.Context, user matrix.UserID, p ephemeral.Presence, most int) {
	servers := make(map[matrix.ServerName]bool)
	err := s.db.View(ctx, func(tx *store.Tx) error {
		clear(servers)
		rooms, err := s.rooms.RoomsOf(tx, user)
		if err != nil {
			return err
		}
		stays, err := s.rooms.Servers(tx, rooms)
		if err != nil || len(stays) == 0 {
			return err
		}
		heads, err := s.rooms.Heads(tx, rooms)
		for room, some := range stays {
			for _, stay := range some {
				if stay.Joined && heads[room].Joined <= int64(most) {
					servers[stay.Server] = true
				}
			}
		}
		return err
	})
	if err != nil {
		s.log.Warn("tell other servers of presence", "user", user, "error", err)
		return
	}
	content := map[string]any{
		"user_id": user, "presence": p.State, "last_active_ago": p.Ago.Milliseconds(), "currently_active": p.Active,
	}
	if p.Status != "" {
		content["status_msg"] = p.Status
	}
	var all []matrix.ServerName
	for server := range servers {
		all = append(all, server)
	}
	s.passing.put(s.admitted(all), note{noteKey: noteKey{kind: kindPresence, user: user}, content: written(content)})
}

// admitted are those of some servers with which this one speaks.
func (s *Sender) admitted(servers []matrix.ServerName) []matrix.ServerName {
	var all []matrix.ServerName
	for _, server := range servers {
		if s.admits(server) {
			all = append(all, server)
		}
	}
	return all
}
