package account

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"astrocyte/config"
	"astrocyte/matrix"
)

const (
	maxPassword = 512 // bytes
	maxWaiting  = 512 // log-ins that wait for their turn at hashing
	maxHashing  = 16  // hashes at a time, where there are so many CPUs
	saltLength  = 16
	keyLength   = 32
)

// withDefaults completes settings that were not made by package config.
func withDefaults(p config.Passwords) config.Passwords {
	d := config.Default().Passwords
	p.MinimumLength = cmp.Or(p.MinimumLength, d.MinimumLength)
	p.Hash = cmp.Or(p.Hash, d.Hash)
	p.Argon2Memory = cmp.Or(p.Argon2Memory, d.Argon2Memory)
	p.Argon2Passes = cmp.Or(p.Argon2Passes, d.Argon2Passes)
	p.Argon2Threads = cmp.Or(p.Argon2Threads, d.Argon2Threads)
	p.BcryptCost = cmp.Or(p.BcryptCost, d.BcryptCost)
	return p
}

// hasher computes password hashes, a bounded number at a time.
type hasher struct {
	cost    config.Passwords
	turns   chan struct{}
	waiting atomic.Int64
	decoy   func() (string, error) // what the passwords of unknown users are compared with
}

func newHasher(cost config.Passwords) *hasher {
	h := &hasher{cost: withDefaults(cost)}
	h.turns = make(chan struct{}, min(runtime.GOMAXPROCS(0), maxHashing))
	h.decoy = sync.OnceValues(func() (string, error) { return h.make(randomText(mixedAlphabet, 20)) })
	return h
}

// turn waits for a place, which done gives back.
func (h *hasher) turn(ctx context.Context) (done func(), err error) {
	if h.waiting.Add(1) > maxWaiting {
		h.waiting.Add(-1)
		return nil, matrix.TooMany("password.hashing", 5*time.Second, "too many people are logging in at the moment")
	}
	defer h.waiting.Add(-1)
	select {
	case h.turns <- struct{}{}:
		return func() { <-h.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// check says whether a new password is acceptable.
func (h *hasher) check(password string) error {
	switch {
	case len(password) > maxPassword, h.cost.Hash == "bcrypt" && len(password) > 72:
		return matrix.InvalidParam("the password is too long")
	case utf8.RuneCountInString(password) < h.cost.MinimumLength:
		return matrix.E(matrix.CodeWeakPassword, "a password must have at least %d characters", h.cost.MinimumLength)
	}
	return nil
}

// hash gives the text to store for a password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.check(password); err != nil {
		return "", err
	}
	done, err := h.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return h.make(password)
}

func (h *hasher) make(password string) (string, error) {
	if h.cost.Hash == "bcrypt" {
		b, err := bcrypt.GenerateFromPassword([]byte(password), h.cost.BcryptCost)
		return string(b), err
	}
	var salt [saltLength]byte
	rand.Read(salt[:]) // never fails
	c := h.argon()
	return c.text(salt[:], c.key(password, salt[:], keyLength)), nil
}

// verify compares a password with a stored hash. An empty stored hash, which is that of an unknown
// user, takes as long as any other and is never right. stale says that the hash should be made anew.
func (h *hasher) verify(ctx context.Context, stored, password string) (right, stale bool, err error) {
	if len(password) > maxPassword {
		return false, false, nil
	}
	done, err := h.turn(ctx)
	if err != nil {
		return false, false, err
	}
	defer done()
	if stored == "" {
		decoy, err := h.decoy()
		if err == nil {
			_, err = compare(decoy, password)
		}
		return false, false, err
	}
	right, err = compare(stored, password)
	return right, right && !h.current(stored), err
}

// current says whether a hash was made as a new one would be.
func (h *hasher) current(stored string) bool {
	if h.cost.Hash == "bcrypt" {
		cost, err := bcrypt.Cost([]byte(stored))
		return err == nil && cost == h.cost.BcryptCost
	}
	c, _, _, err := parseArgon(stored)
	return err == nil && c == h.argon()
}

func compare(stored, password string) (bool, error) {
	if strings.HasPrefix(stored, "$2") {
		if len(password) > 72 { // beyond it bcrypt would not look
			password = password[:72]
		}
		err := bcrypt.CompareHashAndPassword([]byte(stored), []byte(password))
		if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			return false, nil
		}
		return err == nil, err
	}
	c, salt, key, err := parseArgon(stored)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(c.key(password, salt, len(key)), key) == 1, nil
}

func (h *hasher) argon() argonCost {
	return argonCost{uint32(h.cost.Argon2Memory), uint32(h.cost.Argon2Passes), uint8(h.cost.Argon2Threads)}
}

type argonCost struct {
	memory, iterations uint32
	threads            uint8
}

func (c argonCost) key(password string, salt []byte, length int) []byte {
	return argon2.IDKey([]byte(password), salt, c.iterations, c.memory, c.threads, uint32(length))
}

// text writes the customary form $argon2id$v=19$m=…,t=…,p=…$salt$key.
func (c argonCost) text(salt, key []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memory, c.iterations, c.threads,
		b64.EncodeToString(salt), b64.EncodeToString(key))
}

var errStoredHash = errors.New("a stored password hash is not readable")

func parseArgon(stored string) (c argonCost, salt, key []byte, err error) {
	part := strings.Split(stored, "$")
	if len(part) != 6 || part[1] != "argon2id" || part[2] != "v="+strconv.Itoa(argon2.Version) {
		return c, nil, nil, errStoredHash
	}
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &c.memory, &c.iterations, &c.threads); err != nil {
		return c, nil, nil, errStoredHash
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(part[4])
	key, err2 := base64.RawStdEncoding.DecodeString(part[5])
	if err1 != nil || err2 != nil || len(key) < 16 || c.iterations < 1 || c.threads < 1 {
		return c, nil, nil, errStoredHash
	}
	return c, salt, key, nil
}
