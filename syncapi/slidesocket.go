package syncapi

import (
	"encoding/json"
	"time"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/roomserver"
)

// slidingView is what a socket shows of its user's rooms, where it does not tell all of them.
type slidingView struct {
	ask  *slidingAsk
	from position // of what was told last; zero: nothing was
}

// parseView reads what a socket is asked to show: a request of sliding sync of the accepted form.
func parseView(raw json.RawMessage, from position) (*slidingView, error) {
	ask, err := parseStable(raw)
	if err != nil {
		return nil, err
	}
	if ask.pos != "" || ask.timeout != 0 || ask.presence != "" {
		return nil, matrix.InvalidParam("a view has no pos, timeout or set_presence: they belong into auth")
	}
	ask.form = slidingSocket
	return &slidingView{ask: ask, from: from}, nil
}

// shows says whether the socket shows a view, and does not tell of all rooms.
func (s *socket) shows() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view != nil
}

// authenticateView reads the rest of a first frame that has a view.
func (s *socket) authenticateView(f *frame) error {
	presence, err := presenceWish(f.SetPresence)
	if err != nil {
		return err
	}
	if err := s.openView(f); err != nil {
		return err
	}
	v := roomserver.Viewer{User: s.caller.User, Device: s.caller.Device}
	s.asks = question{viewer: v, presence: presence}
	s.a.alive(s.ctx, &s.asks)
	s.claim(f, v)
	return nil
}

// openView reads the view of a first frame.
func (s *socket) openView(f *frame) error {
	var from position
	var err error
	if f.Since != "" {
		if from, err = parsePosition(f.Since); err != nil {
			return err
		}
	}
	if s.view, err = parseView(f.View, from); err != nil {
		return err
	}
	s.devices = max(from.devices, s.view.ask.ext.toDevice.had)
	s.acked = pushed{text: f.Since, pos: from, devices: s.devices}
	return nil
}

// changeView shows something else from the next delta on. The connection stays the same one.
func (s *socket) changeView(f *frame) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view == nil {
		return nil, matrix.InvalidParam("this connection tells all rooms: a view belongs into its auth")
	}
	v, err := parseView(f.View, s.view.from)
	if err != nil {
		return nil, err
	}
	if v.ask.conn != s.view.ask.conn {
		return nil, matrix.InvalidParam("the conn_id of a view cannot be changed")
	}
	s.view = v
	s.rouseLocked(true)
	return struct{}{}, nil
}

// slideOnce reads what is new in the view, as a frame; nil: there is nothing.
func (s *socket) slideOnce(behind bool) ([]byte, error) {
	s.mu.Lock()
	v, acked := *s.view, s.acked
	s.mu.Unlock()
	ask := *v.ask
	ask.ext.toDevice.after, ask.ext.toDevice.had = s.devices, acked.devices
	first := v.from == (position{})
	n, err := s.a.slideNow(s.ctx, s.viewer, &ask, v.from)
	if err != nil || n.empty() && !first {
		return nil, err
	}
	if err := s.a.keepAnswer(s.ctx, s.viewer, ask.conn, acked.pos.generation, v.from.generation, n); err != nil {
		return nil, err
	}
	if n.pos.devices = s.devices; ask.ext.toDevice.enabled {
		n.pos.devices = n.ext.devices.Told
	}
	it := pushed{text: n.pos.String(), pos: n.pos, devices: n.pos.devices}
	if s.tellsDelivery {
		it.arrived = arrivedInView(s.viewer.User, n)
	}
	s.mu.Lock()
	s.pending = append(s.pending, it)
	s.view.from = n.pos
	s.mu.Unlock()
	if s.devices = it.devices; n.more {
		s.rouse(true)
	}
	return appendSlide(nil, n, v.from, first, behind), nil
}

// appendSlide writes a slide frame.
func appendSlide(dst []byte, n *slid, since position, first, behind bool) []byte {
	dst = append(dst, `{"type":"slide"`...)
	if !first {
		dst = canonicaljson.AppendText(append(dst, `,"since":`...), since.String())
	}
	dst = canonicaljson.AppendText(append(dst, `,"token":`...), n.pos.String())
	if behind {
		dst = append(dst, `,"catch_up":true`...)
	}
	dst = append(dst, `,"delta":`...)
	return append(n.AppendJSON(dst), '}')
}

// flood bounds what one client may send: so many frames in a row, and then so many a second.
const (
	floodBurst = 300
	floodEach  = 20 * time.Millisecond
)

// flooded notes a frame, and says whether a client sends more of them than one does that is well.
func (s *socket) flooded(now time.Time) bool {
	s.mu.Lock()
	since := now.Sub(s.life.heard)
	s.life.heard = now
	s.mu.Unlock()
	s.budget = min(floodBurst, s.budget+int64(since/floodEach)) - 1
	return s.budget < 0
}
