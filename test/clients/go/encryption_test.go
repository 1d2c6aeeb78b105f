package clients

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/backup"
	"maunium.net/go/mautrix/crypto/ssss"
	"maunium.net/go/mautrix/crypto/verificationhelper"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// encryption is the cryptography of one client: the library's machine, and what it could not read yet.
type encryption struct {
	*crypto.OlmMachine
	p        *person
	verifier *verificationhelper.VerificationHelper
	seen     *verifications
	born     time.Time // what was said before is not for this device

	mu     sync.Mutex
	sealed map[id.EventID]*event.Event // whose key has not come yet
	failed map[id.EventID]error        // that cannot be read, whatever comes
}

// encrypts gives a client its cryptography. It is called before the client listens.
func (p *person) encrypts() {
	p.t.Helper()
	state := mautrix.NewMemoryStateStore().(*mautrix.MemoryStateStore)
	state.JoinRules = make(map[id.RoomID]*event.JoinRulesEventContent) // the library forgets it
	p.StateStore = state
	e := &encryption{p: p, born: time.Now(), sealed: make(map[id.EventID]*event.Event), failed: make(map[id.EventID]error)}
	store := crypto.NewMemoryStore(func() error { return nil })
	e.OlmMachine = crypto.NewOlmMachine(p.Client, &p.Log, store, state)
	p.crypto, p.Crypto = e, e
	e.seen = newVerifications()
	e.verifier = verificationhelper.NewVerificationHelper(p.Client, e.OlmMachine, nil, e.seen, false, false, true)
	p.syncing.OnSync(e.ProcessSyncResponse)
	p.syncing.OnEvent(p.StateStoreSyncHandler)
	p.syncing.OnEventType(event.StateMember, e.HandleMemberEvent)
	p.syncing.OnEventType(event.EventEncrypted, e.read)
	p.syncing.OnSync(func(ctx context.Context, _ *mautrix.RespSync, _ string) bool {
		e.readAgain(ctx)
		return true
	})
	if err := e.Init(p.ctx); err != nil {
		p.t.Fatalf("%s begins to encrypt: %v", p.UserID, err)
	}
}

// Init uploads the keys of the device, and looks for the user's other devices: the library's store in memory
// takes the one that it has for all of them.
func (e *encryption) Init(ctx context.Context) error {
	if err := errors.Join(e.Load(ctx), e.ShareKeys(ctx, -1), e.verifier.Init(ctx)); err != nil {
		return err
	}
	_, err := e.FetchKeys(ctx, []id.UserID{e.p.UserID}, true)
	return err
}

// Encrypt is how the client encrypts what it sends to an encrypted room.
func (e *encryption) Encrypt(ctx context.Context, room id.RoomID, tp event.Type, content any) (*event.EncryptedEventContent, error) {
	sealed, err := e.EncryptMegolmEvent(ctx, room, tp, content)
	if err == nil || !crypto.IsShareError(err) {
		return sealed, err
	}
	users, err := e.p.StateStore.GetRoomJoinedOrInvitedMembers(ctx, room)
	if err != nil {
		return nil, err
	}
	if err := e.ShareGroupSession(ctx, room, users); err != nil {
		return nil, fmt.Errorf("share the key: %w", err)
	}
	return e.EncryptMegolmEvent(ctx, room, tp, content)
}

// Decrypt is how the client reads what it asks for.
func (e *encryption) Decrypt(ctx context.Context, ev *event.Event) (*event.Event, error) {
	return e.DecryptMegolmEvent(ctx, ev)
}

// RequestSession asks nobody: every key has to come by itself.
func (e *encryption) RequestSession(context.Context, id.RoomID, id.SenderKey, id.SessionID, id.UserID, id.DeviceID) {
}

// read reads an encrypted event of the sync. One whose key is missing waits for it.
func (e *encryption) read(ctx context.Context, ev *event.Event) {
	plain, err := e.DecryptMegolmEvent(ctx, ev)
	e.mu.Lock()
	switch {
	case err == nil:
		delete(e.sealed, ev.ID)
	case errors.Is(err, crypto.NoSessionFound):
		if ev.Timestamp < e.born.UnixMilli() {
			break
		}
		e.sealed[ev.ID] = ev
	default:
		delete(e.sealed, ev.ID)
		e.failed[ev.ID] = err
	}
	e.mu.Unlock()
	if err == nil {
		e.p.syncing.Dispatch(ctx, plain)
	}
}

