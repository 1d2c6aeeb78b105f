package rules

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// PolicyKeyID is the key by which a policy server signs the events that it recommends. It stands in the state of
// the room, and in no server's list of keys.
const PolicyKeyID matrix.KeyID = "ed25519:policy_server"

// The types of the state event that names the policy server of a room: that of the specification, and the one from
// before it, which rooms still have.
const (
	policyType    = "m.room.policy"
	oldPolicyType = "org.matrix.msc4284.policy"
)

// PolicyTypes are the types of the state events that may name a room's policy server, the one that counts first.
func PolicyTypes() []string { return []string{policyType, oldPolicyType} }

// PolicyServer is who recommends events for a room, or does not.
//
// Spec: SS "Policy Servers", CS m.room.policy.
type PolicyServer struct {
	Server matrix.ServerName
	Key    ed25519.PublicKey
	// Old says that the room names it in the way from before the specification.
	Old bool
}

// PolicyServer reads which server a state event names as the policy server of its room; nil where it names none that
// could sign anything.
func (e *Event) PolicyServer() *PolicyServer {
	if e.typ != policyType && e.typ != oldPolicyType || e.key != "" {
		return nil
	}
	p := &PolicyServer{Old: e.typ == oldPolicyType}
	raw, _ := canonicaljson.Field(e.Content(), "via")
	via, _ := canonicaljson.Text(raw)
	key, found := canonicaljson.Field(e.Content(), "public_keys", "ed25519")
	if !found && p.Old {
		key, _ = canonicaljson.Field(e.Content(), "public_key")
	}
	text, _ := canonicaljson.Text(key)
	var err error
	if p.Server, err = matrix.ParseServerName(via); err != nil {
		return nil
	}
	if p.Key, err = anyBase64(text); err != nil || len(p.Key) != ed25519.PublicKeySize {
		return nil
	}
	return p
}

// anyBase64 reads base64 of either alphabet, padded or not: all of them are met.
func anyBase64(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.DecodeString(text)
}

// Exempts says whether an event needs no recommendation: the one by which a room names its policy server, or does
// without one.
func (p *PolicyServer) Exempts(tp string, key *string) bool {
	return key != nil && *key == "" && (tp == policyType || p.Old && tp == oldPolicyType)
}

// RecommendedBy says whether a policy server has signed the event.
//
// Spec: SS "Validating Policy Server signatures".
func (e *Event) RecommendedBy(p *PolicyServer) bool {
	return e.VerifySignature(p.Server, PolicyKeyID, p.Key) == nil
}

// WithRecommendation gives the event with the signature of a policy server, in base64, which must fit. The other
// signatures stay.
func (e *Event) WithRecommendation(p *PolicyServer, signature string) (*Event, error) {
	sig, err := anyBase64(signature)
	if err != nil || len(sig) != ed25519.SignatureSize {
		return nil, fmt.Errorf("%w: that of %s is no signature", ErrSignature, p.Server)
	}
	s := e.withSignature(p.Server, PolicyKeyID, sig)
	if !s.RecommendedBy(p) {
		return nil, fmt.Errorf("%w: that of %s does not fit the key in the room's state", ErrSignature, p.Server)
	}
	if len(s.raw)+len(emptyUnsigned) > maxEvent {
		return nil, matrix.E(matrix.CodeTooLarge, "with its signatures the event is larger than %d bytes", maxEvent)
	}
	return s, nil
}
