package push

import (
	"context"
	"encoding/json"
	"fmt"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/store"
)

// maxChanges bounds what is stored of a user's rules, in bytes.
const maxChanges = 1 << 20

// Rules reads the rules of a user.
//
// Spec: GET /_matrix/client/v3/pushrules/
func (p *Push) Rules(ctx context.Context, user matrix.UserID) (*Ruleset, error) {
	var rules *Ruleset
	err := p.db.View(ctx, func(tx *store.Tx) error {
		c, _, err := p.readChanges(tx, user, false)
		if err == nil {
			rules = c.Rules(user)
		}
		return err
	})
	return rules, err
}

// Rule reads one rule of a user.
//
// Spec: GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}
func (p *Push) Rule(ctx context.Context, user matrix.UserID, k Kind, id string) (*Rule, error) {
	rules, err := p.Rules(ctx, user)
	if err != nil {
		return nil, err
	}
	r := rules.Find(k, id)
	if r == nil {
		return nil, missing()
	}
	return r, nil
}

// Change changes the rules of a user. fn is called with what they have changed so far, and may be called
// again.
func (p *Push) Change(ctx context.Context, user matrix.UserID, fn func(c *Changes) error) error {
	return p.db.Update(ctx, func(tx *store.Tx) error { return p.ChangeIn(tx, user, fn) })
}

// ChangeIn is Change in a transaction that is under way.
func (p *Push) ChangeIn(tx *store.Tx, user matrix.UserID, fn func(c *Changes) error) error {
	if err := ensureRules(tx, user); err != nil {
		return fmt.Errorf("lock push rules: %w", err)
	}
	c, _, err := p.readChanges(tx, user, true)
	if err != nil {
		return err
	}
	if err := fn(c); err != nil {
		return err
	}
	changed, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write push rules: %w", err)
	}
	if len(changed) > maxChanges {
		return matrix.E(matrix.CodeTooLarge, "your push rules would be larger than %d bytes", maxChanges)
	}
	pos, err := tx.NextPos(1)
	if err != nil {
		return err
	}
	tx.Announce(bus.Change{Kind: bus.User, Key: string(user), Pos: pos})
	return writeRules(tx, user, changed, pos)
}

// readChanges reads what a user changed, and where the newest change is in the stream.
func (p *Push) readChanges(tx *store.Tx, user matrix.UserID, lock bool) (*Changes, int64, error) {
	row, found, err := readRules(tx, user, lock)
	if err != nil {
		return nil, 0, fmt.Errorf("read push rules: %w", err)
	}
	c := &Changes{server: p.defaults}
	if !found || len(row.changes) == 0 {
		return c, row.pos, nil
	}
	if err := json.Unmarshal(row.changes, c); err != nil {
		return nil, 0, fmt.Errorf("read the push rules of %s: %w", user, err)
	}
	return c, row.pos, nil
}

// AccountData gives the content of m.push_rules, if the rules of a user changed after the position since,
// up to upto. From 0 on it gives the rules as they are.
//
// Spec: CS m.push_rules.
func (p *Push) AccountData(tx *store.Tx, user matrix.UserID, since, upto int64) (json.RawMessage, bool, error) {
	c, pos, err := p.readChanges(tx, user, false)
	if err != nil {
		return nil, false, err
	}
	if since > 0 && (pos <= since || pos > upto) {
		return nil, false, nil
	}
	content, err := json.Marshal(struct {
		Global *Ruleset `json:"global"`
	}{c.Rules(user)})
	if err != nil {
		return nil, false, fmt.Errorf("write push rules: %w", err)
	}
	return content, true, nil
}

// evaluator gives the compiled rules of a user, and the position of their newest change.
func (p *Push) evaluator(tx *store.Tx, user matrix.UserID) (*Evaluator, int64, error) {
	pos, err := posOfRules(tx, user)
	if err != nil {
		return nil, 0, fmt.Errorf("read push rules: %w", err)
	}
	if v, ok := p.compiledAt(user, pos); ok {
		return v, pos, nil
	}
	c, pos, err := p.readChanges(tx, user, false)
	if err != nil {
		return nil, 0, err
	}
	v := Compile(user, c.Rules(user))
	p.compiled.Put(compiledKey{user, pos}, v, v.cost())
	return v, pos, nil
}

// compiledAt gives the compiled rules of a user by the position of their newest change, if they are in memory.
func (p *Push) compiledAt(user matrix.UserID, pos int64) (*Evaluator, bool) {
	if pos == 0 {
		return p.defaults.plainFor(user), true
	}
	return p.compiled.Get(compiledKey{user, pos})
}

// CopyRoom gives a user the room rule of one room for another: for those that follow an upgrade.
//
// Spec: CS "Room Upgrades" leaves it to servers.
func (p *Push) CopyRoom(ctx context.Context, user matrix.UserID, from, to matrix.RoomID) error {
	return p.db.Update(ctx, func(tx *store.Tx) error { return p.copyRoom(tx, user, from, to) })
}

func (p *Push) copyRoom(tx *store.Tx, user matrix.UserID, from, to matrix.RoomID) error {
	c, _, err := p.readChanges(tx, user, false)
	if err != nil {
		return err
	}
	old := c.find(Room, string(from))
	if old < 0 || c.find(Room, string(to)) >= 0 {
		return nil
	}
	rule := c.Own[Room][old]
	rule.ID = string(to)
	return p.ChangeIn(tx, user, func(c *Changes) error { return c.Put(Room, rule, "", "") })
}
