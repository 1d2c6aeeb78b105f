package syncapi

import (
	"context"
	"encoding/json"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

const (
	// Delivered is the kind of changes by which nodes tell each other what has reached a device. Key is the sender,
	// Data a deliveredFrame.
	Delivered bus.Kind = "delivered"
	// deliveryRoom is how many members a room has at most in which deliveries are told.
	deliveryRoom = 50
	// deliveryMost bounds the events of which one acknowledgement tells.
	deliveryMost = 50
	// deliveryQueue bounds the frames about deliveries that wait to be written to a client.
	deliveryQueue = 32
)

// pushed is a delta that was pushed.
type pushed struct {
	text    string // its token
	token   Token
	pos     position // of a view
	devices int64    // messages to the device are told up to here
	arrived []arrival
}

// arrival is an event that a client is told of, as its sender would like to know.
type arrival struct {
	room   matrix.RoomID
	event  matrix.EventID
	sender matrix.UserID
}

// deliveredFrame tells a sender that an event has reached a device of a user.
type deliveredFrame struct {
	Type   string           `json:"type"` // delivered
	Room   matrix.RoomID    `json:"room_id"`
	Events []matrix.EventID `json:"event_ids"`
	User   matrix.UserID    `json:"user_id"`
	TS     int64            `json:"ts"`
}

func arrivedIn(user matrix.UserID, n *news) []arrival {
	var out []arrival
	for _, j := range n.join {
		if j.timeline != nil && j.head.Joined <= deliveryRoom {
			out = appendArrivals(out, user, j.room, j.timeline.events)
		}
	}
	return out
}

func arrivedInView(user matrix.UserID, n *slid) []arrival {
	var out []arrival
	for _, room := range n.rooms {
		if room.timeline != nil && room.head.Room != 0 && room.head.Joined <= deliveryRoom {
			out = appendArrivals(out, user, room.id, room.timeline.events[len(room.timeline.events)-min(room.live, len(room.timeline.events)):])
		}
	}
	return out
}

func appendArrivals(out []arrival, user matrix.UserID, room matrix.RoomID, events []*roomserver.ClientEvent) []arrival {
	for _, e := range events {
		if _, state := e.StateKey(); !state && e.Sender() != user && e.Sender().Server() == user.Server() && len(out) < deliveryMost {
			out = append(out, arrival{room, e.ID(), e.Sender()})
		}
	}
	return out
}

// tellDelivery tells the senders of events that they have arrived. It is a hint like others on the bus, and stored
// nowhere: where it is lost, the sender does not hear of it.
func (a *API) tellDelivery(ctx context.Context, user matrix.UserID, arrived []arrival) {
	type key struct {
		sender matrix.UserID
		room   matrix.RoomID
	}
	frames := make(map[key]*deliveredFrame)
	var order []key
	for _, it := range arrived {
		k := key{it.sender, it.room}
		if frames[k] == nil {
			frames[k] = &deliveredFrame{Type: "delivered", Room: it.room, User: user, TS: a.now().UnixMilli()}
			order = append(order, k)
		}
		frames[k].Events = append(frames[k].Events, it.event)
	}
	for _, k := range order {
		text, err := json.Marshal(frames[k])
		if err != nil {
			continue // it is made of strings and a number, which have a JSON form
		}
		a.waker.bus.Publish(ctx, bus.Change{Kind: Delivered, Key: string(k.sender), Data: text})
	}
}

// delivered hands a frame to those sockets of a sender that want to know of deliveries.
func (k *sockets) delivered(c bus.Change) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.byUser[matrix.UserID(c.Key)] {
		if s.tellsDelivery {
			s.delivered(c.Data)
		}
	}
}

// delivered has a frame written. A client that does not read is told of fewer.
func (s *socket) delivered(text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.life.deliveries) < deliveryQueue {
		s.life.deliveries = append(s.life.deliveries, text)
		s.rouseLocked(false)
	}
}

// hearDeliveries hands on what the bus tells of deliveries, until ctx ends.
func (a *API) hearDeliveries(ctx context.Context) error {
	sub := a.waker.bus.Subscribe(Delivered)
	defer sub.Close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-sub.C:
			if c.Kind == Delivered {
				a.sockets.delivered(c)
			}
		}
	}
}
