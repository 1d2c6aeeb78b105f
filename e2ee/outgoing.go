package e2ee

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
	"astrocyte/store"
)

// EDU is something to tell to another server.
type EDU struct {
	Type    string          `json:"edu_type"`
	Content json.RawMessage `json:"content"`
}

// Outgoing are EDUs that wait for a server, in the order in which they are to be told. Whoever tells them
// gives it back to Told when the server has acknowledged all of them. Until then they are given again; a
// server that has taken them already recognizes them.
type Outgoing struct {
	EDUs     []EDU
	messages int64 // the last message among them
	lists    map[matrix.UserID]listsTold
	asker    matrix.UserID // as which the server sees the keys
}

// listsTold is up to where the changes of a user are told, and the last stream id among them, which those
// of cross-signing keys have none of.
type listsTold struct{ upto, stream int64 }

// Waiting reads what waits for a server, at most so many EDUs: messages to devices first.
func (e *Encryption) Waiting(tx *store.Tx, to matrix.ServerName, limit int) (*Outgoing, error) {
	out := &Outgoing{lists: make(map[matrix.UserID]listsTold), asker: e.anotherServer()}
	messages, err := readOutbound(tx, to, limit)
	if err != nil {
		return nil, fmt.Errorf("read the messages for %s: %w", to, err)
	}
	for _, m := range messages {
		out.EDUs, out.messages = append(out.EDUs, EDU{eduMessages, m.message}), m.pos
	}
	changes, err := readQueuedLists(tx, to, limit-len(messages))
	if err != nil {
		return nil, fmt.Errorf("read the changed devices for %s: %w", to, err)
	}
	for _, c := range changes {
		if err := out.add(tx, to, c); err != nil {
			return nil, fmt.Errorf("tell of the devices of %s: %w", c.user, err)
		}
	}
	return out, nil
}

// listChange is a change of a device, or of cross-signing keys, that waits for a server.
type listChange struct {
	deviceID
	pos       int64
	announced bool // nothing has changed: their user came into a room with the server
}

// announcedField says in an EDU that what it tells has not changed. Servers that do not know it take it for a change.
const announcedField = "im.astrocyte.announced"

// add tells of a change, as things are now.
//
// Spec: SS "Device Management" (m.device_list_update, m.signing_key_update).
func (o *Outgoing) add(tx *store.Tx, to matrix.ServerName, c listChange) error {
	told, begun := o.lists[c.user]
	if !begun {
		var err error
		if told.stream, err = readTold(tx, to, c.user); err != nil {
			return err
		}
	}
	k := newKeys()
	if err := k.readAll(tx, o.asker, Wanted{c.user: {c.device}}); err != nil {
		return err
	}
	told.upto = c.pos
	edu := EDU{eduSigningKeys, nil}
	content := map[string]any{"user_id": c.user}
	if c.announced {
		content[announcedField] = true
	}
	if c.device == crossSigning {
		for name, key := range map[string]json.RawMessage{"master_key": k.Master[c.user], "self_signing_key": k.SelfSigning[c.user]} {
			if key != nil {
				content[name] = key
			}
		}
	} else {
		edu.Type = eduListUpdate
		content["device_id"], content["stream_id"], content["prev_id"] = c.device, c.pos, []int64{}
		if told.stream > 0 {
			content["prev_id"] = []int64{told.stream}
		}
		there, err := isDevice(tx, c.user, c.device)
		if err != nil {
			return err
		}
		if keys := k.Devices[c.user][c.device]; keys != nil {
			content["keys"] = keys
			if name := nameIn(keys); name != "" {
				content["device_display_name"] = name
			}
		} else if !there {
			content["deleted"] = true
		}
		told.stream = c.pos
	}
	var err error
	edu.Content, err = canonicaljson.Marshal(content)
	o.EDUs, o.lists[c.user] = append(o.EDUs, edu), told
	return err
}

// Told forgets what a server has acknowledged.
func (e *Encryption) Told(tx *store.Tx, to matrix.ServerName, o *Outgoing) error {
	if o.messages > 0 {
		if err := deleteOutbound(tx, to, o.messages); err != nil {
			return fmt.Errorf("forget the messages for %s: %w", to, err)
		}
	}
	for _, user := range slices.Sorted(maps.Keys(o.lists)) {
		if err := noteTold(tx, to, user, o.lists[user]); err != nil {
			return fmt.Errorf("forget the changed devices for %s: %w", to, err)
		}
	}
	return nil
}

// Destinations reads for which servers something waits.
func (e *Encryption) Destinations(tx *store.Tx) ([]matrix.ServerName, error) {
	return readDestinations(tx)
}

// waits tells whoever sends to other servers that something waits for some of them.
func (e *Encryption) waits(tx *store.Tx, servers []matrix.ServerName) error {
	if e.remote.Waiting == nil {
		return nil
	}
	return e.remote.Waiting(tx, servers)
}

// maxEDU bounds what is told in one EDU where it can be told in several.
const maxEDU = 60 << 10

// queueMessages queues messages for devices of users of other servers.
//
// Spec: SS "Send-to-device messaging" (m.direct_to_device).
func (e *Encryption) queueMessages(tx *store.Tx, s Sending) error {
	theirs := make(Messages)
	for user, devices := range s.Messages {
		if !e.ours(user) && len(devices) > 0 {
			theirs[user] = devices
		}
	}
	if len(theirs) == 0 || e.remote.Waiting == nil { // nobody would send them
		return nil
	}
	parts := byServer(theirs)
	servers := slices.Sorted(maps.Keys(parts))
	var queue []outboundMessage
	for _, to := range servers {
		for _, part := range parts[to].split(maxEDU) {
			content, err := canonicaljson.Marshal(map[string]any{
				"sender": s.Sender, "type": s.Type, "message_id": rand.Text(), "messages": part,
			})
			if err != nil {
				return fmt.Errorf("write messages for %s: %w", to, err)
			}
			queue = append(queue, outboundMessage{to, content})
		}
	}
	last, err := tx.NextPos(int64(len(queue)))
	if err != nil {
		return err
	}
	if err := insertOutbound(tx, queue, last); err != nil {
		return fmt.Errorf("queue messages for other servers: %w", err)
	}
	return e.waits(tx, servers)
}

// outboundMessage is the content of an EDU for a server.
type outboundMessage struct {
	to      matrix.ServerName
	content []byte
}

// split parts messages so that each part is not larger than it may be, if it has more than one message.
func (m Messages) split(most int) []Messages {
	var parts []Messages
	size := most + 1
	for _, user := range slices.Sorted(maps.Keys(m)) {
		for _, device := range slices.Sorted(maps.Keys(m[user])) {
			content := m[user][device]
			more := len(content) + len(user) + len(device) + 20
			if size += more; size > most {
				parts, size = append(parts, make(Messages)), more
			}
			part := parts[len(parts)-1]
			if part[user] == nil {
				part[user] = make(map[matrix.DeviceID]json.RawMessage)
			}
			part[user][device] = content
		}
	}
	return parts
}
