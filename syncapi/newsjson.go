package syncapi

import (
	"strconv"

	"astrocyte/account"
	"astrocyte/e2ee"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/push"
	"astrocyte/roomserver"
)

// writer writes JSON. It puts commas between what follows each other.
type writer struct {
	b     []byte
	after bool // something stands before on this level
	form  form
	each  []byte // an event, before its fields are chosen
}

func (w *writer) comma() {
	if w.after {
		w.b = append(w.b, ',')
	}
	w.after = true
}

// key begins a member. Its name is one of ours, or an identifier.
func (w *writer) key(name string) {
	w.comma()
	w.b = append(canonicaljson.AppendText(w.b, name), ':')
}

func (w *writer) open(c byte)  { w.b, w.after = append(w.b, c), false }
func (w *writer) close(c byte) { w.b, w.after = append(w.b, c), true }

func (w *writer) object(name string, fill func()) {
	w.key(name)
	w.open('{')
	fill()
	w.close('}')
}

func (w *writer) number(name string, n int64) {
	w.key(name)
	w.b = strconv.AppendInt(w.b, n, 10)
}

func (w *writer) text(name, value string) {
	w.key(name)
	w.b = canonicaljson.AppendText(w.b, value)
}

// texts writes a list of strings.
func texts[T ~string](w *writer, name string, list []T) {
	w.key(name)
	w.open('[')
	for _, s := range list {
		w.comma()
		w.b = canonicaljson.AppendText(w.b, string(s))
	}
	w.close(']')
}

// AppendJSON writes the answer of /sync.
func (n *news) AppendJSON(dst []byte) []byte {
	w := &writer{b: dst, form: n.form}
	w.open('{')
	w.text("next_batch", n.next.String())
	if len(n.account) > 0 {
		w.object("account_data", func() { w.data(n.account) })
	}
	if len(n.presence) > 0 {
		w.object("presence", func() { w.presence(n.presence) })
	}
	if len(n.join)+len(n.leave)+len(n.invite)+len(n.knock) > 0 {
		w.object("rooms", func() { w.rooms(n) })
	}
	w.devices(&n.devices, &n.lists)
	w.close('}')
	return w.b
}

func (w *writer) rooms(n *news) {
	if len(n.join) > 0 {
		w.object("join", func() {
			for _, j := range n.join {
				w.object(string(j.room), func() { w.joined(j) })
			}
		})
	}
	if len(n.leave) > 0 {
		w.object("leave", func() {
			for _, l := range n.leave {
				w.object(string(l.room), func() { w.left(l) })
			}
		})
	}
	w.stripped("invite", "invite_state", n.invite)
	w.stripped("knock", "knock_state", n.knock)
}

func (w *writer) stripped(name, state string, rooms []*strippedNews) {
	if len(rooms) == 0 {
		return
	}
	w.object(name, func() {
		for _, s := range rooms {
			w.object(string(s.room), func() {
				w.object(state, func() {
					w.key("events")
					w.b = append(w.b, s.state...)
				})
			})
		}
	})
}

func (w *writer) joined(j *joinedNews) {
	if j.summary != nil {
		w.object("summary", func() { w.summary(j.summary) })
	}
	w.stateAndTimeline(j.state, j.timeline)
	w.object("ephemeral", func() {
		w.key("events")
		w.open('[')
		for _, e := range j.ephemeral {
			w.comma()
			w.open('{')
			w.text("type", e.Type)
			w.key("content")
			w.b = append(w.b, e.Content...)
			w.close('}')
		}
		w.close(']')
	})
	w.object("account_data", func() { w.data(j.account) })
	if len(j.sticky) > 0 {
		w.object("msc4354_sticky", func() { w.events(j.sticky) })
	}
	w.unread(j.unread)
}

func (w *writer) left(l *leftNews) {
	if len(l.told) > 0 {
		w.object("state", func() { w.events(nil) })
		w.object("timeline", func() {
			w.key("events")
			w.b = append(w.b, l.told...)
			w.key("limited")
			w.b = append(w.b, "false"...)
		})
	} else {
		w.stateAndTimeline(l.state, l.timeline)
	}
	w.object("account_data", func() { w.data(l.account) })
}

// unread writes the counts: of all that is unread, or of the main timeline and of each thread.
func (w *writer) unread(u push.Unread) {
	if !w.form.filter.threads() {
		w.count("unread_notifications", u.Total())
		return
	}
	w.count("unread_notifications", u.Main)
	if len(u.Threads) > 0 {
		w.object("unread_thread_notifications", func() {
			for root, c := range u.Threads {
				w.count(string(root), c)
			}
		})
	}
}

func (w *writer) count(name string, c push.Count) {
	w.object(name, func() {
		w.number("highlight_count", c.Highlight)
		w.number("notification_count", c.Notify)
	})
}

func (w *writer) summary(s *summary) {
	if s.heroes != nil {
		texts(w, "m.heroes", s.heroes)
	}
	w.number("m.invited_member_count", s.invited)
	w.number("m.joined_member_count", s.joined)
}

func (w *writer) stateAndTimeline(state []*roomserver.ClientEvent, t *timeline) {
	name := "state"
	switch w.form.after {
	case stateAtEnd:
		name = "state_after"
	case stateAtEndUnstable:
		name = "org.matrix.msc4222.state_after"
	}
	w.object(name, func() { w.events(state) })
	w.object("timeline", func() {
		if t == nil {
			w.events(nil)
			w.key("limited")
			w.b = append(w.b, "false"...)
			return
		}
		w.events(t.events)
		w.key("limited")
		w.b = strconv.AppendBool(w.b, t.limited)
		w.text("prev_batch", t.prev.AsOf(t.upto))
	})
}

func (w *writer) events(events []*roomserver.ClientEvent) {
	w.key("events")
	w.open('[')
	for _, e := range events {
		w.comma()
		if f := w.form.filter; f.fields == nil {
			w.b = e.AppendJSON(w.b, f.format)
		} else {
			w.each = e.AppendJSON(w.each[:0], f.format)
			w.b = appendFields(w.b, w.each, f.fields)
		}
	}
	w.close(']')
}

func (w *writer) data(list []account.AccountDatum) {
	w.key("events")
	w.open('[')
	w.pieces(list)
	w.close(']')
}

// pieces writes pieces of account data as events.
func (w *writer) pieces(list []account.AccountDatum) {
	for _, d := range list {
		w.comma()
		w.open('{')
		w.text("type", d.Type)
		w.key("content")
		w.b = append(w.b, d.Content...)
		w.close('}')
	}
}

// devices writes the extensions for encryption. Counts of zero are written too: clients wait for them.
//
// Spec: CS "Extensions to /sync" of the modules send-to-device and end-to-end encryption.
func (w *writer) devices(d *e2ee.DeviceNews, l *e2ee.Lists) {
	if len(d.Messages) > 0 {
		w.object("to_device", func() {
			w.key("events")
			w.open('[')
			for _, m := range d.Messages {
				w.comma()
				w.b = append(w.b, m...)
			}
			w.close(']')
		})
	}
	if len(l.Changed)+len(l.Left) > 0 {
		w.object("device_lists", func() {
			texts(w, "changed", l.Changed)
			texts(w, "left", l.Left)
		})
	}
	w.object("device_one_time_keys_count", func() {
		for algorithm, n := range d.OneTimeKeys {
			w.number(algorithm, n)
		}
	})
	texts(w, "device_unused_fallback_key_types", d.UnusedFallback)
}
