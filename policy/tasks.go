package policy

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"astrocyte/matrix"
	"astrocyte/store"
)

// JobTask is the kind of the jobs that do what administrators asked for. The key is the id of a Task.
const JobTask = "task"

// Kind says what a task is for.
type Kind string

// The kinds of tasks.
const (
	DeleteRoom   Kind = "delete room"
	PurgeHistory Kind = "purge history"
	RedactUser   Kind = "redact user"
)

// The statuses of tasks, in the words that tools know.
const (
	Scheduled = "scheduled"
	Active    = "active"
	Complete  = "complete"
	Failed    = "failed"
)

// Task is something that an administrator asked for and that takes its time. It is done in steps, each of which is
// stored: a node that dies leaves the rest to another one.
type Task struct {
	ID      string
	Kind    Kind
	About   string // the id of a room or a user
	Status  string
	Failure string
	Created int64 // milliseconds
	Changed int64

	wish, progress []byte
}

// Ended says whether a task is over.
func (t *Task) Ended() bool { return t.Status == Complete || t.Status == Failed }

const (
	// taskMemory is how long a task can be asked about after its end.
	taskMemory = 7 * 24 * time.Hour
	// taskAttempts bounds how often a step that fails is tried again.
	taskAttempts = 20
	// tasksMost bounds the tasks that are told of one room or user.
	tasksMost = 100
)

// start keeps a task and asks for its job. There is one at a time of a kind about the same thing.
func (p *Policy) start(ctx context.Context, kind Kind, about string, wish any, also func(tx *store.Tx) error) (string, error) {
	raw, err := json.Marshal(wish)
	if err != nil {
		return "", fmt.Errorf("write down a task: %w", err)
	}
	now := p.now().UnixMilli()
	t := &Task{ID: rand.Text(), Kind: kind, About: about, Status: Scheduled, Created: now, Changed: now, wish: raw, progress: []byte("{}")}
	err = p.db.Update(ctx, func(tx *store.Tx) error {
		others, err := tasksAbout(tx, kind, about, tasksMost)
		if err != nil {
			return err
		}
		for _, o := range others {
			if !o.Ended() {
				return matrix.E(matrix.CodeUnknown, "this is being done already, as %s", o.ID)
			}
		}
		if err := deleteOldTasks(tx, now-taskMemory.Milliseconds()); err != nil {
			return err
		}
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		if err := insertTask(tx, t); err != nil {
			return err
		}
		return tx.Enqueue(store.Job{Kind: JobTask, Key: t.ID})
	})
	return t.ID, err
}

// Task finds a task; one that ended long ago is forgotten.
func (p *Policy) Task(ctx context.Context, kind Kind, id string) (t Task, err error) {
	err = p.db.View(ctx, func(tx *store.Tx) error {
		var found bool
		t, found, err = readTask(tx, id)
		if err == nil && (!found || t.Kind != kind) {
			err = matrix.NotFound("there is no task %s", id)
		}
		return err
	})
	return t, err
}

// Tasks lists what was asked for about a room or a user, the newest first.
func (p *Policy) Tasks(ctx context.Context, kind Kind, about string) (tasks []Task, err error) {
	err = p.db.View(ctx, func(tx *store.Tx) (err error) {
		tasks, err = tasksAbout(tx, kind, about, tasksMost)
		return err
	})
	return tasks, err
}

// listedMost bounds the tasks that are listed: the newest.
const listedMost = 1000

// AllTasks lists what was asked for, about a room or a user where one is named, the oldest first.
func (p *Policy) AllTasks(ctx context.Context, about string) (tasks []Task, err error) {
	err = p.db.View(ctx, func(tx *store.Tx) (err error) {
		tasks, err = newestTasks(tx, about, listedMost)
		return err
	})
	slices.Reverse(tasks)
	return tasks, err
}

// Result is what a task has done, as JSON; null: it goes on.
func (t *Task) Result() json.RawMessage {
	if !t.Ended() {
		return json.RawMessage("null")
	}
	return t.progress
}

// DoTask goes on with a task from where it stands: a handler of jobs. What cannot be done at all ends it; what
// fails for other reasons is tried again.
func (p *Policy) DoTask(ctx context.Context, j store.Job) error {
	var t Task
	var found bool
	err := p.db.View(ctx, func(tx *store.Tx) (err error) {
		t, found, err = readTask(tx, j.Key)
		return err
	})
	if err != nil || !found || t.Ended() {
		return err
	}
	t.Status = Active
	switch t.Kind {
	case DeleteRoom:
		err = p.deleteRoom(ctx, &t)
	case PurgeHistory:
		err = p.purgeHistory(ctx, &t)
	case RedactUser:
		err = p.redactUser(ctx, &t)
	default:
		err = matrix.E(matrix.CodeUnknown, "this version of the server does not know how to do it")
	}
	var refused *matrix.Error
	switch {
	case err == nil:
		t.Status = Complete
	case errors.As(err, &refused):
		t.Status, t.Failure = Failed, refused.Message
	case j.Attempts >= taskAttempts && ctx.Err() == nil:
		t.Status, t.Failure = Failed, "the server could not do it, and has given up"
	default:
		return err
	}
	return p.save(ctx, &t, nil)
}

// save stores how far a task is. progress is what is done; nil: as before.
func (p *Policy) save(ctx context.Context, t *Task, progress any) error {
	if progress != nil {
		raw, err := json.Marshal(progress)
		if err != nil {
			return fmt.Errorf("write down how far a task is: %w", err)
		}
		t.progress = raw
	}
	t.Changed = p.now().UnixMilli()
	return p.db.Update(ctx, func(tx *store.Tx) error { return writeTask(tx, t) })
}

// read fills the wish and the progress of a task.
func (t *Task) read(wish, progress any) error {
	if err := json.Unmarshal(t.wish, wish); err != nil {
		return fmt.Errorf("read the wish of task %s: %w", t.ID, err)
	}
	if err := json.Unmarshal(t.progress, progress); err != nil {
		return fmt.Errorf("read how far task %s is: %w", t.ID, err)
	}
	return nil
}
