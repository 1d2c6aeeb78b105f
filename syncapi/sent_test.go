package syncapi

import (
	"testing"

	"astrocyte/roomserver"
)

func tellsOne(room roomserver.RoomNID, tuple, nid int64, fresh bool) told {
	return told{room: {fresh: fresh, members: members{tuple: nid}}}
}

func TestMembersCountOnceTheTokenIsShown(t *testing.T) {
	t.Parallel()
	s, v := newSent(), device{user("alice"), "D"}
	t1, t2 := Token{Pos: 1}, Token{Pos: 2}
	d := s.at(v, Token{}, true)
	s.tell(v, d, Token{}, t1, tellsOne(1, 10, 100, true))
	if d.has(1, 10, 100) {
		t.Error("an answer counts that may be lost")
	}
	if d = s.at(v, t1, false); !d.has(1, 10, 100) || d.has(1, 10, 101) || d.has(2, 10, 100) {
		t.Error("an answer that was confirmed does not count as it should")
	}
	s.tell(v, d, t1, t2, tellsOne(1, 11, 110, false))
	if d = s.at(v, t1, false); d.has(1, 11, 110) {
		t.Error("the answer was asked for again, and counts")
	}
	if d = s.at(v, t2, false); !d.has(1, 11, 110) || !d.has(1, 10, 100) {
		t.Error("both answers should count")
	}
	if d = s.at(v, t1, false); d.has(1, 11, 110) || d.has(1, 10, 100) {
		t.Error("the device went back, and should be told everything again")
	}
}

func TestMembersOfAnswersThatWereLostDoNotCount(t *testing.T) {
	t.Parallel()
	s, v := newSent(), device{user("alice"), "D"}
	t1, t2, t3 := Token{Pos: 1}, Token{Pos: 2}, Token{Pos: 3}
	d := s.at(v, t1, true)
	s.tell(v, d, t1, t2, tellsOne(1, 10, 100, false)) // lost
	s.tell(v, d, t1, t3, tellsOne(1, 11, 110, false))
	if d = s.at(v, t3, false); d.has(1, 10, 100) || !d.has(1, 11, 110) {
		t.Error("what counts is not what led to the token")
	}
}

func TestOneTokenConfirmsAChain(t *testing.T) {
	t.Parallel()
	s, v := newSent(), device{user("alice"), "D"}
	d := s.at(v, Token{Pos: 1}, true)
	for i := range int64(3) {
		s.tell(v, d, Token{Pos: 1 + i}, Token{Pos: 2 + i}, tellsOne(1, 10, 100+i, false))
	}
	if d = s.at(v, Token{Pos: 4}, false); !d.has(1, 10, 102) {
		t.Error("the newest of the chain does not count")
	}
}

func TestRoomsThatAreFreshForgetTheirMembers(t *testing.T) {
	t.Parallel()
	s, v := newSent(), device{user("alice"), "D"}
	t1, t2 := Token{Pos: 1}, Token{Pos: 2}
	d := s.at(v, Token{}, true)
	s.tell(v, d, Token{}, t1, tellsOne(1, 10, 100, true))
	d = s.at(v, t1, false)
	s.tell(v, d, t1, t2, tellsOne(1, 11, 110, true))
	if d = s.at(v, t2, false); d.has(1, 10, 100) || !d.has(1, 11, 110) {
		t.Error("the client came into the room anew, and its old members count")
	}
}

func TestPendingMembersAreBounded(t *testing.T) {
	t.Parallel()
	s, v := newSent(), device{user("alice"), "D"}
	d := s.at(v, Token{}, true)
	for i := range int64(1000) {
		s.tell(v, d, Token{Pos: i}, Token{Pos: i + 1}, tellsOne(1, i, i, false))
	}
	if len(d.pending) > sentPending {
		t.Errorf("%d answers are pending", len(d.pending))
	}
}
