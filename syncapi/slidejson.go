package syncapi

import (
	"strconv"

	"astrocyte/matrix"
	"astrocyte/push"
	"astrocyte/roomserver"
)

// AppendJSON writes the answer of sliding sync.
func (n *slid) AppendJSON(dst []byte) []byte {
	w := &writer{b: dst}
	w.open('{')
	w.text("pos", n.pos.String())
	if n.txn != "" {
		w.text("txn_id", n.txn)
	}
	w.object("lists", func() {
		for _, l := range n.lists {
			w.object(l.name, func() { w.number("count", l.count) })
		}
	})
	w.object("rooms", func() {
		for _, room := range n.rooms {
			w.object(string(room.id), func() { w.slid(n.form, room) })
		}
	})
	w.object("extensions", func() { w.slidExtensions(&n.ext) })
	w.close('}')
	return w.b
}

func (w *writer) flag(name string, value bool) {
	w.key(name)
	w.b = strconv.AppendBool(w.b, value)
}

// slid writes what is told of a room.
func (w *writer) slid(form slidingForm, n *slidRoom) {
	w.number("bump_stamp", n.bump)
	if form != slidingUnstable {
		w.text("membership", string(n.membership))
		if len(n.lists) > 0 {
			texts(w, "lists", n.lists)
		}
	}
	if n.initial {
		w.flag("initial", true)
	}
	if n.stripped != nil {
		name := "stripped_state"
		if form == slidingUnstable {
			name = "invite_state"
		}
		w.key(name)
		w.b = append(w.b, n.stripped...)
		return
	}
	w.slidNames(n)
	w.slidEvents(form, n)
	if n.unread != nil {
		w.number("notification_count", n.unread.Notify)
		w.number("highlight_count", n.unread.Highlight)
	}
}

// slidNames writes what a room is called by.
func (w *writer) slidNames(n *slidRoom) {
	for _, part := range []struct {
		name string
		text *string
	}{{"name", n.name}, {"avatar", n.avatar}} {
		switch {
		case part.text == nil || *part.text == "" && n.initial:
		case *part.text == "":
			w.key(part.name)
			w.b = append(w.b, "null"...)
		default:
			w.text(part.name, *part.text)
		}
	}
	if n.heroes != nil {
		w.key("heroes")
		w.open('[')
		for _, h := range n.heroes {
			w.comma()
			w.open('{')
			w.text("user_id", string(h.user))
			if h.name != "" {
				w.text("displayname", h.name)
			}
			if h.avatar != "" {
				w.text("avatar_url", h.avatar)
			}
			w.close('}')
		}
		w.close(']')
	}
	if n.dm != nil {
		w.flag("is_dm", *n.dm)
	}
	if n.joined != nil {
		w.number("joined_count", *n.joined)
		w.number("invited_count", *n.invited)
	}
}

// slidEvents writes the state and the timeline of a room.
func (w *writer) slidEvents(form slidingForm, n *slidRoom) {
	if len(n.state) > 0 || len(n.gone) > 0 && form != slidingUnstable {
		w.key("required_state")
		w.open('[')
		w.list(n.state)
		if form != slidingUnstable {
			for _, g := range n.gone {
				w.comma()
				w.open('{')
				w.text("type", g.tp)
				w.text("state_key", g.key)
				w.close('}')
			}
		}
		w.close(']')
	}
	t := n.timeline
	if t == nil {
		return
	}
	w.key("timeline")
	w.open('[')
	w.list(t.events)
	w.close(']')
	w.text("prev_batch", t.prev.AsOf(t.upto))
	if t.limited {
		w.flag("limited", true)
	}
	w.number("num_live", int64(n.live))
	if n.expanded {
		name := "expanded_timeline"
		if form == slidingUnstable {
			name = "unstable_expanded_timeline"
		}
		w.flag(name, true)
	}
}

func (w *writer) list(events []*roomserver.ClientEvent) {
	for _, e := range events {
		w.comma()
		w.b = e.AppendJSON(w.b, roomserver.WithoutRoomID)
	}
}

// slidExtensions writes what is told besides rooms.
func (w *writer) slidExtensions(x *slidExtensions) {
	if e := &x.ask.toDevice; e.enabled {
		w.object(e.key, func() {
			w.text("next_batch", hadPrefix+strconv.FormatInt(x.devices.Told, 10))
			w.key("events")
			w.open('[')
			for _, m := range x.devices.Messages {
				w.comma()
				w.b = append(w.b, m...)
			}
			w.close(']')
		})
	}
	if e := &x.ask.e2ee; e.enabled {
		d := x.devices
		d.Messages = nil
		w.object(e.key, func() { w.devices(&d, &x.lists) })
	}
	if len(x.account) > 0 || len(x.data) > 0 {
		w.object(x.ask.account.key, func() { w.slidAccount(x) })
	}
	if len(x.threads) > 0 {
		w.object(x.ask.threads.key, func() { w.slidThreads(x) })
	}
	if len(x.sticky) > 0 {
		w.object(x.ask.sticky.key, func() { w.slidSticky(x) })
	}
	w.passing(x.ask.receipts.key, "m.receipt", x.receipts)
	w.passing(x.ask.typing.key, "m.typing", x.typing)
}

// slidThreads writes subscriptions to threads, by room.
func (w *writer) slidThreads(x *slidExtensions) {
	for _, part := range []struct {
		name       string
		subscribed bool
	}{{"subscribed", true}, {"unsubscribed", false}} {
		byRoom := make(map[matrix.RoomID][]push.Subscription)
		for _, s := range x.threads {
			if s.Subscribed == part.subscribed {
				byRoom[s.Room] = append(byRoom[s.Room], s)
			}
		}
		if len(byRoom) == 0 {
			continue
		}
		w.object(part.name, func() {
			for room, list := range byRoom {
				w.object(string(room), func() {
					for _, s := range list {
						w.object(string(s.Thread), func() {
							if s.Subscribed {
								w.flag("automatic", s.Automatic)
							}
							w.number("bump_stamp", s.Pos)
						})
					}
				})
			}
		})
	}
	if x.older != "" {
		w.text("prev_batch", x.older)
	}
}

func (w *writer) slidAccount(x *slidExtensions) {
	w.key("global")
	w.open('[')
	w.pieces(x.account)
	w.close(']')
	w.object("rooms", func() {
		for _, d := range x.data {
			w.key(string(d.room))
			w.open('[')
			w.pieces(d.data)
			w.close(']')
		}
	})
}

// passing writes the ephemeral events of a kind, by room.
func (w *writer) passing(name, tp string, list []passing) {
	if len(list) == 0 {
		return
	}
	w.object(name, func() {
		w.object("rooms", func() {
			for _, p := range list {
				w.object(string(p.room), func() {
					w.text("type", tp)
					w.key("content")
					w.b = append(w.b, p.content...)
				})
			}
		})
	})
}
