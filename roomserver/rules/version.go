package rules

import (
	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// Default is the version of new rooms.
const Default matrix.RoomVersion = "12"

// Algorithm names a state resolution algorithm.
type Algorithm int

// The state resolution algorithms.
const (
	ResolutionV1  Algorithm = iota + 1 // room version 1
	ResolutionV2                       // room versions 2 to 11
	ResolutionV21                      // room version 12
)

// Version is the rules of a room version, as switches that the code reads. Each is named for what it
// turns on, so that no code compares version numbers.
//
// Spec: Room Versions.
type Version struct {
	ID matrix.RoomVersion

	// The form of events.

	EventIDInside    bool // 1–2: event_id is a member, and references carry hashes
	StandardBase64   bool // 3: ids are in the standard alphabet, in 4 and later in the URL-safe one
	StrictJSON       bool // 6+: canonical JSON is enforced
	RedactsInContent bool // 11+: a redaction names its target in its content
	RoomIDIsHash     bool // 12+: the room's id is the hash of its create event, which has no room_id

	// The form of redacted events.

	KeepsOldMembers    bool // 1–10: origin, membership and prev_state are kept
	KeepsAliases       bool // 1–5: the aliases of m.room.aliases are kept
	KeepsAllow         bool // 8+: the allow of m.room.join_rules is kept
	KeepsAuthorisedVia bool // 9+: the join_authorised_via_users_server of m.room.member is kept
	KeepsWholeCreate   bool // 11+: the whole content of m.room.create is kept, invite of m.room.power_levels, and third_party_invite.signed

	// Authorization and resolution.

	Resolution         Algorithm
	KeyValidity        bool // 5+: a signature counts only where its key was valid at the event's time
	AliasesByServer    bool // 1–5: m.room.aliases is allowed by the server in its state key
	RedactsByServer    bool // 1–2: a redaction may be allowed by the server in the event id
	NotificationLevels bool // 6+: changes of the notifications levels are checked
	Knocking           bool // 7+
	RestrictedJoins    bool // 8+
	KnockRestricted    bool // 10+
	IntegerLevels      bool // 10+: power levels are integers, never strings
	CreatorInContent   bool // 1–10: the creator is named by the content of the create event
	PrivilegedCreators bool // 12+: creators stand above all power levels, additional_creators are checked
	CreateInAuthEvents bool // 1–11: events name the create event among their auth events
	SignedByAuthoriser bool // 8+: a restricted join is signed by the authorising server too

	OwnedKeys bool // trials of MSC3757: a state key may begin with the id of its owner
}

// table builds the versions. Each line is what the version changed.
func table() []*Version {
	v := Version{
		ID: "1", EventIDInside: true, KeepsOldMembers: true, KeepsAliases: true, Resolution: ResolutionV1,
		AliasesByServer: true, RedactsByServer: true, CreatorInContent: true, CreateInAuthEvents: true,
	}
	changes := []func(*Version){
		func(v *Version) { v.Resolution = ResolutionV2 },
		func(v *Version) { v.EventIDInside, v.RedactsByServer, v.StandardBase64 = false, false, true },
		func(v *Version) { v.StandardBase64 = false },
		func(v *Version) { v.KeyValidity = true },
		func(v *Version) {
			v.StrictJSON, v.NotificationLevels, v.AliasesByServer, v.KeepsAliases = true, true, false, false
		},
		func(v *Version) { v.Knocking = true },
		func(v *Version) { v.RestrictedJoins, v.SignedByAuthoriser, v.KeepsAllow = true, true, true },
		func(v *Version) { v.KeepsAuthorisedVia = true },
		func(v *Version) { v.KnockRestricted, v.IntegerLevels = true, true },
		func(v *Version) {
			v.RedactsInContent, v.KeepsOldMembers, v.KeepsWholeCreate = true, false, true
			v.CreatorInContent = false
		},
		func(v *Version) {
			v.RoomIDIsHash, v.PrivilegedCreators, v.CreateInAuthEvents, v.Resolution = true, true, false, ResolutionV21
		},
	}
	names := []matrix.RoomVersion{"2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"}
	first := v
	all := []*Version{&first}
	for i, change := range changes {
		change(&v)
		v.ID = names[i]
		next := v
		all = append(all, &next)
	}
	return all
}

var versions, trialVersions = table(), tableOfTrials()

// tableOfTrials builds room versions of proposals, for those who ask for them by name: those of MSC3757.
func tableOfTrials() []*Version {
	var all []*Version
	for _, of := range table() {
		if of.ID == "10" || of.ID == "11" {
			trial := *of
			trial.ID, trial.OwnedKeys = "org.matrix.msc3757."+of.ID, true
			all = append(all, &trial)
		}
	}
	return all
}

// Trials gives the room versions of proposals.
func Trials() []*Version { return trialVersions[:len(trialVersions):len(trialVersions)] }

// Versions gives all room versions of the specification, oldest first.
func Versions() []*Version { return versions[:len(versions):len(versions)] }

// ByID finds a room version.
func ByID(id matrix.RoomVersion) (*Version, bool) {
	for _, list := range [...][]*Version{versions, trialVersions} {
		for _, v := range list {
			if v.ID == id {
				return v, true
			}
		}
	}
	return nil, false
}

// VersionIn reads the version of a room out of the content of its create event.
//
// Spec: CS m.room.create.
func VersionIn(create []byte) matrix.RoomVersion {
	value, ok := canonicaljson.Field(create, "room_version")
	if !ok {
		return "1"
	}
	id, _ := canonicaljson.Text(value)
	return matrix.RoomVersion(id)
}
