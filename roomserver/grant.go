package roomserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// Grant gives a user as much power in a room as the most powerful user of this server has there, in whose name it
// is done. A user who is not in the room is invited, where it is not open.
func (r *Rooms) Grant(ctx context.Context, id matrix.RoomID, to matrix.UserID, p Profile) error {
	nid, err := r.find(ctx, id)
	if err != nil {
		return err
	}
	return r.post(ctx, []RoomNID{nid}, func(b *batch) error {
		h, err := b.room(nid)
		if err != nil {
			return err
		}
		levels, err := b.levels(h)
		if err != nil {
			return err
		}
		by, err := b.mightiest(h, levels)
		if err != nil {
			return err
		}
		if levels.User(to).Compare(levels.User(by)) < 0 {
			if err := b.setPower(h, by, to, levels); err != nil {
				return err
			}
		}
		return b.letIn(h, by, to, p)
	})
}

// mightiest is the member of ours with the most power, who may change the power levels.
func (b *batch) mightiest(h *head, levels *rules.PowerLevels) (best matrix.UserID, err error) {
	for u := range levels.Users() {
		if !b.r.ours(u) || !levels.MaySend(u, "m.room.power_levels", true) {
			continue
		}
		if c := levels.User(u).Compare(levels.User(best)); best != "" && (c < 0 || c == 0 && u > best) {
			continue
		}
		member, err := b.stateEvent(h, rules.StateKey{Type: "m.room.member", Key: string(u)})
		if err != nil {
			return "", err
		}
		if member != nil && member.Membership() == matrix.Join {
			best = u
		}
	}
	if best == "" {
		return "", matrix.Forbidden("nobody of this server may change the power levels of the room")
	}
	return best, nil
}

// setPower gives a user the power of another one, or what is enough to change the power levels where that cannot be
// written down.
func (b *batch) setPower(h *head, by, to matrix.UserID, levels *rules.PowerLevels) error {
	level := levels.User(by)
	if level == rules.Infinite {
		level = max(100, levels.Event("m.room.power_levels", true))
	}
	content := map[string]json.RawMessage{}
	users := map[matrix.UserID]json.RawMessage{}
	if old, err := b.stateEvent(h, rules.StateKey{Type: "m.room.power_levels"}); err != nil {
		return err
	} else if old != nil {
		if json.Unmarshal(old.Content(), &content) != nil || content["users"] != nil && json.Unmarshal(content["users"], &users) != nil {
			return matrix.E(matrix.CodeBadState, "the power levels of the room cannot be read")
		}
	}
	var err error
	if users[to], err = json.Marshal(int64(level)); err != nil {
		return err
	}
	if content["users"], err = json.Marshal(users); err != nil {
		return err
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("write power levels: %w", err)
	}
	key := ""
	_, err = b.append(h, &Draft{Room: h.id, Sender: by, Type: "m.room.power_levels", StateKey: &key, Content: raw})
	return err
}

// letIn invites a user who is not in the room, where they cannot enter by themselves.
func (b *batch) letIn(h *head, by, to matrix.UserID, p Profile) error {
	member, err := b.stateEvent(h, rules.StateKey{Type: "m.room.member", Key: string(to)})
	if err != nil || member != nil && (member.Membership() == matrix.Join || member.Membership() == matrix.Invite) {
		return err
	}
	if jr, err := b.stateEvent(h, rules.StateKey{Type: "m.room.join_rules"}); err != nil || jr != nil && jr.JoinRules().Rule == "public" {
		return err
	}
	_, err = b.setMembership(h, Change{Room: h.id, Sender: by, Target: to, Membership: matrix.Invite, Profile: p})
	var refused *matrix.Error
	if errors.As(err, &refused) {
		return matrix.E(refused.Code, "the user cannot be invited: %s", refused.Message)
	}
	return err
}
