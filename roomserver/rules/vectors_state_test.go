package rules_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// stateRecord is one resolution of stateres.jsonl.gz. Its numbers are indexes into Events.
type stateRecord struct {
	ID        string
	V         matrix.RoomVersion
	Class     string
	Events    []stateEvent
	StateSets [][]int `json:"state_sets"`
	Resolved  []int
}

type stateEvent struct {
	ID    matrix.EventID
	Event json.RawMessage
}

func checkState(_ *vectorFile, record json.RawMessage) error {
	var r stateRecord
	if err := json.Unmarshal(record, &r); err != nil {
		return err
	}
	room, err := readRoom(r.V, r.Events)
	if err != nil {
		return err
	}
	var sets [][]rules.Entry
	for _, set := range r.StateSets {
		sets = append(sets, room.state(set))
	}
	want := room.state(r.Resolved)
	// The order of the sets says nothing.
	for range 2 {
		got, err := rules.Resolve(room.version, sets, room.source(), 1<<30)
		if err != nil {
			return err
		}
		if !slices.Equal(got, want) {
			return room.difference(got, want)
		}
		slices.Reverse(sets)
	}
	return nil
}

// room is events by number, in memory. Number 0 is nobody's; an event's is scrambled, so that nothing
// can be ordered by it.
type room struct {
	version *rules.Version
	events  map[int64]*rules.Event
	nids    []int64 // by the index of the event
	tuples  map[rules.StateKey]int64
	dag     rules.AuthDAG
}

func readRoom(version matrix.RoomVersion, list []stateEvent) (*room, error) {
	v, ok := rules.ByID(version)
	if !ok {
		return nil, fmt.Errorf("room version %s is not known", version)
	}
	r := &room{version: v, events: map[int64]*rules.Event{}, tuples: map[rules.StateKey]int64{}}
	byID := map[matrix.EventID]int64{}
	for i, raw := range list {
		e, err := readUnsigned(v, raw.ID, raw.Event)
		if err != nil {
			return nil, err
		}
		nid := int64((i*7919)%99991+1)<<8 | 77
		byID[e.ID()] = nid
		if err := r.add(nid, e, byID); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *room) add(nid int64, e *rules.Event, byID map[matrix.EventID]int64) error {
	r.events[nid] = e
	r.nids = append(r.nids, nid)
	r.tuple(e)
	var auth []int64
	for _, a := range e.Auth() {
		if byID[a] == 0 {
			return fmt.Errorf("auth event %s comes after the event", a)
		}
		auth = append(auth, byID[a])
	}
	return r.dag.Add(nid, auth)
}

func (r *room) tuple(e *rules.Event) int64 {
	key, _ := e.StateKey()
	k := rules.StateKey{Type: e.Type(), Key: key}
	if r.tuples[k] == 0 {
		r.tuples[k] = int64(len(r.tuples) + 1)
	}
	return r.tuples[k]
}

func (r *room) state(indexes []int) []rules.Entry {
	set := make([]rules.Entry, len(indexes))
	for i, index := range indexes {
		nid := r.nids[index]
		set[i] = rules.Entry{Tuple: r.tuple(r.events[nid]), Event: nid}
	}
	slices.SortFunc(set, func(a, b rules.Entry) int { return cmp.Compare(a.Tuple, b.Tuple) })
	return set
}

func (r *room) source() *rules.Source {
	return &rules.Source{
		Auth: &r.dag,
		Events: func(nids []int64) ([]*rules.Event, error) {
			found := make([]*rules.Event, len(nids))
			for i, nid := range nids {
				if found[i] = r.events[nid]; found[i] == nil {
					return nil, fmt.Errorf("there is no event %d", nid)
				}
			}
			return found, nil
		},
		Tuples: func(keys []rules.StateKey) ([]int64, error) {
			found := make([]int64, len(keys))
			for i, k := range keys {
				found[i] = r.tuples[k]
			}
			return found, nil
		},
	}
}

// difference tells the first tuple in which two states differ.
func (r *room) difference(got, want []rules.Entry) error {
	name := func(set []rules.Entry, tuple int64) string {
		for _, e := range set {
			if e.Tuple == tuple {
				return string(r.events[e.Event].ID())
			}
		}
		return "nothing"
	}
	for k, tuple := range r.tuples {
		if g, w := name(got, tuple), name(want, tuple); g != w {
			return fmt.Errorf("%s %q is %s, and should be %s", k.Type, k.Key, g, w)
		}
	}
	return fmt.Errorf("the result is not a sorted state")
}
