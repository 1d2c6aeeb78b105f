package config

import (
	"time"

	"astrocyte/matrix"
	"astrocyte/roomserver/rules"
)

// Config is everything that can be set.
type Config struct {
	// The name of this server: the part after the colon in @alice:example.org. It cannot be changed
	// once there are users. This is the only setting that must be given.
	ServerName matrix.ServerName `yaml:"server_name"`

	// The folder of the database (with SQLite), the signing key and the media. A relative path starts
	// at the folder of this file.
	DataDir string `yaml:"data_dir"`

	// Where the database is: "sqlite:" and a file, or "postgres://user:password@host/name?sslmode=disable".
	// Empty is SQLite, in the file astrocyte.db of the data folder.
	Database string `yaml:"database"`

	// How much memory caches of rooms and events may take.
	CacheMemory Size `yaml:"cache_memory"`

	// Where clients reach this server from outside, such as https://matrix.example.org. It is told to
	// clients at https://<server_name>/.well-known/matrix/client.
	PublicURL string `yaml:"public_url"`

	// Whom people ask who need help with this server. It is told at https://<server_name>/.well-known/matrix/support.
	Support Support `yaml:"support"`

	// Addresses to listen at. With tls an address is served by HTTPS; without, a reverse proxy in front
	// should do that.
	Listeners []Listener `yaml:"listeners"`

	// Addresses, or ranges such as 10.0.0.0/8, of reverse proxies: their X-Forwarded-For header is believed.
	TrustedProxies []Prefix `yaml:"trusted_proxies"`

	// Who may make accounts.
	Registration Registration `yaml:"registration"`

	// How passwords are accepted and kept.
	Passwords Passwords `yaml:"passwords"`

	// How long logins last.
	Sessions Sessions `yaml:"sessions"`

	// How new rooms are made.
	Rooms Rooms `yaml:"rooms"`

	// Events that users leave to be sent later: calls end by them, and messages can be scheduled.
	DelayedEvents DelayedEvents `yaml:"delayed_events"`

	// What users may know of each other.
	Users Users `yaml:"users"`

	// What deserves users' attention.
	Push Push `yaml:"push"`

	// Who is told of who is there.
	Presence Presence `yaml:"presence"`

	// Files that people share, and previews of links.
	Media Media `yaml:"media"`

	// What the server itself tells its users.
	Notices Notices `yaml:"notices"`

	// How often clients may ask. Reloaded on SIGHUP.
	RateLimits RateLimits `yaml:"rate_limits"`

	// How this server talks to clients.
	Clients Clients `yaml:"clients"`

	// What calls need besides this server.
	Calls Calls `yaml:"calls"`

	// How this server talks to other servers.
	Federation Federation `yaml:"federation"`

	// Registration files of bridges and bots; * stands for any part of a file name.
	ApplicationServices []string `yaml:"application_services"`

	// What is written about what happens.
	Log Log `yaml:"log"`

	// Figures for Prometheus at http://<address>/metrics.
	Metrics Metrics `yaml:"metrics"`
}

// Support says whom people ask who need help.
type Support struct {
	// A page for them.
	Page string `yaml:"page"`
	// People for them.
	Contacts []Contact `yaml:"contacts"`
}

// Contact is somebody whom people ask who need help.
type Contact struct {
	// For what: admin for everything, security for what has to stay between the two.
	Role string `yaml:"role"`
	// A user ID, on another server best.
	MatrixID matrix.UserID `yaml:"matrix_id"`
	// An e-mail address.
	Email string `yaml:"email"`
}

// Listener is an address to listen at.
type Listener struct {
	// Host and port. 127.0.0.1 is this machine only, 0.0.0.0 or an empty host is everybody.
	Address string `yaml:"address"`
	// Files for HTTPS. They are read again on SIGHUP.
	TLS TLS `yaml:"tls"`
}

// TLS is the certificate of a listener.
type TLS struct {
	// The certificate with its chain, PEM.
	Certificate string `yaml:"certificate"`
	// Its private key, PEM.
	Key string `yaml:"key"`
}

// On says whether a listener has a certificate.
func (t TLS) On() bool { return t.Certificate != "" }

// Registration says who may make accounts.
type Registration struct {
	// Whether people may register. Reloaded on SIGHUP.
	Enabled bool `yaml:"enabled"`
	// Whether they need a token, made by "astrocyte registration-token create".
	TokenRequired bool `yaml:"token_required"`
	// Whether guests may look around without an account.
	Guests bool `yaml:"guests"`
	// With this secret, programs may make accounts at /_synapse/admin/v1/register. Empty is off.
	SharedSecret string `yaml:"shared_secret"`
}

