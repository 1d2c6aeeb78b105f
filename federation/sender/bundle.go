package sender

import (
	"encoding/json"

	"astrocyte/matrix"
)

// The kinds of EDUs that pass.
const (
	kindTyping   = "m.typing"
	kindReceipt  = "m.receipt"
	kindPresence = "m.presence"
)

// bundle makes EDUs of notes: one for each user who types, one with all receipts, one with all presence. Of
// several receipts of a user in a room, by threads, each EDU has one: the form has no place for more.
//
// Spec: SS "Typing Notifications", "Receipts", "Presence".
func bundle(notes []note) []edu {
	var out []edu
	var receipts []*receiptBundle
	var presence edu
	var people []json.RawMessage
	for _, n := range notes {
		switch n.kind {
		case kindTyping:
			out = append(out, edu{json: eduOf(kindTyping, n.content), notes: []note{n}})
		case kindReceipt:
			i := 0
			for i < len(receipts) && !receipts[i].add(n) {
				i++
			}
			if i == len(receipts) {
				receipts = append(receipts, newReceiptBundle(n))
			}
		case kindPresence:
			people = append(people, n.content)
			presence.notes = append(presence.notes, n)
		}
	}
	for _, b := range receipts {
		out = append(out, b.edu())
	}
	if len(people) > 0 {
		presence.json = eduOf(kindPresence, written(map[string]any{"push": people}))
		out = append(out, presence)
	}
	return out
}

func eduOf(kind string, content json.RawMessage) json.RawMessage {
	return written(map[string]any{"edu_type": kind, "content": content})
}

// written is JSON of what always is JSON.
func written(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return text
}

// receiptBundle is an m.receipt EDU in the making: by room, kind and user.
type receiptBundle struct {
	rooms map[matrix.RoomID]map[string]map[matrix.UserID]json.RawMessage
	notes []note
}

func newReceiptBundle(n note) *receiptBundle {
	b := &receiptBundle{rooms: make(map[matrix.RoomID]map[string]map[matrix.UserID]json.RawMessage)}
	b.add(n)
	return b
}

// add puts a receipt in, and is false where its place is taken.
func (b *receiptBundle) add(n note) bool {
	const read = "m.read" // others are private
	users := b.rooms[n.room][read]
	if users == nil {
		users = make(map[matrix.UserID]json.RawMessage)
		b.rooms[n.room] = map[string]map[matrix.UserID]json.RawMessage{read: users}
	}
	if _, taken := users[n.user]; taken {
		return false
	}
	users[n.user] = n.content
	b.notes = append(b.notes, n)
	return true
}

func (b *receiptBundle) edu() edu {
	return edu{json: eduOf(kindReceipt, written(b.rooms)), notes: b.notes}
}
