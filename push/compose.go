package push

import (
	"encoding/json"
	"fmt"
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/store"
)

// notification is what a gateway is told.
//
// Spec: POST /_matrix/push/v1/notify
type notification struct {
	EventID    matrix.EventID  `json:"event_id,omitempty"`
	RoomID     matrix.RoomID   `json:"room_id,omitempty"`
	Type       string          `json:"type,omitempty"`
	Sender     matrix.UserID   `json:"sender,omitempty"`
	SenderName string          `json:"sender_display_name,omitempty"`
	RoomName   string          `json:"room_name,omitempty"`
	RoomAlias  string          `json:"room_alias,omitempty"`
	IsTarget   bool            `json:"user_is_target,omitempty"`
	Prio       string          `json:"prio"`
	Content    json.RawMessage `json:"content,omitempty"`
	Counts     counts          `json:"counts"`
	Devices    []device        `json:"devices"`
}

type counts struct {
	Unread int64 `json:"unread,omitempty"`
}

type device struct {
	AppID     string                     `json:"app_id"`
	Pushkey   string                     `json:"pushkey"`
	PushkeyTS int64                      `json:"pushkey_ts"` // seconds
	Data      map[string]json.RawMessage `json:"data"`
	Tweaks    map[string]json.RawMessage `json:"tweaks,omitempty"`
}

// composing is the writing of notifications for one pusher, in one transaction.
type composing struct {
	p       *Push
	tx      *store.Tx
	pusher  Pusher
	created int64

	url    string
	brief  bool // the gateway is told ids only
	device device
	unread int64
}

// begin reads the pusher, and counts what its user has not read.
func (w *composing) begin() error {
	w.device = device{AppID: w.pusher.AppID, Pushkey: w.pusher.Pushkey, PushkeyTS: w.created / 1000}
	if err := json.Unmarshal(w.pusher.Data, &w.device.Data); err != nil {
		return fmt.Errorf("read where a pusher sends: %w", err)
	}
	var format string
	if raw, ok := w.device.Data["format"]; ok && json.Unmarshal(raw, &format) == nil {
		w.brief = format == "event_id_only"
	}
	if err := json.Unmarshal(w.device.Data["url"], &w.url); err != nil {
		return fmt.Errorf("read where a pusher sends: %w", err)
	}
	delete(w.device.Data, "url")
	var err error
	w.unread, err = w.p.unreadOf(w.tx, w.pusher.User)
	return err
}

// unreadOf counts what a user has not read of all rooms that they are in.
func (p *Push) unreadOf(tx *store.Tx, user matrix.UserID) (int64, error) {
	rooms, err := p.rooms.UserRooms(tx, user)
	if err != nil {
		return 0, fmt.Errorf("read memberships: %w", err)
	}
	var joined []roomserver.RoomNID
	for _, r := range rooms {
		if r.Membership == matrix.Join {
			joined = append(joined, r.Room)
		}
	}
	byRoom, err := p.rooms.Heads(tx, joined)
	if err != nil {
		return 0, fmt.Errorf("read rooms: %w", err)
	}
	heads := make([]roomserver.Head, 0, len(byRoom))
	for _, h := range byRoom {
		heads = append(heads, h)
	}
	unread, err := p.Counts(tx, user, heads, nil)
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, u := range unread {
		total += u.Total().Notify
	}
	return total, nil
}

// count writes a notification that tells how much is unread, and nothing else.
func (w *composing) count() ([]byte, error) {
	return w.write(&notification{Prio: "low", Devices: []device{w.device}})
}

func (w *composing) write(n *notification) ([]byte, error) {
	n.Counts.Unread = w.unread
	return json.Marshal(map[string]*notification{"notification": n})
}

// event writes a notification about an event; nil where it is not worth sending any more: the event was
// redacted or read meanwhile, or is too old.
func (w *composing) event(it waiting) ([]byte, error) {
	if w.p.now().Sub(time.UnixMilli(it.queued)) > tooOld {
		return nil, nil
	}
	if it.event == 0 {
		return w.outside(it)
	}
	events, err := w.p.rooms.Events(w.tx, []int64{it.event})
	if err != nil {
		return nil, err
	}
	e := events[it.event]
	if e == nil || e.RedactedBy != 0 {
		return nil, nil
	}
	if read, err := w.hasRead(it, e); err != nil || read {
		return nil, err
	}
	tweaks := tweaksOf(it.actions)
	n := &notification{EventID: e.ID(), RoomID: e.RoomID(), Prio: "high", Devices: []device{w.device}}
	if len(tweaks) == 0 && e.Type() != "m.room.encrypted" { // what is encrypted may be more urgent than it looks
		n.Prio = "low"
	}
	if w.brief {
		return w.write(n)
	}
	n.Devices[0].Tweaks = tweaks
	n.Type, n.Sender, n.Content = e.Type(), e.Sender(), e.Content()
	key, isState := e.StateKey()
	n.IsTarget = isState && n.Type == "m.room.member" && key == string(w.pusher.User)
	return w.named(n, it.room)
}

// named adds the names of the room and of the sender.
func (w *composing) named(n *notification, room roomserver.RoomNID) ([]byte, error) {
	for _, name := range []struct {
		tp, key, field string
		into           *string
	}{
		{"m.room.member", string(n.Sender), "displayname", &n.SenderName},
		{"m.room.name", "", "name", &n.RoomName},
		{"m.room.canonical_alias", "", "alias", &n.RoomAlias},
	} {
		e, err := w.p.rooms.StateNow(w.tx, room, name.tp, name.key)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name.tp, err)
		}
		if e == nil {
			continue
		}
		var content map[string]json.RawMessage
		if json.Unmarshal(e.Content(), &content) == nil && content[name.field] != nil {
			_ = json.Unmarshal(content[name.field], name.into) // what is no text names nothing
		}
	}
	return w.write(n)
}

// hasRead says whether the user has read as far as an event.
func (w *composing) hasRead(it waiting, e *roomserver.Event) (bool, error) {
	read, err := w.p.readUpTo(w.tx, w.pusher.User, []roomserver.RoomNID{it.room})
	if err != nil {
		return false, fmt.Errorf("read up to where %s has read: %w", w.pusher.User, err)
	}
	thread, err := w.p.rooms.ThreadOf(w.tx, e)
	if err != nil {
		return false, err
	}
	return max(read[it.room][""], read[it.room][thread]) >= it.seq, nil
}

// tweaksOf is how the actions of a rule want it presented.
func tweaksOf(actions []json.RawMessage) map[string]json.RawMessage {
	var out map[string]json.RawMessage
	for _, a := range actions {
		_, t := readAction(a)
		if t.Set == "" || t.Set == "highlight" && string(t.Value) == "false" {
			continue
		}
		if out == nil {
			out = make(map[string]json.RawMessage)
		}
		if out[t.Set] = t.Value; t.Value == nil {
			out[t.Set] = json.RawMessage("true")
		}
	}
	return out
}