// Passwords says how passwords are accepted and kept.
type Passwords struct {
	// The fewest characters of a new password.
	MinimumLength int `yaml:"minimum_length"`
	// How new passwords are kept: argon2id or bcrypt. Both are always understood.
	Hash string `yaml:"hash"`
	// The cost of argon2id: memory in KiB, passes, threads.
	Argon2Memory  int `yaml:"argon2_memory"`
	Argon2Passes  int `yaml:"argon2_passes"`
	Argon2Threads int `yaml:"argon2_threads"`
	// The cost of bcrypt, a power of two.
	BcryptCost int `yaml:"bcrypt_cost"`
}

// Sessions says how long logins last.
type Sessions struct {
	// How long an access token lasts for clients that can refresh it.
	AccessTokenLifetime Duration `yaml:"access_token_lifetime"`
	// How long a refresh token lasts when it is not used. 0s is for ever.
	RefreshTokenLifetime Duration `yaml:"refresh_token_lifetime"`
	// Whether who is logged in can let another of their devices in, by a token that is good once.
	LoginTokens bool `yaml:"login_tokens"`
}

// RateLimits says how often clients may ask.
type RateLimits struct {
	// Off is for tests and private networks.
	Enabled bool `yaml:"enabled"`
	// Single users with other limits: a factor of 2 is twice as much, 0 is without limit.
	Users []UserLimit `yaml:"users"`
	// Logging in.
	Login LimitClass `yaml:"login"`
	// Making an account.
	Register LimitClass `yaml:"register"`
	// Sending events and redactions.
	Message LimitClass `yaml:"message"`
	// Typing, receipts, presence, account data and other small things.
	Ephemeral LimitClass `yaml:"ephemeral"`
	// Joining and knocking.
	Join LimitClass `yaml:"join"`
	// Inviting.
	Invite LimitClass `yaml:"invite"`
	// Creating and upgrading rooms.
	Create LimitClass `yaml:"create"`
	// Searching messages, users and the room directory.
	Search LimitClass `yaml:"search"`
	// Changing one's profile.
	Profile LimitClass `yaml:"profile"`
	// Encryption keys.
	Keys LimitClass `yaml:"keys"`
	// Reporting users, rooms and messages.
	Report LimitClass `yaml:"report"`
	// Redacting what another user sent to a room, by event.
	Redact LimitClass `yaml:"redact"`
	// Uploading media.
	Upload LimitClass `yaml:"upload"`
	// Downloading media.
	Download LimitClass `yaml:"download"`
	// Asking for previews of links.
	Preview LimitClass `yaml:"preview"`
	// What other servers ask, each server by itself.
	Servers ServerLimits `yaml:"servers"`
}

// ServerLimits are limits for what one other server asks by signed requests.
type ServerLimits struct {
	// Events, keys, profiles, files, and whatever has no limit of its own.
	Requests Rate `yaml:"requests"`
	// Joining, knocking, inviting and leaving.
	Handshakes Rate `yaml:"handshakes"`
	// The state and the history of rooms, spaces and the room directory.
	Rooms Rate `yaml:"rooms"`
	// Transactions. Of one server one is taken at a time anyway, so they have no limit as a rule.
	Transactions Rate `yaml:"transactions"`
}

// UserLimit is the limit of a single user.
type UserLimit struct {
	// The full user ID.
	User matrix.UserID `yaml:"user"`
	// What all limits of an account are multiplied with.
	Factor float64 `yaml:"factor"`
}

// LimitClass is a limit for what one account does, and for what comes from one address.
type LimitClass struct {
	Account Rate `yaml:"account"`
	Address Rate `yaml:"address"`
}

// Rate is so many a second on average, and so many at once. 0 a second is no limit.
type Rate struct {
	PerSecond float64 `yaml:"per_second"`
	Burst     int     `yaml:"burst"`
}

// Clients says how this server talks to clients.
type Clients struct {
	// Whether access tokens are taken from the query string, as old clients send them.
	QueryAccessToken bool `yaml:"query_access_token"`
	// The largest JSON body, in bytes.
	MaxBody Size `yaml:"max_body"`
	// How long a request that waits for news holds a goroutine and its buffers. After that its connection is
	// parked and costs some kilobytes; it is taken out again when there is something to tell.
	ParkAfter Duration `yaml:"park_after"`
	// Members of a room in which more than so many wait for news are told of it in turns and not all at once. Who has
	// to wait for their turn is told of several messages together. 0 is never.
	LargeRoom int `yaml:"large_room"`
}

