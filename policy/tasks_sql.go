package policy

import "astrocyte/store"

const taskColumns = `task_id, kind, about, status, wish, progress, failure, created, changed`

func scanTask(r store.Row) (t Task, err error) {
	var failure []byte
	err = r.Scan(&t.ID, &t.Kind, &t.About, &t.Status, &t.wish, &t.progress, &failure, &t.Created, &t.Changed)
	t.Failure = string(failure)
	return t, err
}

func insertTask(tx *store.Tx, t *Task) error {
	_, err := tx.Exec(`INSERT INTO tasks (`+taskColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		t.ID, t.Kind, t.About, t.Status, t.wish, t.progress, []byte(t.Failure), t.Created, t.Changed)
	return err
}

func readTask(tx *store.Tx, id string) (Task, bool, error) {
	return store.One(tx, scanTask, `SELECT `+taskColumns+` FROM tasks WHERE task_id = $1`, id)
}

// tasksAbout lists tasks of a kind about a room or a user, the newest first.
func tasksAbout(tx *store.Tx, kind Kind, about string, limit int) ([]Task, error) {
	return store.Select(tx, scanTask, `SELECT `+taskColumns+` FROM tasks WHERE kind = $1 AND about = $2 ORDER BY created DESC, task_id LIMIT $3`,
		kind, about, int64(limit))
}

// newestTasks lists tasks by when they changed, the newest first, about anything where about is empty.
func newestTasks(tx *store.Tx, about string, limit int) ([]Task, error) {
	where, args := "", []any{int64(limit)}
	if about != "" {
		where, args = "WHERE about = $2 ", append(args, about)
	}
	return store.Select(tx, scanTask, `SELECT `+taskColumns+` FROM tasks `+where+`ORDER BY changed DESC, task_id LIMIT $1`, args...)
}

func writeTask(tx *store.Tx, t *Task) error {
	_, err := tx.Exec(`UPDATE tasks SET status = $2, progress = $3, failure = $4, changed = $5 WHERE task_id = $1`,
		t.ID, t.Status, t.progress, []byte(t.Failure), t.Changed)
	return err
}

// deleteOldTasks forgets what ended before a time.
func deleteOldTasks(tx *store.Tx, before int64) error {
	_, err := tx.Exec(`DELETE FROM tasks WHERE changed < $1 AND status IN ('complete', 'failed')`, before)
	return err
}
