package remote

import (
	"context"
	"encoding/json"
	"net/url"

	"astrocyte/account"
	"astrocyte/federation/peer"
	"astrocyte/matrix"
)

// maxProfile bounds the profile of a remote user, in bytes.
const maxProfile = 64 << 10

// Profile asks the server of a user for their profile, or for one field of it where one is named.
//
// Spec: GET /_matrix/federation/v1/query/profile
func (r *Remote) Profile(ctx context.Context, user matrix.UserID, field string) (account.Fields, error) {
	query := url.Values{"user_id": {string(user)}}
	if field != "" {
		query.Set("field", field)
	}
	var fields account.Fields
	err := r.client.Do(ctx, user.Server(), peer.Request{
		Method: "GET", Path: "/_matrix/federation/v1/query/profile", Query: query, Into: &fields, Limit: maxProfile, Timeout: userTime,
	})
	if err != nil {
		return nil, toldUser(user.Server(), err)
	}
	for name, value := range fields {
		if !goodField(name, value) {
			delete(fields, name)
		}
	}
	return fields, nil
}

// goodField says whether a field of a profile may be shown: null stands for one that is not set, and those that
// every client reads must be text.
func goodField(name string, value json.RawMessage) bool {
	if string(value) == "null" {
		return false
	}
	if name != "displayname" && name != "avatar_url" {
		return true
	}
	var text string
	return json.Unmarshal(value, &text) == nil
}
