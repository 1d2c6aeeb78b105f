package matrix

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The identifiers of the protocol. A wrong one does not compile.
type (
	// UserID is a full user identifier, @localpart:server.
	UserID string
	// RoomID is !opaque:server up to room version 11, and !hash from room version 12.
	RoomID string
	// RoomAlias is a human-readable name of a room, #localpart:server.
	RoomAlias string
	// EventID is $opaque:server in room versions 1 and 2, and $hash from room version 3.
	EventID string
	// ServerName is the domain of a server, with an optional port.
	ServerName string
	// DeviceID is a client's session, opaque and unique within a user.
	DeviceID string
	// RoomVersion names the rules of a room, "1" to "12" for the stable ones.
	RoomVersion string
	// KeyID names a signing key, algorithm:version.
	KeyID string
	// Membership is the value of a member event.
	Membership string
)

// The memberships of the specification.
const (
	Join   Membership = "join"
	Invite Membership = "invite"
	Leave  Membership = "leave"
	Ban    Membership = "ban"
	Knock  Membership = "knock"
)

// MaxIDLength bounds user, room, alias and event identifiers, in bytes.
//
// Spec: CS "Size limits", Appendices "Common Identifier Format".
const MaxIDLength = 255

// Localpart is the part between the sigil and the first colon.
func (u UserID) Localpart() string { return localpart(string(u)) }

// Server is the domain of the user.
func (u UserID) Server() ServerName { return domain(string(u)) }

// Shard is the user's place in tables that are distributed by user: 0 to 255.
func (u UserID) Shard() int64 {
	h := fnv.New32a()
	h.Write([]byte(u))
	return int64(h.Sum32() & 0xff)
}

// Server is the domain of the room's creator, empty for rooms of version 12 and later.
func (r RoomID) Server() ServerName { return domain(string(r)) }

// Localpart is the part between the sigil and the first colon.
func (a RoomAlias) Localpart() string { return localpart(string(a)) }

// Server is the server that answers for the alias.
func (a RoomAlias) Server() ServerName { return domain(string(a)) }

// Server is the domain in an event identifier of room versions 1 and 2, empty in others.
func (e EventID) Server() ServerName { return domain(string(e)) }

func localpart(id string) string {
	local, _, _ := strings.Cut(id, ":")
	if local == "" {
		return ""
	}
	return local[1:]
}

func domain(id string) ServerName {
	_, server, _ := strings.Cut(id, ":")
	return ServerName(server)
}

// ParseUserID reads a user identifier by the historical grammar, which is what other servers may
// send: any non-empty localpart of valid text without NUL or colon, and a valid server name.
//
// Spec: Appendices "User Identifiers", "Historical User IDs".
func ParseUserID(s string) (UserID, error) {
	local, err := parseID(s, '@', "user ID")
	if err != nil {
		return "", err
	}
	if local == "" {
		return "", InvalidParam("user ID %s has an empty localpart", shown(s))
	}
	return UserID(s), nil
}

// ParseLocalpart checks the localpart of a user to be made on this server by the strict grammar.
//
// Spec: Appendices "User Identifiers".
func ParseLocalpart(s string, server ServerName) (UserID, error) {
	if s == "" {
		return "", E(CodeInvalidUsername, "a username cannot be empty")
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("._=-/+", c) >= 0:
		default:
			return "", E(CodeInvalidUsername, "a username may only have the characters a-z, 0-9, and ._=-/+")
		}
	}
	id := "@" + s + ":" + string(server)
	if len(id) > MaxIDLength {
		return "", E(CodeInvalidUsername, "a user ID cannot be longer than %d bytes", MaxIDLength)
	}
	return UserID(id), nil
}

// ParseRoomID reads a room identifier of any room version.
//
// Spec: Appendices "Room IDs".
func ParseRoomID(s string) (RoomID, error) {
	if len(s) < 2 || s[0] != '!' || len(s) > MaxIDLength || !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return "", InvalidParam("%s is not a room ID", shown(s))
	}
	if _, server, found := strings.Cut(s, ":"); found {
		if _, err := ParseServerName(server); err != nil {
			return "", InvalidParam("room ID %s has a bad server name", shown(s))
		}
	}
	return RoomID(s), nil
}

// ParseRoomAlias reads a room alias.
//
// Spec: Appendices "Room Aliases".
func ParseRoomAlias(s string) (RoomAlias, error) {
	local, err := parseID(s, '#', "room alias")
	if err != nil {
		return "", err
	}
	if local == "" {
		return "", InvalidParam("room alias %s has an empty localpart", shown(s))
	}
	return RoomAlias(s), nil
}

// ParseEventID reads an event identifier of any room version.
//
// Spec: Appendices "Event IDs".
func ParseEventID(s string) (EventID, error) {
	if len(s) < 2 || s[0] != '$' || len(s) > MaxIDLength || !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return "", InvalidParam("%s is not an event ID", shown(s))
	}
	return EventID(s), nil
}

// parseID checks sigil, length, text and server name, and gives the localpart.
func parseID(s string, sigil byte, kind string) (string, error) {
	if s == "" || s[0] != sigil {
		return "", InvalidParam("%s is not a %s: it must begin with %c", shown(s), kind, sigil)
	}
	if len(s) > MaxIDLength {
		return "", InvalidParam("a %s cannot be longer than %d bytes", kind, MaxIDLength)
	}
	local, server, found := strings.Cut(s[1:], ":")
	if !found {
		return "", InvalidParam("%s is not a %s: it has no server name", shown(s), kind)
	}
	if !utf8.ValidString(local) || strings.IndexByte(local, 0) >= 0 {
		return "", InvalidParam("%s is not a %s: it has bytes that are not text", shown(s), kind)
	}
	if _, err := ParseServerName(server); err != nil {
		return "", InvalidParam("%s %s has a bad server name", kind, shown(s))
	}
	return local, nil
}

// ParseServerName reads a server name: a DNS name, an IPv4 address or a bracketed IPv6 address,
// with an optional port.
//
// Spec: Appendices "Server Name".
func ParseServerName(s string) (ServerName, error) {
	bad := func() (ServerName, error) { return "", InvalidParam("%s is not a server name", shown(s)) }
	if s == "" || len(s) > 230 {
		return bad()
	}
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && s[len(s)-1] != ']' {
		host, port = s[:i], s[i+1:]
		if !validPort(port) {
			return bad()
		}
	}
	if !validHost(host) {
		return bad()
	}
	return ServerName(s), nil
}

func validPort(port string) bool {
	if port == "" || len(port) > 5 {
		return false
	}
	for i := 0; i < len(port); i++ {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
	}
	n, err := strconv.Atoi(port)
	return err == nil && n <= 65535
}

func validHost(host string) bool {
	if strings.HasPrefix(host, "[") {
		inner, found := strings.CutSuffix(host[1:], "]")
		if !found || strings.IndexByte(inner, '%') >= 0 {
			return false
		}
		addr, err := netip.ParseAddr(inner)
		return err == nil && addr.Is6()
	}
	if host == "" {
		return false
	}
	for i := 0; i < len(host); i++ {
		c := host[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}

// Split gives host and port of a server name; the port is empty where none is named. The brackets of
// an IPv6 address stay.
func (s ServerName) Split() (host, port string) {
	str := string(s)
	if i := strings.LastIndexByte(str, ':'); i >= 0 && str[len(str)-1] != ']' {
		return str[:i], str[i+1:]
	}
	return str, ""
}

// shown quotes foreign text for an error message, shortened to what helps.
func shown(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