// Calls says which services calls go by.
type Calls struct {
	// A TURN server, for calls of two.
	TURN TURN `yaml:"turn"`
	// Addresses of MatrixRTC token services in front of LiveKit, for calls of many.
	LiveKit []string `yaml:"livekit"`
}

// TURN is a TURN server that knows a shared secret with this one.
type TURN struct {
	// Its addresses, such as "turn:turn.example.org?transport=udp". None: there is no TURN server.
	URIs []string `yaml:"uris"`
	// The secret, "static-auth-secret" in the settings of coturn.
	SharedSecret string `yaml:"shared_secret"`
	// How long a password is good.
	Lifetime Duration `yaml:"lifetime"`
}

// Federation says how this server talks to other servers.
type Federation struct {
	// Whether it talks to other servers at all.
	Enabled bool `yaml:"enabled"`
	// The servers that it talks to; * stands for any text, such as *.example.org. None: all.
	Allow []string `yaml:"allow"`
	// The servers that it does not talk to, even where they are allowed.
	Deny []string `yaml:"deny"`
	// Whether other servers may read this server's room directory.
	PublicRooms bool `yaml:"public_rooms"`
	// Whether other servers are told the names of their devices that users have chosen.
	DeviceNames bool `yaml:"device_names"`
	// Where other servers reach this one, such as matrix.example.org:443. It is told to them at
	// https://<server_name>/.well-known/matrix/server. Empty: they find it by DNS, at port 8448.
	WellKnown matrix.ServerName `yaml:"well_known"`
	// Servers that are asked for the keys of servers that do not answer.
	KeyNotaries []matrix.ServerName `yaml:"key_notaries"`
	// Keys that this server signed with before it was Astrocyte. Those that it had since it knows itself.
	OldKeys []OldKey `yaml:"old_keys"`
	// Whether it may connect to private addresses, such as 10.0.0.0/8 and this machine itself.
	AllowPrivateAddresses bool `yaml:"allow_private_addresses"`
	// Further certificate authorities that are trusted, PEM files.
	CertificateAuthorities []string `yaml:"certificate_authorities"`
}

// OldKey is a key that is no longer signed with.
type OldKey struct {
	// Its ID, such as ed25519:a_abcd.
	ID matrix.KeyID `yaml:"id"`
	// The public key in base64.
	Public string `yaml:"public"`
	// Since when it is not signed with, in milliseconds since 1970.
	Expired int64 `yaml:"expired"`
}

// Push says what deserves users' attention, besides what the specification says.
type Push struct {
	// Whether a message draws the attention of those whose names stand in it, where its client does not say
	// whom it mentions. Old clients and bridges need it; version 1.17 of the specification has removed it.
	LegacyMentions bool `yaml:"legacy_mentions"`
	// Whether users subscribe to threads, and hear nothing of others (MSC4306). Only where all clients know it.
	ThreadSubscriptions bool `yaml:"thread_subscriptions"`
}

// Presence says who is told of who is there.
type Presence struct {
	// Whether anybody is.
	Enabled bool `yaml:"enabled"`
	// In rooms of up to so many members everybody is told of everybody else.
	MaxRoomMembers int `yaml:"max_room_members"`
	// Whether other servers are told as well, and what they tell is shown.
	Federation bool `yaml:"federation"`
}

// Rooms says how new rooms are made.
type Rooms struct {
	// The room version of new rooms where the client names none. See the specification, "Room Versions".
	DefaultVersion matrix.RoomVersion `yaml:"default_version"`
	// How long what a redaction takes from an event stays in the database, where no client can see it. 0s is for ever.
	KeepRedacted Duration `yaml:"keep_redacted"`
}

// DelayedEvents says what users may leave to be sent later.
type DelayedEvents struct {
	// How many events of a user may wait. 0 is off: then nobody sees when somebody drops out of a call.
	MaxScheduled int `yaml:"max_scheduled"`
	// The longest delay.
	MaxDelay Duration `yaml:"max_delay"`
}

// Users says what users may know of each other.
type Users struct {
	// Whom people find who look for a user: shared, those with whom they share a room and those in rooms
	// that anybody may join or read; or all, everybody on this server besides.
	Directory string `yaml:"directory"`
}

