package roomserver

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"astrocyte/matrix"
)

// errPretended takes back what a user has sent whom nobody is to hear, once it is known that it would have been taken.
var errPretended = errors.New("it is only pretended")

// pretend answers a draft as if it were sent: it goes as far as the rules of the room let it, and is taken back. Policy
// servers are not asked. A draft with a transaction id is given the same answer each time.
func (r *Rooms) pretend(ctx context.Context, nid RoomNID, d *Draft) (matrix.EventID, error) {
	id := r.PretendedID(d)
	return id, r.pretended(ctx, nid, func(b *batch, h *head) error {
		sent, repeated, err := b.repeated(d)
		if repeated || err != nil { // from before
			id = sent
			return err
		}
		vouched, err := b.vouched(h, *d)
		if err == nil {
			_, err = b.append(h, &vouched)
		}
		return err
	})
}

// pretended does something in a room and takes it back; what is refused is refused.
func (r *Rooms) pretended(ctx context.Context, nid RoomNID, do func(b *batch, h *head) error) error {
	err := r.commit(ctx, []RoomNID{nid}, func(b *batch) error {
		h, err := b.room(nid)
		if err != nil {
			return err
		}
		if err := do(b, h); err != nil {
			return err
		}
		return errPretended
	})
	if errors.Is(err, errPretended) {
		return nil
	}
	return err
}

// PretendedID is the id of an event that is not sent: the same for a transaction id, so that nodes need not remember it.
func (r *Rooms) PretendedID(d *Draft) matrix.EventID {
	what := rand.Text()
	if d.Txn != nil {
		what = strings.Join([]string{string(d.Sender), string(d.Txn.Device), d.Txn.Scope, d.Txn.ID}, "\x00")
	}
	mac := hmac.New(sha256.New, r.key.Seed())
	fmt.Fprintf(mac, "pretended event\x00%s", what)
	return matrix.EventID("$" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
}

// hides says whether a draft is only pretended: all of a user whom nobody is to hear but that they leave.
func (d *Draft) hides() bool { return d.Shadowed && !d.leaves() }

// hides says whether a change is only pretended: all of a user whom nobody is to hear but their joining and leaving.
func (c *Change) hides() bool {
	return c.Shadowed && (c.Sender != c.Target || c.Membership == matrix.Knock)
}
