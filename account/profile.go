package account

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"astrocyte/bus"
	"astrocyte/matrix"
	"astrocyte/store"
)

// The profile fields that the specification gives a meaning.
const (
	fieldDisplayName = "displayname"
	fieldAvatarURL   = "avatar_url"
	fieldTimeZone    = "m.tz"
)

const (
	maxProfile      = 64<<10 - 1 // bytes of the whole profile
	maxProfileKey   = 255
	maxDisplayName  = 256 // characters
	maxAvatarURL    = 1000
	maxTimeZoneName = 255
)

// Fields are the fields of a profile.
type Fields map[string]json.RawMessage

// Text is the value of a field that is a string, and empty otherwise.
func (f Fields) Text(field string) string {
	var s string
	if json.Unmarshal(f[field], &s) != nil {
		return ""
	}
	return s
}

// Profile is what member events show of a user.
type Profile struct{ DisplayName, AvatarURL string }

// Fields reads the profile of a user of this server.
func (a *Accounts) Fields(ctx context.Context, user matrix.UserID) (f Fields, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) error {
		exists, err := a.Exists(tx, user)
		if err != nil {
			return err
		}
		if !exists {
			return matrix.NotFound("there is no user %s", user)
		}
		f, err = readFields(tx, user)
		return err
	})
	return f, err
}

// Profiles reads what member events show of users of this server. Those without a profile are left out.
func (a *Accounts) Profiles(ctx context.Context, users []matrix.UserID) (profiles map[matrix.UserID]Profile, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		profiles, err = ReadProfiles(tx, users)
		return err
	})
	return profiles, err
}

// ReadProfiles is Profiles in a transaction that is under way.
func ReadProfiles(tx *store.Tx, users []matrix.UserID) (map[matrix.UserID]Profile, error) {
	profiles := make(map[matrix.UserID]Profile, len(users))
	for _, user := range users {
		f, err := readFields(tx, user)
		if err != nil {
			return nil, err
		}
		if len(f) > 0 {
			profiles[user] = Profile{f.Text(fieldDisplayName), f.Text(fieldAvatarURL)}
		}
	}
	return profiles, nil
}

// SetProfileField sets a field of a user's profile. An empty display name or avatar removes it.
//
// Spec: PUT /_matrix/client/v3/profile/{userId}/{keyName}
func (a *Accounts) SetProfileField(ctx context.Context, user matrix.UserID, field string, value json.RawMessage) error {
	if err := CheckProfileField(field); err != nil {
		return err
	}
	if err := checkProfileValue(field, value); err != nil {
		return err
	}
	if (field == fieldDisplayName || field == fieldAvatarURL) && string(value) == `""` {
		value = nil
	}
	return a.writeProfile(ctx, user, field, value)
}

// DeleteProfileField removes a field of a user's profile; that it is not there is no fault.
//
// Spec: DELETE /_matrix/client/v3/profile/{userId}/{keyName}
func (a *Accounts) DeleteProfileField(ctx context.Context, user matrix.UserID, field string) error {
	if err := CheckProfileField(field); err != nil {
		return err
	}
	return a.writeProfile(ctx, user, field, nil)
}

func (a *Accounts) writeProfile(ctx context.Context, user matrix.UserID, field string, value json.RawMessage) error {
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		if err := a.mustBeActive(tx, user); err != nil {
			return err
		}
		if err := a.changeProfile(tx, user, field, value); err != nil || a.hooks.ProfileChanged == nil {
			return err
		}
		return a.hooks.ProfileChanged(tx, user, field)
	})
	if err != nil || a.hooks.Profile == nil {
		return err
	}
	if err := a.hooks.Profile(context.WithoutCancel(ctx), user, field); err != nil {
		a.log.Error("carry a profile into rooms", "user", user, "field", field, "error", err)
	}
	return nil
}

// changeProfile sets a field, or removes it where value is nil. The user's row is locked by the caller.
func (a *Accounts) changeProfile(tx *store.Tx, user matrix.UserID, field string, value json.RawMessage) error {
	f, err := readFields(tx, user)
	if err != nil {
		return err
	}
	if value == nil {
		delete(f, field)
	} else {
		f[field] = value
	}
	all, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("profile of %s: %w", user, err)
	}
	if len(all) > maxProfile {
		return matrix.E(matrix.CodeProfileTooLarge, "a profile must be smaller than 64 KiB")
	}
	tx.Announce(bus.Change{Kind: bus.User, Key: string(user)})
	return writeFields(tx, user, all)
}

// CheckProfileField checks the name of a profile field.
//
// Spec: Appendices "Common Namespaced Identifier Grammar".
func CheckProfileField(field string) error {
	if len(field) > maxProfileKey {
		return matrix.E(matrix.CodeKeyTooLarge, "the name of a profile field cannot be longer than %d bytes", maxProfileKey)
	}
	for i := range len(field) {
		c := field[i]
		switch {
		case c >= 'a' && c <= 'z':
		case i > 0 && (c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'):
		default:
			return matrix.InvalidParam("this cannot be the name of a profile field")
		}
	}
	if field != fieldDisplayName && field != fieldAvatarURL && !strings.Contains(field, ".") {
		return matrix.InvalidParam("the name of a profile field must be namespaced")
	}
	return nil
}

func checkProfileValue(field string, value json.RawMessage) error {
	var text string
	switch field {
	case fieldDisplayName, fieldAvatarURL, fieldTimeZone:
		if string(value) == "null" || json.Unmarshal(value, &text) != nil {
			return matrix.BadJSON("the profile field %s must be a string", field)
		}
	}
	switch {
	case field == fieldDisplayName && utf8.RuneCountInString(text) > maxDisplayName:
		return matrix.InvalidParam("a display name cannot be longer than %d characters", maxDisplayName)
	case field == fieldAvatarURL && len(text) > maxAvatarURL:
		return matrix.InvalidParam("avatar_url cannot be longer than %d bytes", maxAvatarURL)
	case field == fieldTimeZone && (text == "" || len(text) > maxTimeZoneName):
		return matrix.InvalidParam("m.tz must be the name of a time zone")
	}
	return nil
}

// quoted is a text as JSON.
func quoted(s string) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can be encoded
	return bytes.TrimSpace(b.Bytes())
}