// Notices says in whose name the server tells its users something, in a room with each of them.
type Notices struct {
	// Whether administrators can send notices.
	Enabled bool `yaml:"enabled"`
	// The user who sends them, which nobody can register. Do not change it once there were notices.
	Localpart string `yaml:"localpart"`
	// Their name.
	DisplayName string `yaml:"display_name"`
	// Their picture, an mxc:// address.
	AvatarURL string `yaml:"avatar_url"`
	// The name of the rooms.
	RoomName string `yaml:"room_name"`
}

// NoticesFrom is the user who sends the server's notices; empty: there are none.
func (c *Config) NoticesFrom() matrix.UserID {
	if !c.Notices.Enabled {
		return ""
	}
	return matrix.UserID("@" + c.Notices.Localpart + ":" + string(c.ServerName))
}

// Log says what is written about what happens.
type Log struct {
	// debug, info, warn or error. Reloaded on SIGHUP.
	Level string `yaml:"level"`
	// text, json, or auto: text on a terminal and JSON otherwise.
	Format string `yaml:"format"`
}

// Metrics says where figures are served.
type Metrics struct {
	// Host and port, such as 127.0.0.1:9090. Empty is off.
	Address string `yaml:"address"`
}

// Default gives the settings that hold where a file says nothing.
func Default() *Config {
	return &Config{
		DataDir:     "data",
		CacheMemory: 128 << 20,
		Listeners:   []Listener{{Address: "127.0.0.1:8008"}},
		Passwords: Passwords{
			MinimumLength: 8, Hash: "argon2id", Argon2Memory: 19 * 1024, Argon2Passes: 2, Argon2Threads: 1, BcryptCost: 12,
		},
		Sessions:      Sessions{AccessTokenLifetime: Duration(24 * time.Hour), LoginTokens: true},
		Rooms:         Rooms{DefaultVersion: rules.Default, KeepRedacted: Duration(7 * 24 * time.Hour)},
		Presence:      Presence{Enabled: true, MaxRoomMembers: 100},
		DelayedEvents: DelayedEvents{MaxScheduled: 100, MaxDelay: Duration(30 * 24 * time.Hour)},
		Media:         defaultMedia(),
		Users:         Users{Directory: "shared"},
		Notices:       Notices{Enabled: true, Localpart: "_server", DisplayName: "Server Notices", RoomName: "Server Notices"},
		RateLimits:    defaultLimits(),
		Clients:       Clients{QueryAccessToken: true, MaxBody: 1 << 20, ParkAfter: Duration(2 * time.Second), LargeRoom: 250},
		Calls:         Calls{TURN: TURN{Lifetime: Duration(24 * time.Hour)}},
		Federation:    Federation{Enabled: true, PublicRooms: true, KeyNotaries: []matrix.ServerName{"matrix.org"}},
		Log:           Log{Level: "info", Format: "auto"},
	}
}

// defaultLimits let a busy person with several clients pass, and stop a script. Addresses get more than
// accounts, since a household or an office shares one.
func defaultLimits() RateLimits {
	class := func(account, address float64, burst int) LimitClass {
		return LimitClass{
			Account: Rate{PerSecond: account, Burst: burst},
			Address: Rate{PerSecond: address, Burst: 4 * burst},
		}
	}
	return RateLimits{
		Enabled:   true,
		Login:     LimitClass{Account: Rate{PerSecond: 0.2, Burst: 10}, Address: Rate{PerSecond: 0.5, Burst: 20}},
		Register:  LimitClass{Address: Rate{PerSecond: 0.1, Burst: 5}},
		Message:   class(10, 100, 50),
		Ephemeral: class(20, 200, 100),
		Join:      class(1, 10, 30),
		Invite:    class(0.5, 5, 30),
		Create:    class(0.2, 2, 20),
		Search:    class(2, 20, 20),
		Profile:   class(0.5, 5, 10),
		Keys:      class(20, 200, 100),
		Report:    class(0.2, 1, 10),
		Redact:    LimitClass{Account: Rate{PerSecond: 20, Burst: 500}},
		Upload:    class(2, 10, 50),
		Download:  class(50, 200, 500),
		Preview:   class(0.5, 5, 20),
		Servers: ServerLimits{
			Requests: Rate{PerSecond: 100, Burst: 2000}, Handshakes: Rate{PerSecond: 10, Burst: 300}, Rooms: Rate{PerSecond: 20, Burst: 500},
		},
	}
}
