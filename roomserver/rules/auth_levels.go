package rules

import "astrocyte/matrix"

// judgePowerLevels allows or refuses a change of the power levels: nobody gives more than they have, or
// takes what they have not.
//
// Spec: Room Versions "Authorization rules", "If type is m.room.power_levels".
func judgePowerLevels(c *check) (verdict, error) {
	if c.e.typ != "m.room.power_levels" {
		return next, nil
	}
	if !c.isState {
		return next, refuse("levels-state", "m.room.power_levels must be a state event")
	}
	will := c.e.levels()
	if will.fault != "" {
		return next, refuse("levels-form", "the power levels are not acceptable: %s", will.fault)
	}
	if c.e.version.PrivilegedCreators {
		for _, u := range c.create.Create().Creators {
			if _, listed := will.users[u]; listed {
				return next, refuse("levels-creator", "%s has made the room, and cannot have a power level", u)
			}
		}
	}
	// There may be one with another state key, which has no power over the room: it is held against the
	// one of the same key.
	before := c.state("m.room.power_levels", c.key)
	if before == nil {
		return allow, nil
	}
	return allow, c.judgeChanges(before.levels(), will)
}

func (c *check) judgeChanges(was, will *levels) error {
	own := c.own()
	for i := range namedKeys {
		old, now := optional(was.value[i], was.set[i]), optional(will.value[i], will.set[i])
		if err := judgeChange(own, namedKeys[i].key, old, now); err != nil {
			return err
		}
	}
	if err := judgeMaps(own, was.events, will.events); err != nil {
		return err
	}
	if c.e.version.NotificationLevels {
		if err := judgeMaps(own, was.notify, will.notify); err != nil {
			return err
		}
	}
	return c.judgeUsers(own, was.users, will.users)
}

// maybe is a level that may not be set.
type maybe struct {
	level Level
	set   bool
}

func optional(level Level, set bool) maybe {
	if !set {
		return maybe{}
	}
	return maybe{level, true}
}

func in[K ~string](m map[K]Level, key K) maybe {
	level, set := m[key]
	return maybe{level, set}
}

// judgeChange is "For each property … added, changed or removed": neither value may be above the
// sender's own.
func judgeChange(own Level, what string, was, will maybe) error {
	if was == will {
		return nil
	}
	if was.set && was.level > own {
		return refuse("levels-old", "you cannot change the power level of %s: it is %s, yours is %s", what, was.level, own)
	}
	if will.set && will.level > own {
		return refuse("levels-new", "you cannot set the power level of %s to %s: yours is %s", what, will.level, own)
	}
	return nil
}

func judgeMaps(own Level, was, will map[string]Level) error {
	for key, level := range was {
		if err := judgeChange(own, key, maybe{level, true}, in(will, key)); err != nil {
			return err
		}
	}
	for key, level := range will {
		if err := judgeChange(own, key, in(was, key), maybe{level, true}); err != nil {
			return err
		}
	}
	return nil
}

// judgeUsers is "For each entry being changed in, or removed from, the users property": those of the
// same power are out of reach too, but for the sender.
func (c *check) judgeUsers(own Level, was, will map[matrix.UserID]Level) error {
	for user, level := range was {
		if in(will, user) != (maybe{level, true}) && user != c.e.sender && level >= own {
			return refuse("levels-equal", "you cannot change the power level of %s: it is %s, yours is %s", user, level, own)
		}
	}
	for user, level := range will {
		if in(was, user) != (maybe{level, true}) && level > own {
			return refuse("levels-new", "you cannot set the power level of %s to %s: yours is %s", user, level, own)
		}
	}
	return nil
}
