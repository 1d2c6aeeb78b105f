package homeserver

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"astrocyte/account"
	"astrocyte/appservice"
	"astrocyte/attached"
	"astrocyte/bus"
	"astrocyte/clientapi"
	"astrocyte/config"
	"astrocyte/delayed"
	"astrocyte/e2ee"
	"astrocyte/egress"
	"astrocyte/ephemeral"
	"astrocyte/federation"
	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/media"
	"astrocyte/policy"
	"astrocyte/push"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/syncapi"
)

// makeParts makes the parts from the ground up, and lists those that run.
func (s *Server) makeParts(ctx context.Context) error {
	c := s.o.Config
	wakes := s.makeBus()
	s.runs("bus", wakes.Run)

	var err error
	s.db, err = store.Open(ctx, store.Options{DSN: c.DSN(), Bus: wakes, Log: s.logOf("store")})
	if err != nil {
		return err
	}
	s.runs("store", s.db.Run)
	if err := s.makePeers(ctx); err != nil {
		return err
	}

	trusted := prefixesOf(c.TrustedProxies)
	s.accounts = account.New(account.Options{
		DB: s.db, Bus: wakes, Log: s.logOf("account"), Server: c.ServerName, Now: s.now,
		Registration: c.Registration, Passwords: c.Passwords, Sessions: c.Sessions,
		ClientAddress: func(r *http.Request) netip.Addr { return httpapi.ClientAddress(r, trusted) },
	})
	s.runs("account", s.accounts.Run)

	s.rooms = roomserver.New(roomserver.Options{
		DB: s.db, Server: c.ServerName, KeyID: s.key.ID, Key: s.key.Private, Memory: int64(c.CacheMemory),
		KeepRedacted: time.Duration(c.Rooms.KeepRedacted),
		Notices:      c.NoticesFrom(), MayInvite: s.accounts.MayInvite, Erased: s.accounts.Erased, Now: s.now, Log: s.logOf("rooms"),
	})
	s.rooms.OnPurge(roomserver.PurgeHooks{Deserted: []func(*store.Tx, roomserver.RoomNID, matrix.RoomID, []matrix.UserID) error{
		func(tx *store.Tx, _ roomserver.RoomNID, id matrix.RoomID, users []matrix.UserID) error {
			return account.ForgetRoom(tx, id, users)
		},
	}})
	s.runs("rooms", s.rooms.Run)
	s.makeRemote()
	s.policy = policy.New(policy.Options{
		DB: s.db, Rooms: s.rooms, Accounts: s.accounts, Notices: c.Notices, From: c.NoticesFrom(), Version: c.Rooms.DefaultVersion, Now: s.now,
	})
	if err := s.makeJobs(); err != nil {
		return err
	}

	passing := ephemeral.New(ephemeral.Options{ // before those who wait for the same: it hears first
		DB: s.db, Bus: wakes, Rooms: s.rooms, Log: s.logOf("ephemeral"), Now: s.now,
	})
	s.runs("ephemeral", passing.Run)
	pushing := push.New(push.Options{
		DB: s.db, Rooms: s.rooms, ReadUpTo: passing.ReadUpTo, Bus: wakes,
		Extras: push.Extras{LegacyMentions: c.Push.LegacyMentions, Threads: c.Push.ThreadSubscriptions},
		Log:    s.logOf("push"), Now: s.now,
		Egress: egress.New(egress.Options{AllowPrivate: c.Federation.AllowPrivateAddresses}),
	})
	passing.OnRead(pushing.HasRead)
	s.runs("push", pushing.Run)
	s.accounts.Use(func(h *account.Hooks) {
		h.DevicesGone = append(h.DevicesGone, pushing.DevicesGone)
		h.Deactivated = append(h.Deactivated, passing.Deactivated, pushing.Deactivated)
	})

	s.media, err = media.New(media.Options{
		DB: s.db, Server: c.ServerName, Config: c.Media, Folder: cmp.Or(c.Media.Folder, filepath.Join(c.DataDir, "media")),
		Log: s.logOf("media"), Now: s.now, Fetch: s.remote.Media,
	})
	if err != nil {
		return err
	}
	s.runs("media", s.media.Run)
	shown := attached.New(attached.Options{DB: s.db, Bus: wakes, Rooms: s.rooms, Media: s.media})
	s.runs("attached", shown.Run)

	encryption := e2ee.New(e2ee.Options{
		DB: s.db, Server: c.ServerName, Accounts: s.accounts, Rooms: s.rooms, Bus: wakes, Folder: c.DataDir, TellNames: c.Federation.DeviceNames, Log: s.logOf("e2ee"), Now: s.now,
	})
	if err := encryption.Open(ctx); err != nil {
		return err
	}
	s.runs("e2ee", encryption.Run)
	s.accounts.Use(func(h *account.Hooks) {
		h.DeviceRenamed = encryption.DeviceRenamed
		h.DevicesGone = append(h.DevicesGone, encryption.DevicesGone)
		h.Deactivated = append(h.Deactivated, encryption.Deactivated)
	})

	s.makeSender(wakes, encryption, passing)
	s.reach(encryption)
	s.makeSearch(wakes)
	if err := s.makeServices(wakes, passing, encryption); err != nil {
		return err
	}

	s.limiter = httpapi.NewLimiter(limitsOf(c.RateLimits), s.now)
	news := syncapi.New(syncapi.Options{
		DB: s.db, Bus: wakes, Rooms: s.rooms, Accounts: s.accounts, Ephemeral: passing, Push: pushing, Encryption: encryption,
		PresenceRoom: presenceRoom(c.Presence), ParkAfter: time.Duration(c.Clients.ParkAfter), LargeRoom: c.Clients.LargeRoom,
		Limiter: s.limiter, Log: s.logOf("sync"), Now: s.now,
	})
	s.runs("sync", news.Run)
	s.accounts.Use(func(h *account.Hooks) { h.DevicesGone = append(h.DevicesGone, news.DevicesGone) })

	later := delayed.New(delayed.Options{
		DB: s.db, Bus: wakes, Accounts: s.accounts, Rooms: s.rooms, Limiter: s.limiter, Limits: c.DelayedEvents,
		Log: s.logOf("delayed"), Now: s.now,
	})
	s.runs("delayed", later.Run)
	s.accounts.Use(func(h *account.Hooks) { h.Deactivated = append(h.Deactivated, later.Deactivated) })

	s.makeRouter(trusted)
	news.Routes(s.router)
	clientapi.New(clientapi.Parts{
		Server: c.ServerName, PublicURL: c.PublicURL, Support: c.Support, Accounts: s.accounts, Rooms: s.rooms,
		Ephemeral: passing, Push: pushing, Encryption: encryption, Media: s.media, Attached: shown, Search: s.search, Remote: s.remote, Sender: s.sender, Position: syncapi.Position, DefaultVersion: c.Rooms.DefaultVersion,
		Services: s.services,
		Delayed:  later,
		Policy:   s.policy,
		Calls:    c.Calls, Limiter: s.limiter, Now: s.now,
	}).Routes(s.router)
	s.federate(federation.Parts{Accounts: s.accounts, Services: s.services, Rooms: s.rooms, Encryption: encryption, Media: s.media, Push: pushing, Remote: s.remote, Inbound: s.makeInbound(encryption, passing)})
	return nil
}

