package media

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"astrocyte/matrix"
)

// Hash is the SHA-256 of a file, which it is stored by.
type Hash [32]byte

// String writes the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// key is where the file is in a storage.
func (h Hash) key() string {
	s := h.String()
	return s[:2] + "/" + s[2:4] + "/" + s
}

// ParseHash reads a hash in hexadecimal.
func ParseHash(s string) (Hash, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(Hash{}) {
		return Hash{}, matrix.InvalidParam("%.80q is not a SHA-256 in hexadecimal", s)
	}
	return Hash(b), nil
}

// ID is an mxc:// URI.
type ID struct {
	Origin matrix.ServerName
	Media  string
}

// String writes the URI.
func (id ID) String() string { return fmt.Sprintf("mxc://%s/%s", id.Origin, id.Media) }

// maxMediaID bounds media ids, in bytes.
const maxMediaID = 255

// ParseID checks the parts of an mxc:// URI.
//
// Spec: CS "Matrix Content (mxc://) URIs".
func ParseID(origin, mediaID string) (ID, error) {
	server, err := matrix.ParseServerName(origin)
	if err != nil {
		return ID{}, err
	}
	if mediaID == "" || len(mediaID) > maxMediaID {
		return ID{}, matrix.InvalidParam("this is not a media ID")
	}
	for i := range len(mediaID) {
		switch c := mediaID[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return ID{}, matrix.InvalidParam("this is not a media ID")
		}
	}
	return ID{server, mediaID}, nil
}

// newID makes the URI of a new file. It cannot be guessed: whoever knows it may see the file.
func (r *Repository) newID() ID { return ID{r.server, rand.Text()} }
