package policy

import (
	"context"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Subject is what a report is about.
type Subject int

// The subjects of reports.
const (
	OfEvents Subject = iota
	OfRooms
	OfUsers
)

// ReportQuery asks for a part of the reports of a subject.
type ReportQuery struct {
	Of                   Subject
	Reporter, Room, User string // parts of the ids; empty: any
	Oldest               bool   // the oldest first
	Skip                 int64
	Limit                int
}

// Reports lists reports, the newest first unless the query says otherwise, and counts all that fit.
func (p *Policy) Reports(ctx context.Context, q ReportQuery) (list []Report, total int64, err error) {
	err = p.db.View(ctx, func(tx *store.Tx) (err error) {
		list, total, err = readReports(tx, q)
		return err
	})
	return list, total, err
}

// FindReport reads one report of a subject.
func (p *Policy) FindReport(ctx context.Context, of Subject, id int64) (r Report, err error) {
	err = p.db.View(ctx, func(tx *store.Tx) error {
		var found bool
		r, found, err = readReport(tx, of, id)
		if err == nil && !found {
			err = noReport(id)
		}
		return err
	})
	return r, err
}

// Forget deletes a report that has been dealt with.
func (p *Policy) Forget(ctx context.Context, of Subject, id int64) error {
	return p.db.Update(ctx, func(tx *store.Tx) error {
		found, err := deleteReport(tx, of, id)
		if err == nil && !found {
			err = noReport(id)
		}
		return err
	})
}

func noReport(id int64) error { return matrix.NotFound("there is no such report %d", id) }
