package attached_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"log/slog"

	"path/filepath"
	"testing"
	"time"

	"astrocyte/account"
	"astrocyte/attached"
	"astrocyte/bus"
	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/media"
	"astrocyte/roomserver"
	"astrocyte/store"
	"astrocyte/testkit"
)

const (
	alice matrix.UserID = "@alice:example.org"
	bob   matrix.UserID = "@bob:example.org"
)

// world is a server with rooms and files.
type world struct {
	t        *testing.T
	rooms    *roomserver.Rooms
	media    *media.Repository
	accounts *account.Accounts
	room     matrix.RoomID
	folder   string
}

func newWorld(t *testing.T, dsn string) *world {
	t.Helper()
	b := bus.NewLocal()
	db := testkit.Open(t, store.Options{DSN: dsn, Bus: b})
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, folder: t.TempDir()}
	w.accounts = account.New(account.Options{DB: db, Bus: b, Server: "example.org"})
	w.rooms = roomserver.New(roomserver.Options{
		DB: db, Server: "example.org", KeyID: "ed25519:1", Key: key, Memory: 8 << 20, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	w.media, err = media.New(media.Options{DB: db, Server: "example.org", Config: config.Default().Media, Folder: w.folder})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- w.rooms.Run(ctx) }()
	go func() {
		done <- attached.New(attached.Options{DB: db, Bus: b, Rooms: w.rooms, Media: w.media}).Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	for _, user := range []matrix.UserID{alice, bob} {
		if err := w.accounts.CreateUser(t.Context(), account.NewUser{ID: user}); err != nil {
			t.Fatal(err)
		}
	}
	w.room, err = w.rooms.Create(t.Context(), roomserver.Creation{Creator: alice, Version: "12", Preset: roomserver.PublicChat})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.rooms.SetMembership(t.Context(), roomserver.Change{Room: w.room, Sender: bob, Target: bob, Membership: matrix.Join}); err != nil {
		t.Fatal(err)
	}
	return w
}

// picture is a file of its own for each number.
func picture(t *testing.T, n int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 300, 200))
	for i := range img.Pix {
		img.Pix[i] = byte(i * n)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (w *world) uploads(user matrix.UserID, body []byte) media.ID {
	w.t.Helper()
	id, err := w.media.Store(w.t.Context(), media.Upload{User: user, ContentType: "image/png", Body: bytes.NewReader(body), Size: int64(len(body))})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) sends(user matrix.UserID, d roomserver.Draft) matrix.EventID {
	w.t.Helper()
	d.Room, d.Sender = w.room, user
	id, err := w.rooms.Send(w.t.Context(), d)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) shows(user matrix.UserID, content string, ids ...any) matrix.EventID {
	w.t.Helper()
	return w.sends(user, roomserver.Draft{Type: "m.room.message", Content: json.RawMessage(fmt.Sprintf(content, ids...))})
}

func (w *world) redacts(user matrix.UserID, event matrix.EventID) {
	w.t.Helper()
	content := json.RawMessage(fmt.Sprintf(`{"redacts":%q}`, event))
	w.sends(user, roomserver.Draft{Type: "m.room.redaction", Content: content, Redacts: event})
}

// is wants each file to be there or not, once all that was sent has passed.
func (w *world) is(there bool, ids ...media.ID) {
	w.t.Helper()
	if err := w.rooms.Reached(w.t.Context(), attached.Name, time.Minute); err != nil {
		w.t.Fatal(err)
	}
	for _, id := range ids {
		_, err := w.media.Find(w.t.Context(), id, 0, false)
		if (err == nil) != there {
			w.t.Errorf("%s: want it there: %v, and it is: %v", id, there, err)
		}
	}
}

// files counts what is on the disk.
func (w *world) files() (n int) {
	w.t.Helper()
	for range 2 { // thumbnails go after what they show
		if err := w.media.Sweep(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
	err := filepath.WalkDir(w.folder, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	return n
}

const message = `{"msgtype":"m.image","body":"x","url":"%s"}`

func TestRedactionDeletesTheLastReference(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		one := w.uploads(alice, picture(t, 1))
		same := w.uploads(bob, picture(t, 1)) // the same bytes under another URI
		first := w.shows(alice, message, one)
		second := w.shows(alice, `{"msgtype":"m.text","body":"look","formatted_body":"<img src='%s'>"}`, one)
		w.shows(bob, message, same)
		if _, err := w.media.Thumbnail(t.Context(), w.find(one), media.Wanted{Width: 32, Height: 32}); err != nil {
			t.Fatal(err)
		}
		w.is(true, one, same)
		if n := w.files(); n != 2 {
			t.Errorf("%d files are kept for one picture and its thumbnail", n)
		}
		w.redacts(alice, first)
		w.is(true, one)
		w.redacts(alice, second)
		w.is(false, one)
		w.is(true, same)
		if n := w.files(); n != 2 {
			t.Errorf("%d files are left while another URI shows them", n)
		}
		third := w.shows(bob, message, same)
		for _, e := range []matrix.EventID{third, w.shows(bob, `{"url":"%s"}`, same)} {
			w.redacts(bob, e)
		}
		w.is(true, same) // his first message still shows it
	})
}

func TestWhatIsDeletedWithItsLastURI(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		id := w.uploads(alice, picture(t, 2))
		e := w.shows(alice, message, id)
		if _, err := w.media.Thumbnail(t.Context(), w.find(id), media.Wanted{Width: 32, Height: 32}); err != nil {
			t.Fatal(err)
		}
		w.redacts(alice, e)
		w.is(false, id)
		if n := w.files(); n != 0 {
			t.Errorf("%d files are left of a picture and its thumbnail", n)
		}
	})
}

