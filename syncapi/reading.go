package syncapi

import (
	"context"
	"fmt"

	"astrocyte/account"
	"astrocyte/ephemeral"
	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// question is what a client asks: what is new to me since a token?
type question struct {
	viewer    roomserver.Viewer
	filter    *filter
	since     Token // what came after it is new
	shown     Token // the newest token that the client is known to have
	follows   Token // the token that the client has by the time that it gets the answer
	initial   bool  // the client knows nothing
	fullState bool
	after     stateForm
	presence  ephemeral.State // as what the client wants to be seen
}

func (q *question) device() device { return device{q.viewer.User, q.viewer.Device} }

// reading is the making of one answer, in one transaction.
type reading struct {
	question
	a       *API
	tx      *store.Tx
	upto    int64 // the position of the transaction
	ignored roomserver.Ignored
	invites *account.InviteRules // which invites the user wants to hear of, once that is needed
	joined  []joinedRoom
	changed []roomserver.UserRoom // memberships that began since the token; all, where initial
	sentTo  *deviceSent           // nil: members are not loaded lazily
	told    told
	stuck   map[roomserver.RoomNID]bool // of a client that begins: the rooms with sticky events; nil: not read yet
	all     []account.AccountDatum      // all account data, once it is needed
	out     *news
}

// read answers a question.
func (a *API) read(ctx context.Context, q question) (*news, error) {
	r := &reading{question: q, a: a}
	err := a.view(ctx, func(tx *store.Tx) error {
		*r = reading{question: q, a: a, tx: tx}
		return r.run()
	})
	if err != nil {
		return nil, fmt.Errorf("read what is new to %s: %w", q.viewer.User, err)
	}
	if r.sentTo != nil {
		a.sent.tell(q.device(), r.sentTo, q.follows, r.out.next, r.told)
	}
	a.forgetMessages(ctx, r)
	return r.out, nil
}

// view runs fn in a transaction of now, which does not begin before something is read that is not in memory.
// What is kept there is known to be of the transaction's moment by the tails, which are filled up to it.
func (a *API) view(ctx context.Context, fn func(tx *store.Tx) error) error {
	if now, known := a.db.Newest(); known {
		return a.db.ViewAt(ctx, now, fn)
	}
	return a.db.View(ctx, fn)
}

func (r *reading) run() error {
	var err error
	if r.upto, err = r.tx.Pos(); err != nil {
		return err
	}
	if r.since.Pos > r.upto {
		// The database was restored from a backup: what the client knows is not what is here.
		r.since, r.shown, r.initial = Token{}, Token{}, true
	}
	r.out = &news{next: Token{Pos: r.upto}, form: form{r.filter, r.after}}
	if r.filter.lazy() {
		r.sentTo, r.told = r.a.sent.at(r.device(), r.shown, r.initial), make(told)
	}
	for _, part := range []func() error{r.findRooms, r.findIgnored, r.readAccountData, r.readRooms, r.readPresence, r.readDevice, r.readLists} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// from is the position after which things are new.
func (r *reading) from() int64 {
	if r.initial {
		return 0
	}
	return r.since.Pos
}

// findIgnored finds whose messages the user does not want to see. The list is kept in memory until
// something of the user's changes.
//
// Spec: CS "Ignoring Users".
func (r *reading) findIgnored() error {
	user := r.viewer.User
	ignored, at := r.a.waker.ignoredOf(user)
	if at == 0 || at > r.upto || r.a.waker.users.changed(user, at) {
		list, err := account.ReadIgnored(r.tx, user)
		if err != nil {
			return err
		}
		ignored = list
		r.a.waker.setIgnored(user, ignored, r.upto)
	}
	if r.ignored = ignored; len(ignored) > 0 {
		r.viewer.Ignores = &r.ignored
	}
	return nil
}

// readAccountData reads the account data that is new, and keeps what belongs to rooms for them.
func (r *reading) readAccountData() error {
	if !r.initial && !r.a.waker.users.changed(r.viewer.User, r.since.Pos) {
		return nil
	}
	data, err := account.AccountDataSince(r.tx, r.viewer.User, r.from(), r.upto)
	if err != nil {
		return fmt.Errorf("read account data: %w", err)
	}
	for _, d := range data {
		if d.Room == "" && r.filter.wantsDatum(r.viewer.User, d) {
			r.out.account = append(r.out.account, d)
		}
	}
	r.all = data
	return r.readPushRules()
}

// readPushRules adds the push rules, which are account data to clients.
//
// Spec: CS m.push_rules.
func (r *reading) readPushRules() error {
	content, changed, err := r.a.push.AccountData(r.tx, r.viewer.User, r.from(), r.upto)
	if err != nil || !changed {
		return err
	}
	if d := (account.AccountDatum{Type: "m.push_rules", Content: content}); r.filter.wantsDatum(r.viewer.User, d) {
		r.out.account = append(r.out.account, d)
	}
	return nil
}

// roomAccountData gives the account data of a room: what is new, or all of it.
func (r *reading) roomAccountData(room matrix.RoomID, whole bool) ([]account.AccountDatum, error) {
	data := r.all
	if whole && !r.initial {
		var err error
		if data, err = account.AccountDataSince(r.tx, r.viewer.User, 0, r.upto); err != nil {
			return nil, fmt.Errorf("read all account data: %w", err)
		}
	}
	var out []account.AccountDatum
	for _, d := range data {
		if d.Room == room && r.filter.wantsDatum(r.viewer.User, d) {
			out = append(out, d)
		}
	}
	return out, nil
}
