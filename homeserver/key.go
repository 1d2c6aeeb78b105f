package homeserver

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"astrocyte/matrix"
)

// SigningKey is the key with which this server signs events and requests.
type SigningKey struct {
	ID      matrix.KeyID
	Private ed25519.PrivateKey
}

// keyFile is the signing key in the data folder: one line, "ed25519 VERSION SEED", the seed in
// unpadded base64. Synapse keeps its key in the same form.
const keyFile = "signing.key"

// LoadKey reads the signing key in a data folder, and makes one where there is none.
func LoadKey(dir string) (SigningKey, error) {
	file := filepath.Join(dir, keyFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(file)
	}
	if err != nil {
		return SigningKey{}, fmt.Errorf("read the signing key: %w", err)
	}
	key, err := parseKey(string(text))
	if err != nil {
		return SigningKey{}, fmt.Errorf("signing key %s: %w", file, err)
	}
	return key, nil
}

// makeKey makes a key and its file. Two nodes that start at once on one folder do not overwrite each other.
func makeKey(file string) (SigningKey, error) {
	var version [3]byte
	rand.Read(version[:]) // never fails
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return SigningKey{}, fmt.Errorf("make a signing key: %w", err)
	}
	line := fmt.Sprintf("ed25519 a_%x %s\n", version, base64.RawStdEncoding.EncodeToString(private.Seed()))
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return SigningKey{}, fmt.Errorf("make the signing key: %w", err)
	}
	_, err = f.WriteString(line)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return SigningKey{}, fmt.Errorf("write the signing key: %w", err)
	}
	return parseKey(line)
}

var errKeyForm = errors.New(`must be one line "ed25519 VERSION SEED"`)

func parseKey(text string) (SigningKey, error) {
	line, rest, _ := strings.Cut(strings.TrimSpace(text), "\n")
	fields := strings.Fields(line)
	if len(fields) != 3 || fields[0] != "ed25519" || rest != "" {
		return SigningKey{}, errKeyForm
	}
	seed, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(fields[2], "="))
	if err != nil || len(seed) != ed25519.SeedSize {
		return SigningKey{}, errKeyForm
	}
	return SigningKey{ID: matrix.KeyID("ed25519:" + fields[1]), Private: ed25519.NewKeyFromSeed(seed)}, nil
}