func (e *encryption) readAgain(ctx context.Context) {
	e.mu.Lock()
	var all []*event.Event
	for _, ev := range e.sealed {
		all = append(all, ev)
	}
	e.mu.Unlock()
	for _, ev := range all {
		e.read(ctx, ev)
	}
}

// readsAll wants that nothing is left that could not be read.
func (p *person) readsAll() {
	p.t.Helper()
	p.crypto.mu.Lock()
	defer p.crypto.mu.Unlock()
	for id := range p.crypto.sealed {
		p.t.Errorf("%s %s never got the key of %s", p.UserID, p.DeviceID, id)
	}
	for id, err := range p.crypto.failed {
		p.t.Errorf("%s %s cannot read %s: %v", p.UserID, p.DeviceID, id, err)
	}
}

// backsUp makes a backup of all room keys that a client has, and keeps its key in the secret storage.
func (p *person) backsUp(recovery string) {
	p.t.Helper()
	key, err := backup.NewMegolmBackupKey()
	if err != nil {
		p.t.Fatal(err)
	}
	version, err := p.CreateKeyBackupVersion(p.ctx, &mautrix.ReqRoomKeysVersionCreate[backup.MegolmAuthData]{
		Algorithm: id.KeyBackupAlgorithmMegolmBackupV1,
		AuthData:  backup.MegolmAuthData{PublicKey: id.Ed25519(base64.RawStdEncoding.EncodeToString(key.PublicKey().Bytes()))},
	})
	if err != nil {
		p.t.Fatalf("%s makes a backup: %v", p.UserID, err)
	}
	sessions, err := p.crypto.CryptoStore.GetAllGroupSessions(p.ctx).AsList()
	if err != nil {
		p.t.Fatal(err)
	}
	keys := mautrix.ReqKeyBackup{Rooms: make(map[id.RoomID]mautrix.ReqRoomKeyBackup)}
	for _, s := range sessions {
		if keys.Rooms[s.RoomID].Sessions == nil {
			keys.Rooms[s.RoomID] = mautrix.ReqRoomKeyBackup{Sessions: make(map[id.SessionID]mautrix.ReqKeyBackupData)}
		}
		keys.Rooms[s.RoomID].Sessions[s.ID()] = p.sealSession(key, s)
	}
	if _, err := p.PutKeysInBackup(p.ctx, version.Version, &keys); err != nil {
		p.t.Fatalf("%s puts %d keys into the backup: %v", p.UserID, len(sessions), err)
	}
	if err := p.crypto.SSSS.SetEncryptedAccountData(p.ctx, event.AccountDataMegolmBackupKey, key.Bytes(), p.secretKey(recovery)); err != nil {
		p.t.Fatalf("%s keeps the key of the backup: %v", p.UserID, err)
	}
}