func TestWhatRedactionDoesNotDelete(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		avatar, others, kept, secret := w.uploads(alice, picture(t, 3)), w.uploads(alice, picture(t, 4)), w.uploads(alice, picture(t, 5)), w.uploads(alice, picture(t, 6))
		if err := w.accounts.SetProfileField(t.Context(), alice, "avatar_url", json.RawMessage(fmt.Sprintf("%q", avatar))); err != nil {
			t.Fatal(err)
		}
		w.redacts(alice, w.shows(alice, message, avatar)) // her profile shows it
		w.redacts(bob, w.shows(bob, message, others))     // it is not his
		if err := w.media.Quarantine(t.Context(), kept, true); err != nil {
			t.Fatal(err)
		}
		w.redacts(alice, w.shows(alice, message, kept))
		w.shows(alice, message, secret)
		w.redacts(alice, w.shows(alice, `{"url":"mxc://example.org/","file":{"url":"mxc://../%s"}}`, secret.Media))
		w.is(true, avatar, others, secret)
		if err := w.media.Quarantine(t.Context(), kept, false); err != nil {
			t.Fatal(err)
		}
		w.is(true, kept)
	})
}

// A moderator redacts what a user has shown: that is the last of it, too.
func TestModeratorsRedactionDeletes(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		id := w.uploads(bob, picture(t, 7))
		w.redacts(alice, w.shows(bob, `{"info":{"thumbnail_url":"%s"},"url":"mxc://elsewhere.org/abc"}`, id))
		w.is(false, id)
	})
}

// purges removes what was said before an event.
func (w *world) purges(before matrix.EventID) {
	w.t.Helper()
	end, err := w.rooms.PurgePlace(w.t.Context(), w.room, roomserver.Bound{Event: before})
	for place := int64(-1); err == nil && place < end; {
		place, err = w.rooms.PurgeHistory(w.t.Context(), w.room, place, end, true)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestPurgeDeletesTheLastReference(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		lost, shown, others := w.uploads(alice, picture(t, 8)), w.uploads(alice, picture(t, 9)), w.uploads(alice, picture(t, 10))
		w.shows(alice, message, lost)
		w.shows(alice, message, shown)
		w.shows(bob, message, others) // she has brought it, and he alone shows it
		still := w.shows(alice, message, shown)
		w.shows(alice, `{"body":"the end"}`)
		w.is(true, lost, shown, others)
		w.purges(still)
		w.is(false, lost)
		w.is(true, shown, others)
		if n := w.files(); n != 2 {
			t.Errorf("%d files are left", n)
		}
	})
}

func TestEndOfARoomDeletesItsFiles(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		one, two, three := w.uploads(alice, picture(t, 11)), w.uploads(bob, picture(t, 12)), w.uploads(alice, picture(t, 13))
		w.shows(alice, message, one)
		w.shows(bob, message, two)
		w.sends(alice, roomserver.Draft{Type: "m.room.avatar", StateKey: new(string), Content: json.RawMessage(`{"url":"` + three.String() + `"}`)})
		w.is(true, one, two, three)
		if err := w.rooms.Vanish(t.Context(), w.room); err != nil {
			t.Fatal(err)
		}
		for last, err := w.rooms.Purge(t.Context(), w.room, 0); last != 0; last, err = w.rooms.Purge(t.Context(), w.room, last) {
			if err != nil {
				t.Fatal(err)
			}
		}
		w.is(false, one, two, three)
		if n := w.files(); n != 0 {
			t.Errorf("%d files are left", n)
		}
	})
}

func (w *world) find(id media.ID) *media.File {
	w.t.Helper()
	f, err := w.media.Find(w.t.Context(), id, 0, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}
