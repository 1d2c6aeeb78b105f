package roomserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"astrocyte/matrix"
	"astrocyte/store"
)

const (
	// foreignAliasesMost bounds the aliases of other servers that one event may add.
	foreignAliasesMost = 50
	foreignAtOnce      = 8
)

// confirm asks the servers of the aliases that a draft of a canonical alias event adds whether they point to its room.
// Which do is noted in the draft; who may not send it has nobody asked.
//
// Spec: PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}, M_BAD_ALIAS
func (r *Rooms) confirm(ctx context.Context, d *Draft) error {
	if d.Type != "m.room.canonical_alias" || d.StateKey == nil || *d.StateKey != "" {
		return nil
	}
	var wanted canonicalAlias
	if json.Unmarshal(d.Content, &wanted) != nil {
		return nil // which is refused
	}
	foreign := r.foreignOf(wanted.names())
	if len(foreign) == 0 {
		return nil
	}
	err := r.db.View(ctx, func(tx *store.Tx) error {
		may, err := r.may(tx, d.Sender, d.Room, d.Type)
		if err == nil && !may {
			err = matrix.Forbidden("you may not set the aliases of the room %s", d.Room)
		}
		if err != nil {
			return err
		}
		stands, err := r.namesOf(tx, d.Room)
		foreign = slices.DeleteFunc(foreign, func(a matrix.RoomAlias) bool { return slices.Contains(stands, string(a)) })
		return err
	})
	if err != nil {
		return fmt.Errorf("find the aliases of a room: %w", err)
	}
	if len(foreign) > foreignAliasesMost {
		return matrix.InvalidParam("more than %d aliases of other servers cannot be added at once", foreignAliasesMost)
	}
	return r.confirmAll(ctx, d, foreign)
}

// confirmAll asks for several aliases at once.
func (r *Rooms) confirmAll(ctx context.Context, d *Draft, aliases []matrix.RoomAlias) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(foreignAtOnce)
	for _, alias := range aliases {
		g.Go(func() error {
			room, err := r.remote.RoomOfAlias(ctx, alias)
			var told *matrix.Error
			switch {
			case errors.As(err, &told):
				return matrix.E(matrix.CodeBadAlias, "the alias %s cannot be looked up: %s", alias, told.Message)
			case err == nil && room != d.Room:
				return matrix.E(matrix.CodeBadAlias, "the alias %s does not point to this room", alias)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	d.confirmed = aliases
	return nil
}

// foreignOf are those of some names that are aliases of other servers, each once.
func (r *Rooms) foreignOf(names []string) (out []matrix.RoomAlias) {
	for _, name := range names {
		alias, err := matrix.ParseRoomAlias(name)
		if err == nil && alias.Server() != r.server && !slices.Contains(out, alias) {
			out = append(out, alias)
		}
	}
	return out
}

// namesOf are the aliases in the canonical alias event of a room.
func (r *Rooms) namesOf(tx *store.Tx, room matrix.RoomID) ([]string, error) {
	h, known, err := r.headByID(tx, room)
	if err != nil || !known {
		return nil, err
	}
	st, err := r.states.Load(tx, h.Snap)
	if err != nil {
		return nil, err
	}
	e, err := r.StateEvent(tx, st, "m.room.canonical_alias", "")
	if err != nil || e == nil {
		return nil, err
	}
	var stands canonicalAlias
	if json.Unmarshal(e.Content(), &stands) != nil {
		return nil, nil
	}
	return stands.names(), nil
}