func (p *person) sealSession(key *backup.MegolmBackupKey, s *crypto.InboundGroupSession) mautrix.ReqKeyBackupData {
	p.t.Helper()
	first := s.Internal.FirstKnownIndex()
	exported, err := s.Internal.Export(first)
	if err != nil {
		p.t.Fatal(err)
	}
	sealed, err := backup.EncryptSessionData(key, backup.MegolmSessionData{
		Algorithm: id.AlgorithmMegolmV1, SenderKey: s.SenderKey, SessionKey: string(exported),
		SenderClaimedKeys: backup.SenderClaimedKeys{Ed25519: s.SigningKey},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	raw, err := json.Marshal(sealed)
	if err != nil {
		p.t.Fatal(err)
	}
	return mautrix.ReqKeyBackupData{FirstMessageIndex: int(first), SessionData: raw}
}

// secretKey opens the secret storage.
func (p *person) secretKey(recovery string) *ssss.Key {
	p.t.Helper()
	keyID, about, err := p.crypto.SSSS.GetDefaultKeyData(p.ctx)
	if err != nil {
		p.t.Fatalf("%s finds the secret storage: %v", p.UserID, err)
	}
	key, err := about.VerifyRecoveryKey(keyID, recovery)
	if err != nil {
		p.t.Fatal(err)
	}
	return key
}

// restores reads all room keys from the backup.
func (p *person) restores(recovery string) {
	p.t.Helper()
	raw, err := p.crypto.SSSS.GetDecryptedAccountData(p.ctx, event.AccountDataMegolmBackupKey, p.secretKey(recovery))
	if err != nil {
		p.t.Fatalf("%s reads the key of the backup: %v", p.UserID, err)
	}
	key, err := backup.MegolmBackupKeyFromBytes(raw)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.crypto.DownloadAndStoreLatestKeyBackup(p.ctx, key); err != nil {
		p.t.Fatalf("%s restores the backup: %v", p.UserID, err)
	}
}

// verifications are what a client shows while it verifies another.
type verifications struct {
	requested, ready, done chan id.VerificationTransactionID
	shown                  chan string
	cancelled              chan string
}

func newVerifications() *verifications {
	return &verifications{
		requested: make(chan id.VerificationTransactionID, 1), ready: make(chan id.VerificationTransactionID, 1),
		done: make(chan id.VerificationTransactionID, 1), shown: make(chan string, 1), cancelled: make(chan string, 1),
	}
}

func (v *verifications) VerificationRequested(_ context.Context, txn id.VerificationTransactionID, _ id.UserID, _ id.DeviceID) {
	v.requested <- txn
}

func (v *verifications) VerificationReady(_ context.Context, txn id.VerificationTransactionID, _ id.DeviceID, _, _ bool, _ *verificationhelper.QRCode) {
	v.ready <- txn
}

func (v *verifications) VerificationCancelled(_ context.Context, _ id.VerificationTransactionID, code event.VerificationCancelCode, reason string) {
	v.cancelled <- fmt.Sprintf("%s: %s", code, reason)
}

func (v *verifications) VerificationDone(_ context.Context, txn id.VerificationTransactionID, _ event.VerificationMethod) {
	v.done <- txn
}

func (v *verifications) ShowSAS(_ context.Context, _ id.VerificationTransactionID, _ []rune, _ []string, decimals []int) {
	v.shown <- fmt.Sprint(decimals)
}

// waits waits for the next step of a verification.
func waits[T any](p *person, what string, from chan T) T {
	p.t.Helper()
	select {
	case v := <-from:
		return v
	case why := <-p.crypto.seen.cancelled:
		p.t.Fatalf("%s: the verification was cancelled: %s", p.UserID, why)
	case <-time.After(patience):
		p.t.Fatalf("%s waited in vain for %s", p.UserID, what)
	}
	panic("not reached")
}

// verifies compares short authentication strings with another client.
func (p *person) verifies(o *person) {
	p.t.Helper()
	must := func(err error) {
		p.t.Helper()
		if err != nil {
			p.t.Fatalf("%s verifies %s: %v", p.UserID, o.UserID, err)
		}
	}
	txn, err := p.crypto.verifier.StartVerification(p.ctx, o.UserID)
	must(err)
	must(o.crypto.verifier.AcceptVerification(o.ctx, waits(o, "the request", o.crypto.seen.requested)))
	waits(p, "the other to be ready", p.crypto.seen.ready)
	must(p.crypto.verifier.StartSAS(p.ctx, txn))
	mine, theirs := waits(p, "the numbers", p.crypto.seen.shown), waits(o, "the numbers", o.crypto.seen.shown)
	if mine != theirs {
		p.t.Fatalf("%s sees %s and %s sees %s", p.UserID, mine, o.UserID, theirs)
	}
	must(p.crypto.verifier.ConfirmSAS(p.ctx, txn))
	must(o.crypto.verifier.ConfirmSAS(o.ctx, txn))
	waits(p, "the end", p.crypto.seen.done)
	waits(o, "the end", o.crypto.seen.done)
}

// hearsOf waits until a client knows that somebody has a device, or has it no more.
func (p *person) hearsOf(o *person, there bool) {
	p.t.Helper()
	late := time.After(patience)
	for {
		devices, err := p.crypto.CryptoStore.GetDevices(p.ctx, o.UserID)
		if err != nil {
			p.t.Fatal(err)
		}
		if _, is := devices[o.DeviceID]; is == there {
			return
		}
		select {
		case <-late:
			p.t.Fatalf("%s %s never hears that %s is there: %v", p.UserID, p.DeviceID, o.DeviceID, there)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// trusts says whether a client trusts a device of somebody.
func (p *person) trusts(o *person) bool {
	p.t.Helper()
	d, err := p.crypto.GetOrFetchDevice(p.ctx, o.UserID, o.DeviceID)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.crypto.IsDeviceTrusted(p.ctx, d)
}
