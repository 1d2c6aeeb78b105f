package homeserver

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"astrocyte/bus"
	"astrocyte/config"
	"astrocyte/e2ee"
	"astrocyte/egress"
	"astrocyte/ephemeral"
	"astrocyte/federation"
	"astrocyte/federation/inbound"
	"astrocyte/federation/peer"
	"astrocyte/federation/remote"
	"astrocyte/federation/sender"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

// makePeers makes what finds other servers and speaks with them.
func (s *Server) makePeers(ctx context.Context) error {
	c := s.o.Config.Federation
	var err error
	if s.authorities, err = authoritiesOf(c.CertificateAuthorities); err != nil {
		return err
	}
	s.outside = egress.New(egress.Options{AllowPrivate: c.AllowPrivateAddresses})
	admission := peer.Admit(c.Allow, c.Deny)
	admission.None = !c.Enabled
	s.peers = peer.New(peer.Options{
		Server: s.o.Config.ServerName, KeyID: s.key.ID, Key: s.key.Private,
		Egress: s.outside, CAs: s.authorities, Admission: admission, Agent: s.agent(), Log: s.logOf("peers"), Now: s.now,
	})
	s.keys = peer.NewKeys(peer.KeysOptions{DB: s.db, Client: s.peers, Notaries: c.KeyNotaries, Old: oldKeysOf(c.OldKeys)})
	return s.keys.Open(ctx)
}

// makeRemote makes what acts on other servers.
func (s *Server) makeRemote() {
	s.remote = remote.New(remote.Options{
		DB: s.db, Client: s.peers, Keys: s.keys, Rooms: s.rooms, KeyID: s.key.ID, Key: s.key.Private,
		Egress: s.outside, CAs: s.authorities, Dir: s.o.Config.DataDir, Log: s.logOf("remote"), Now: s.now,
	})
	s.rooms.Reach(roomserver.Remote{
		Recommend: s.remote.Recommend,
		RoomOfAlias: func(ctx context.Context, alias matrix.RoomAlias) (matrix.RoomID, error) {
			room, _, err := s.remote.RoomOfAlias(ctx, alias)
			return room, err
		},
	})
}

// makeSender makes what brings events and EDUs to other servers.
func (s *Server) makeSender(wakes bus.Bus, encryption *e2ee.Encryption, passing *ephemeral.Ephemeral) {
	if !s.o.Config.Federation.Enabled {
		return
	}
	s.sender = sender.New(sender.Options{
		DB: s.db, Bus: wakes, Rooms: s.rooms, Client: s.peers, Encryption: encryption, Log: s.logOf("sender"), Now: s.now,
	})
	abroad := 0
	if s.o.Config.Presence.Federation {
		abroad = presenceRoom(s.o.Config.Presence)
	}
	passing.Tell(s.sender.Abroad(abroad))
	s.remote.Behind(s.sender.Settle)
	s.runs("sender", s.sender.Run)
}

// makeInbound makes what takes the transactions of other servers.
func (s *Server) makeInbound(encryption *e2ee.Encryption, passing *ephemeral.Ephemeral) *inbound.Inbound {
	if !s.o.Config.Federation.Enabled {
		return nil
	}
	in := inbound.New(inbound.Options{
		DB: s.db, Rooms: s.rooms, Keys: s.keys, Remote: s.remote, Encryption: encryption, Ephemeral: passing,
		Presence: s.o.Config.Presence.Enabled && s.o.Config.Presence.Federation, Log: s.logOf("inbound"), Now: s.now,
	})
	s.runs("inbound", in.Run)
	return in
}

// verify finds the server that signed a request. One that was left alone is heard of by it.
func (s *Server) verify(r *http.Request, read func() ([]byte, error)) (matrix.ServerName, error) {
	origin, err := s.keys.VerifyRequest(r, read)
	if err == nil && s.sender != nil {
		s.sender.Contact(origin)
	}
	return origin, err
}

// reach gives the encryption its way to other servers.
func (s *Server) reach(encryption *e2ee.Encryption) {
	if !s.o.Config.Federation.Enabled {
		return
	}
	encryption.Reach(e2ee.Remote{QueryKeys: s.remote.QueryKeys, ClaimKeys: s.remote.ClaimKeys, Devices: s.remote.Devices, Waiting: s.sender.Wake})
}

// federate opens the door to other servers.
func (s *Server) federate(p federation.Parts) {
	c := s.o.Config
	if !c.Federation.Enabled {
		return
	}
	p.Server, p.Version, p.WellKnown = c.ServerName, cmp.Or(s.o.Version, "unknown"), string(c.Federation.WellKnown)
	p.Keys, p.Directory, p.Now = s.keys, c.Federation.PublicRooms, s.now
	federation.New(p).Routes(s.router)
}

// agent is what the server calls itself when it asks others.
func (s *Server) agent() string {
	version, _, _ := strings.Cut(cmp.Or(s.o.Version, "unknown"), " ")
	return "Astrocyte/" + version
}

// authoritiesOf reads further certificate authorities, beside those of the system.
func authoritiesOf(files []string) (*x509.CertPool, error) {
	if len(files) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's certificate authorities: %w", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read a certificate authority: %w", err)
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificate", file)
		}
	}
	return pool, nil
}

func oldKeysOf(settings []config.OldKey) []peer.OldKey {
	var all []peer.OldKey
	for _, k := range settings {
		public, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(k.Public, "="))
		if err != nil {
			continue // checked with the settings
		}
		all = append(all, peer.OldKey{ID: k.ID, Public: public, Expired: time.UnixMilli(k.Expired)})
	}
	return all
}
