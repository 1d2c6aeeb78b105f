// Package bus wakes sleepers: whoever changed something says so, whoever waits for it looks again.
//
// Invariants:
//   - a Change is a hint. Losing, repeating or reordering it costs latency, never data: every sleeper
//     also looks by itself every few seconds;
//   - nothing blocks a publisher. A subscription whose buffer is full gets one Change of kind Lost in
//     its place, upon which the reader looks at everything it waits for;
//   - a node hears its own changes once, at once, and without the network.
package bus

import "context"

// Kind says what changed, and so what Key means.
type Kind string

// The kinds of changes.
const (
	// Room: a room has news: events, receipts. Key is the decimal room nid, Pos the newest position.
	Room Kind = "room"
	// User: something of a user changed: account data, to-device messages, membership, device lists.
	// Key is the user id, Pos the newest position.
	User Kind = "user"
	// Typing: who is typing in a room. Key is the room id, Data the whole new list.
	Typing Kind = "typing"
	// Presence: Key is the user id, Data the new presence.
	Presence Kind = "presence"
	// Job: a job became due. Key is its kind.
	Job Kind = "job"
	// Destination: something is to be sent to other servers. Key is empty.
	Destination Kind = "destination"
	// Outside: a follower of the stream has news that are in no timeline. Pos is the newest position.
	Outside Kind = "outside"
	// Lost: changes were dropped or missed. Whoever gets it looks by itself. Every subscription gets it.
	Lost Kind = "lost"
)

// Change is a hint that something changed. Data is only for what is stored nowhere: typing, presence.
type Change struct {
	Kind Kind
	Key  string
	Pos  int64
	Data []byte
}

// Bus carries changes to the sleepers of this node, and of the others where there are others.
type Bus interface {
	// Publish hands the changes on. It never waits for a subscriber or the network.
	Publish(ctx context.Context, changes ...Change)
	// Subscribe begins to collect changes of the kinds; without kinds, all of them.
	Subscribe(kinds ...Kind) *Subscription
	// Run carries changes between nodes until the context ends.
	Run(ctx context.Context) error
}
