package appservice

import (
	"context"
	"encoding/json"

	"astrocyte/matrix"
	"astrocyte/store"
)

// maxNetwork bounds the id of a network, in bytes.
const maxNetwork = 255

// instanceOf names a network of a service among those of all services.
func instanceOf(service *Service, network string) string { return service.ID + "|" + network }

// Show sets whether a room is in the directory of one of a service's networks.
//
// Spec: PUT /_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}
func (s *Services) Show(ctx context.Context, service *Service, network string, room matrix.RoomID, public bool) error {
	if network == "" || len(network) > maxNetwork {
		return matrix.InvalidParam("the id of a network has 1 to %d bytes", maxNetwork)
	}
	known, err := s.rooms.Known(ctx, room)
	if err != nil {
		return err
	}
	if !known {
		return matrix.NotFound("there is no room %s", room)
	}
	return s.db.Update(ctx, func(tx *store.Tx) error { return writeNetworkRoom(tx, instanceOf(service, network), room, public) })
}

// Shown lists up to limit rooms of the directory of a network, those that follow a room.
func (s *Services) Shown(ctx context.Context, instance string, after matrix.RoomID, limit int) (rooms []matrix.RoomID, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) (err error) {
		rooms, err = readNetworkRooms(tx, instance, after, limit)
		return err
	})
	return rooms, err
}

// withInstances gives the instances of a protocol the ids by which clients ask for their directories.
func withInstances(service *Service, list json.RawMessage) json.RawMessage {
	var instances []map[string]json.RawMessage
	if json.Unmarshal(list, &instances) != nil {
		return json.RawMessage("[]")
	}
	for _, i := range instances {
		var network string
		if i == nil || json.Unmarshal(i["network_id"], &network) != nil {
			continue
		}
		if id, err := json.Marshal(instanceOf(service, network)); err == nil {
			i["instance_id"] = id
		}
	}
	out, err := json.Marshal(instances)
	if err != nil {
		return json.RawMessage("[]")
	}
	return out
}