// makeServices makes the application services, which reserve names and have tokens of their own.
func (s *Server) makeServices(wakes bus.Bus, passing *ephemeral.Ephemeral, encryption *e2ee.Encryption) error {
	registered, err := appservice.Load(s.o.Config.ApplicationServices, s.o.Config.ServerName)
	if err != nil {
		return err
	}
	s.services = appservice.New(appservice.Options{
		DB: s.db, Bus: wakes, Accounts: s.accounts, Rooms: s.rooms, Ephemeral: passing, Encryption: encryption,
		PresenceRoom: presenceRoom(s.o.Config.Presence), Services: registered, Log: s.logOf("appservice"),
	})
	s.rooms.OnOutside(s.services.Outside)
	notices := s.o.Config.NoticesFrom()
	s.accounts.Use(func(h *account.Hooks) {
		h.Reserved = func(u matrix.UserID) bool { return u == notices || s.services.Reserves(u) }
	})
	s.runs("appservice", s.services.Run)
	return nil
}

// makeBus makes what wakes sleepers: of this node, and over PostgreSQL those of the others as well.
func (s *Server) makeBus() bus.Bus {
	local := bus.NewLocal()
	if dsn := s.o.Config.DSN(); !strings.HasPrefix(dsn, "sqlite:") {
		return bus.NewPostgres(dsn, local, s.logOf("bus"))
	}
	return local
}

// makeRouter makes the HTTP layer and gives it the routes of all doors.
func (s *Server) makeRouter(trusted []netip.Prefix) {
	c := s.o.Config
	s.router = httpapi.New(httpapi.Options{
		Log:             s.logOf("http"),
		Authenticate:    s.services.Authenticate(s.accounts.Authenticate),
		VerifySignature: s.verify,
		Limiter:         s.limiter,
		TrustedProxies:  trusted,
		NoQueryToken:    !c.Clients.QueryAccessToken,
		BodyLimit:       int64(c.Clients.MaxBody),
	})
	s.healthRoutes(s.router)
}

// presenceRoom is how many members a room has at most whose members are told of the presence of each other.
func presenceRoom(c config.Presence) int {
	if !c.Enabled {
		return 0
	}
	return c.MaxRoomMembers
}
