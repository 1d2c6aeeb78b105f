package account

import (
	"fmt"
	"strings"

	"astrocyte/store"
)

// userOrders are the orders of accounts. Those by what stands in other tables are by name.
var userOrders = map[string]string{
	"": "user_id", "name": "user_id", "displayname": "user_id", "avatar_url": "user_id", "user_type": "user_id", "last_seen_ts": "user_id",
	"is_guest": "kind", "admin": "admin", "deactivated": "deactivated_ts", "shadow_banned": "shadow_banned", "locked": "locked",
	"suspended": "suspended", "creation_ts": "created_ts",
}

// findUsers looks through all shards: it is for administrators.
func findUsers(tx *store.Tx, q UserQuery) (users []User, total int64, err error) {
	where, args := q.where()
	total, _, err = store.One(tx, func(r store.Row) (n int64, err error) { return n, r.Scan(&n) },
		`SELECT COUNT(*) FROM users WHERE `+where, args...)
	if err != nil {
		return nil, 0, err
	}
	order := userOrders[q.Order]
	if q.Backward {
		order += " DESC"
	}
	page := fmt.Sprintf(` ORDER BY %s, user_id LIMIT $%d OFFSET $%d`, order, len(args)+1, len(args)+2)
	users, err = store.Select(tx, scanUser, `SELECT `+userColumns+` FROM users WHERE `+where+page,
		append(args, int64(q.Limit), q.Skip)...)
	return users, total, err
}

// where is the condition of a query, with its arguments.
func (q UserQuery) where() (string, []any) {
	conditions := []string{"ushard >= 0"}
	var args []any
	add := func(condition string, arg any) {
		args = append(args, arg)
		conditions = append(conditions, fmt.Sprintf(condition, len(args)))
	}
	if q.Search != "" {
		escaped := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(q.Search))
		add(`LOWER(user_id) LIKE $%d ESCAPE '\'`, "%"+escaped+"%")
	}
	if q.Deactivated != nil && *q.Deactivated {
		add("deactivated_ts > $%d", int64(0))
	} else if q.Deactivated != nil {
		add("deactivated_ts = $%d", int64(0))
	}
	if q.Guests != nil && *q.Guests {
		add("kind = $%d", int64(Guest))
	} else if q.Guests != nil {
		add("kind <> $%d", int64(Guest))
	}
	if q.Admins != nil {
		add("admin = $%d", flag(*q.Admins))
	}
	if q.Locked != nil {
		add("locked = $%d", flag(*q.Locked))
	}
	return strings.Join(conditions, " AND "), args
}
