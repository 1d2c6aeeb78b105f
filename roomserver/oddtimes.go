package roomserver

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// The times of a timeline rise, more or less: an event that comes says that it is of now, and history goes down from what
// is behind it. What does neither is odd, and has a row of its own. An index by time of all events would cost every
// message a twentieth of its processor time, for a question that is rarely asked.
//
// Of events that are not odd, none is older by more than timeSlack than one that stands before it.
const (
	// nearTime is how far from now an event's time may be, and how far above the times behind it that of history.
	nearTime  = time.Minute
	timeSlack = 5 * time.Minute
)

// insertOddTimes writes which events of the batch have odd times.
func (b *batch) insertOddTimes() error {
	now := b.r.now().UnixMilli()
	var rows [][]any
	for _, s := range slices.Concat(b.staged, b.past) {
		if s.odd || s.pos != 0 && max(s.OriginServerTS()-now, now-s.OriginServerTS()) > nearTime.Milliseconds() {
			rows = append(rows, []any{s.Room.Shard(), int64(s.Room), s.seq, s.OriginServerTS()})
		}
	}
	return insertOddTimes(b.tx, rows)
}

// findOdd finds which events of history have odd times, of those that are put below a place, oldest first: seen from there
// they go down.
func (c *reception) findOdd(room RoomNID, below int64, past []*staged) error {
	least := int64(math.MaxInt64)
	behind, err := evenAfter(c.b.tx, room, below-1, 1)
	if err != nil {
		return fmt.Errorf("find what is behind history: %w", err)
	}
	if len(behind) > 0 {
		e, err := c.b.event(behind[0].NID)
		if err != nil {
			return err
		}
		least = e.OriginServerTS()
	}
	times := make([]int64, len(past))
	for i, s := range past {
		times[i] = s.OriginServerTS()
	}
	for i, odd := range oddAmong(times, least) {
		past[i].odd = odd
	}
	return nil
}

// oddAmong says which of some times, oldest first, are odd below one that stands behind them.
func oddAmong(times []int64, least int64) []bool {
	odd := make([]bool, len(times))
	for i, ts := range slices.Backward(times) {
		if odd[i] = ts-nearTime.Milliseconds() > least || tooOld(ts, times[:i]); !odd[i] {
			least = min(least, ts)
		}
	}
	return odd
}

// tooOld says whether a time is older than most of the few that stand before it.
func tooOld(ts int64, before []int64) bool {
	younger := 0
	for _, t := range before[max(0, len(before)-3):] {
		if t > ts+nearTime.Milliseconds() {
			younger++
		}
	}
	return younger >= 2
}
