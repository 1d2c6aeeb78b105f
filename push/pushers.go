package push

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"astrocyte/matrix"
	"astrocyte/store"
)

// Pusher is where a user's notifications are sent.
//
// Spec: GET /_matrix/client/v3/pushers
type Pusher struct {
	AppID      string          `json:"app_id"`
	Pushkey    string          `json:"pushkey"`
	Kind       string          `json:"kind"`
	AppName    string          `json:"app_display_name"`
	DeviceName string          `json:"device_display_name"`
	ProfileTag string          `json:"profile_tag,omitempty"`
	Lang       string          `json:"lang"`
	Data       json.RawMessage `json:"data"`

	User   matrix.UserID   `json:"-"`
	Device matrix.DeviceID `json:"-"` // that set it
}

// Bounds of what clients may set.
const (
	maxPushkey    = 512
	maxAppID      = 64
	maxPusherText = 255
	maxPusherData = 8 << 10
	maxPushers    = 100 // of a user
)

// check refuses what no pusher may be.
//
// Spec: POST /_matrix/client/v3/pushers/set
func (p *Pusher) check() error {
	switch {
	case p.Pushkey == "" || len(p.Pushkey) > maxPushkey:
		return matrix.InvalidParam("a pushkey has 1 to %d bytes", maxPushkey)
	case p.AppID == "" || len(p.AppID) > maxAppID:
		return matrix.InvalidParam("an app_id has 1 to %d bytes", maxAppID)
	case p.Kind != "http":
		return matrix.InvalidParam("this server has pushers of the kind http only")
	case len(p.AppName) > maxPusherText || len(p.DeviceName) > maxPusherText || len(p.ProfileTag) > maxPusherText || len(p.Lang) > maxPusherText:
		return matrix.InvalidParam("the texts of a pusher have at most %d bytes", maxPusherText)
	case len(p.Data) > maxPusherData:
		return matrix.E(matrix.CodeTooLarge, "the data of a pusher has at most %d bytes", maxPusherData)
	}
	var with struct{ URL string }
	if json.Unmarshal(p.Data, &with) != nil || with.URL == "" {
		return matrix.MissingParam("the data of a pusher needs a url")
	}
	u, err := url.Parse(with.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != gatewayPath {
		return matrix.InvalidParam("the url of a pusher must be of https and have the path %s", gatewayPath)
	}
	return nil
}

// gatewayPath is the only path to which notifications are sent.
const gatewayPath = "/_matrix/push/v1/notify"

// SetPusher makes or changes a pusher of a user. Without appending, it takes the place of those that other
// users have with the same app and key: the device changed hands.
func (p *Push) SetPusher(ctx context.Context, pusher Pusher, appends bool) error {
	if err := pusher.check(); err != nil {
		return err
	}
	return p.db.Update(ctx, func(tx *store.Tx) error {
		if err := makeRoomForPusher(tx, &pusher); err != nil {
			return err
		}
		if !appends {
			if err := deletePushersOfOthers(tx, &pusher); err != nil {
				return fmt.Errorf("remove the pushers of others: %w", err)
			}
		}
		return writePusher(tx, &pusher, p.now().UnixMilli())
	})
}

// makeRoomForPusher refuses what would be one pusher too many.
func makeRoomForPusher(tx *store.Tx, pusher *Pusher) error {
	list, err := Pushers(tx, pusher.User)
	if err != nil {
		return err
	}
	for _, old := range list {
		if old.AppID == pusher.AppID && old.Pushkey == pusher.Pushkey {
			return nil
		}
	}
	if len(list) >= maxPushers {
		return matrix.E(matrix.CodeResourceLimitExceeded, "a user cannot have more than %d pushers", maxPushers)
	}
	return nil
}

// DeletePusher removes a pusher of a user. One that is not there is gone already.
func (p *Push) DeletePusher(ctx context.Context, user matrix.UserID, app, key string) error {
	return p.db.Update(ctx, func(tx *store.Tx) error { return deletePusher(tx, user, app, key) })
}

// PushersOf reads the pushers of a user.
func (p *Push) PushersOf(ctx context.Context, user matrix.UserID) (list []Pusher, err error) {
	err = p.db.View(ctx, func(tx *store.Tx) error {
		list, err = Pushers(tx, user)
		return err
	})
	return list, err
}
