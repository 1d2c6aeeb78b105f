package rules

import (
	"crypto/ed25519"
	"strings"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// judgeMember allows or refuses a change of a membership. No rule below looks at member events.
//
// Spec: Room Versions "Authorization rules", "If type is m.room.member".
func judgeMember(c *check) (verdict, error) {
	if c.e.typ != "m.room.member" {
		return next, nil
	}
	m := c.e.MemberContent()
	if !c.isState || !m.hasMembership {
		return next, refuse("member-form", "a member event needs a state key and a membership")
	}
	if strings.IndexByte(c.key, ':') < 0 && c.key != "" {
		return next, refuse("member-form", "the state key of a member event must be a user ID")
	}
	var err error
	switch m.Membership {
	case matrix.Join:
		err = c.join(m)
	case matrix.Invite:
		err = c.invite(m)
	case matrix.Leave:
		err = c.leave()
	case matrix.Ban:
		err = c.ban()
	case matrix.Knock:
		err = c.knock()
	default:
		err = refuse("membership", "there is no membership %.40q", string(m.Membership))
	}
	return allow, err
}

// join is "If membership is join".
func (c *check) join(m *MemberContent) error {
	if c.e.version.RestrictedJoins && m.hasAuthorised && m.AuthorisedVia.Server() == "" {
		return refuse("authoriser", "join_authorised_via_users_server is not a user ID")
	}
	if c.firstJoin() {
		return nil
	}
	now := c.membership(c.key)
	switch {
	case c.key != string(c.e.sender):
		return refuse("join-other", "you can join for yourself only")
	case now == matrix.Ban:
		return refuse("join-banned", "you are banned from the room")
	}
	rules := c.joinRules()
	switch {
	case rules.Rule == "public":
		return nil
	case rules.Rule == "invite", rules.Knockable(c.e.version):
		if now == matrix.Join || now == matrix.Invite {
			return nil
		}
		if !rules.Restricted(c.e.version) {
			return refuse("join-uninvited", "you need an invite to join the room")
		}
	case !rules.Restricted(c.e.version):
		return refuse("join-rule", "the join rule of the room, %.40q, lets nobody in", rules.Rule)
	}
	if now == matrix.Join || now == matrix.Invite {
		return nil
	}
	return c.authorised(m)
}

// firstJoin says whether this is the join of the creator, right after the create event.
func (c *check) firstJoin() bool {
	return len(c.e.prev) == 1 && c.e.prev[0] == c.create.id && c.key == string(c.create.Create().Creator())
}

func (c *check) joinRules() *JoinRules {
	if jr := c.state("m.room.join_rules", ""); jr != nil {
		return jr.JoinRules()
	}
	return &JoinRules{Rule: "invite"}
}

// authorised is what a join of a restricted room needs, where the user has no invite.
func (c *check) authorised(m *MemberContent) error {
	switch {
	case !m.hasAuthorised:
		return refuse("join-unauthorised", "you need an invite to join the room, or to be in one of the rooms that it lets in")
	case c.membership(string(m.AuthorisedVia)) != matrix.Join:
		return refuse("authoriser-joined", "%s, who let you in, is not in the room", m.AuthorisedVia)
	case !c.levels().MayInvite(m.AuthorisedVia):
		return refuse("authoriser-level", "%s, who let you in, may not invite to the room", m.AuthorisedVia)
	}
	return nil
}

// invite is "If membership is invite".
func (c *check) invite(m *MemberContent) error {
	if m.thirdParty != nil {
		return c.thirdPartyInvite(m)
	}
	if _, err := needJoined(c); err != nil {
		return err
	}
	switch c.membership(c.key) {
	case matrix.Join:
		return refuse("invite-joined", "%s is already in the room", c.key)
	case matrix.Ban:
		return refuse("invite-banned", "%s is banned from the room", c.key)
	}
	return c.needLevel("invite-level", c.levels().Invite(), "invite")
}

// thirdPartyInvite is "If content has a third_party_invite property".
func (c *check) thirdPartyInvite(m *MemberContent) error {
	if c.membership(c.key) == matrix.Ban {
		return refuse("invite-banned", "%s is banned from the room", c.key)
	}
	signed, ok := canonicaljson.Field(m.thirdParty, "signed")
	if !ok {
		return refuse("3pid-signed", "the third-party invite is not signed")
	}
	user, hasUser := field(signed, "mxid")
	token, hasToken := field(signed, "token")
	if !hasUser || !hasToken {
		return refuse("3pid-form", "the third-party invite has no mxid or no token")
	}
	if user != c.key {
		return refuse("3pid-user", "the third-party invite is not for %s", c.key)
	}
	offer := c.state("m.room.third_party_invite", token)
	switch {
	case offer == nil:
		return refuse("3pid-token", "the room does not know the third-party invite")
	case offer.sender != c.e.sender:
		return refuse("3pid-sender", "the third-party invite was sent by somebody else")
	case !signedByAny(signed, offer.thirdPartyKeys().keys):
		return refuse("3pid-signature", "the signature of the third-party invite does not fit")
	}
	return nil
}

func field(object []byte, name string) (string, bool) {
	value, ok := canonicaljson.Field(object, name)
	if !ok {
		return "", false
	}
	return canonicaljson.Text(value)
}

// signedByAny says whether the signature of a third-party invite is one of these keys'. Where there are
// several signatures only the first counts: the words would take any, but the servers about give up at
// the first one that does not fit.
func signedByAny(signed []byte, keys [][]byte) bool {
	server, keyID, ok := firstSignature(signed)
	if !ok {
		return false
	}
	for _, key := range keys {
		if canonicaljson.Verify(signed, server, keyID, ed25519.PublicKey(key)) == nil {
			return true
		}
	}
	return false
}

func firstSignature(signed []byte) (server, keyID string, ok bool) {
	all, _ := canonicaljson.Field(signed, "signatures")
	for servers := canonicaljson.Walk(all); servers.Next(); {
		for sigs := canonicaljson.Walk(servers.Value()); sigs.Next(); {
			if id := sigs.Key(); strings.HasPrefix(id, "ed25519:") {
				return servers.Key(), id, true
			}
		}
	}
	return "", "", false
}

// leave is "If membership is leave": a user who goes, and kicks and the lifting of bans.
func (c *check) leave() error {
	now := c.membership(c.key)
	if c.key == string(c.e.sender) {
		if now == matrix.Join || now == matrix.Invite || now == matrix.Knock && c.e.version.Knocking {
			return nil
		}
		return refuse("leave-outside", "you are not in the room")
	}
	if _, err := needJoined(c); err != nil {
		return err
	}
	if now == matrix.Ban {
		if err := c.needLevel("unban-level", c.levels().Ban(), "lift a ban"); err != nil {
			return err
		}
	}
	if err := c.needLevel("kick-level", c.levels().Kick(), "remove somebody"); err != nil {
		return err
	}
	return c.needAbove("kick-above", "remove")
}

// needAbove refuses what is done to somebody of the same or more power.
func (c *check) needAbove(rule, deed string) error {
	target, own := c.levels().User(matrix.UserID(c.key)), c.own()
	if target < own {
		return nil
	}
	return refuse(rule, "you cannot %s %s: their power level is %s, yours is %s", deed, c.key, target, own)
}

// ban is "If membership is ban".
func (c *check) ban() error {
	if _, err := needJoined(c); err != nil {
		return err
	}
	if err := c.needLevel("ban-level", c.levels().Ban(), "ban"); err != nil {
		return err
	}
	return c.needAbove("ban-above", "ban")
}

// knock is "If membership is knock".
func (c *check) knock() error {
	v := c.e.version
	if !v.Knocking {
		return refuse("membership", "rooms of version %s know no knocking", v.ID)
	}
	if !c.joinRules().Knockable(v) {
		return refuse("knock-rule", "the room does not let anybody knock")
	}
	if c.key != string(c.e.sender) {
		return refuse("knock-other", "you can knock for yourself only")
	}
	switch c.membership(c.key) {
	case matrix.Ban:
		return refuse("knock-banned", "you are banned from the room")
	case matrix.Invite:
		return refuse("knock-invited", "you are invited to the room, and need not knock")
	case matrix.Join:
		return refuse("knock-joined", "you are in the room")
	}
	return nil
}
