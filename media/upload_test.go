package media_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/media"
	"astrocyte/store"
	"astrocyte/testkit"
)

func TestUploadIsGivenBack(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		body := randomBytes(300_000, 1)
		id := w.stores("a file.bin", "application/x-thing; charset=UTF-8", body)
		f := w.finds(id)
		if !bytes.Equal(w.reads(f), body) {
			t.Error("the file came back changed")
		}
		if f.Name != "a file.bin" || !strings.HasPrefix(f.ContentType, "application/x-thing") || f.Size != 300_000 || f.Uploader != alice {
			t.Errorf("the file is described as %+v", f)
		}
		_, err := w.Find(context.Background(), media.ID{Origin: "example.org", Media: "other"}, 0, true)
		wants(t, err, matrix.CodeNotFound)
		_, err = w.Find(context.Background(), media.ID{Origin: "elsewhere.org", Media: "other"}, 0, true)
		wants(t, err, matrix.CodeNotFound)
	})
}

func TestTheSameBytesAreKeptOnce(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		body := randomBytes(10_000, 2)
		first, second := w.stores("1", "", body), w.stores("2", "", body)
		if files := w.files(); len(files) != 1 || first == second {
			t.Fatalf("files %v, URIs %s and %s", files, first, second)
		}
		for i, id := range []media.ID{first, second} {
			if err := w.Delete(context.Background(), id); err != nil {
				t.Fatal(err)
			}
			w.sweep()
			if left := len(w.files()); left != 1-i {
				t.Fatalf("%d files are left after %d deletions", left, i+1)
			}
			_, err := w.Find(context.Background(), id, 0, false)
			wants(t, err, matrix.CodeNotFound)
		}
		again := w.stores("3", "", body)
		if !bytes.Equal(w.reads(w.finds(again)), body) {
			t.Error("a file that was deleted cannot be uploaded again")
		}
	})
}

func TestAnUploadThatBreaksOffLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testkit.SQLite(t), func(o *media.Options) { o.Config.MaxUpload = 100_000 })
	cut := io.MultiReader(bytes.NewReader(randomBytes(50_000, 3)), iotest.ErrReader(errors.New("connection reset")))
	_, err := w.Store(context.Background(), media.Upload{User: alice, Body: cut, Size: 90_000})
	wants(t, err, matrix.CodeUnknown)

	_, err = w.Store(context.Background(), media.Upload{User: alice, Body: bytes.NewReader(randomBytes(100_001, 3)), Size: -1})
	wants(t, err, matrix.CodeTooLarge)
	_, err = w.Store(context.Background(), media.Upload{User: alice, Body: iotest.ErrReader(errors.New("must not be read")), Size: 100_001})
	wants(t, err, matrix.CodeTooLarge)

	ctx, cancel := context.WithCancel(context.Background())
	gone := io.MultiReader(bytes.NewReader(randomBytes(5_000, 3)), readerFunc(func([]byte) (int, error) { cancel(); return 0, io.EOF }))
	if _, err := w.Store(ctx, media.Upload{User: alice, Body: gone, Size: -1}); err == nil {
		t.Error("an upload whose client went away was kept")
	}
	if files := w.files(); len(files) != 0 {
		t.Errorf("there are still %v", files)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestNothingIsLostByACrash leaves a server's work at each step of an upload and of a deletion.
func TestNothingIsLostByACrash(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		kept := w.stores("kept", "", randomBytes(1000, 4))

		// A part of a file that was arriving, long ago and just now.
		old, young := filepath.Join(w.folder, "incoming", "1.part"), filepath.Join(w.folder, "incoming", "2.part")
		for _, name := range []string{old, young} {
			if err := os.WriteFile(name, []byte("part"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		long := time.Now().Add(-25 * time.Hour)
		if err := os.Chtimes(old, long, long); err != nil {
			t.Fatal(err)
		}
		// A file that reached its place, but whose record was refused: the server died between, as far as
		// the database knows.
		refusing := w.node(func(o *media.Options) { o.Config.Quotas.ServerTotal = 1 })
		if _, err := refusing.Store(context.Background(), upload(alice, "", "", randomBytes(500, 5))); err == nil {
			t.Fatal("the quota of the server does not hold")
		}
		w.sweep()
		if files := w.files(); len(files) != 3 {
			t.Fatalf("too early, there are %v", files)
		}
		w.pass(2 * time.Hour)
		w.sweep()
		if files := w.files(); len(files) != 2 {
			t.Fatalf("there are %v, want the kept file and the part that still arrives", files)
		}
		w.reads(w.finds(kept))

		// A deletion that stopped when the file was condemned, and one when its bytes were gone.
		doomed := w.stores("doomed", "", randomBytes(700, 6))
		hash := w.finds(doomed).Hash
		if err := w.Delete(context.Background(), doomed); err != nil {
			t.Fatal(err)
		}
		mark(t, w.db, hash)
		w.sweep()
		if files := w.files(); len(files) != 2 {
			t.Fatalf("there are %v", files)
		}
	})
}

// mark writes into the database that a file is being deleted.
func mark(t *testing.T, db *store.DB, h media.Hash) {
	t.Helper()
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE media_blobs SET state = 2, touched = 0 WHERE hash = $1`, h[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnnouncedUploads(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, func(o *media.Options) { o.Config.Quotas.Pending = 3 })
		ctx := context.Background()
		id, expires, err := w.Create(ctx, alice)
		if err != nil || expires.UnixMilli() <= w.clock.Load() {
			t.Fatal(err, expires)
		}
		_, err = w.Find(ctx, id, time.Millisecond, false)
		wants(t, err, matrix.CodeNotYetUploaded)
		_, err = w.Thumbnail(ctx, &media.File{ID: id}, media.Wanted{Width: 0, Height: 1})
		wants(t, err, matrix.CodeInvalidParam)
		wants(t, w.Fill(ctx, id, upload("@bob:example.org", "", "", []byte("x"))), matrix.CodeForbidden)
		wants(t, w.Fill(ctx, media.ID{Origin: "example.org", Media: "nosuch"}, upload(alice, "", "", []byte("x"))), matrix.CodeNotFound)

		waiting := make(chan error, 1)
		go func() {
			_, err := w.Find(ctx, id, 30*time.Second, false)
			waiting <- err
		}()
		if err := w.Fill(ctx, id, upload(alice, "later.txt", "text/plain", []byte("hello"))); err != nil {
			t.Fatal(err)
		}
		if err := <-waiting; err != nil {
			t.Errorf("who waits for the file gets %v", err)
		}
		if got := string(w.reads(w.finds(id))); got != "hello" {
			t.Errorf("got %q", got)
		}
		wants(t, w.Fill(ctx, id, upload(alice, "", "", []byte("other"))), matrix.CodeCannotOverwriteMedia)

		var last media.ID
		for range 3 {
			if last, _, err = w.Create(ctx, alice); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err = w.Create(ctx, alice)
		wants(t, err, matrix.CodeLimitExceeded)
		w.pass(25 * time.Hour)
		wants(t, w.Fill(ctx, last, upload(alice, "", "", []byte("late"))), matrix.CodeNotFound)
		_, err = w.Find(ctx, last, 0, false)
		wants(t, err, matrix.CodeNotFound)
		w.sweep()
		if _, _, err = w.Create(ctx, alice); err != nil {
			t.Errorf("announced uploads that expired still count: %v", err)
		}
		if got := string(w.reads(w.finds(id))); got != "hello" {
			t.Errorf("after the sweep got %q", got)
		}
	})
}

func TestQuotas(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		ctx := context.Background()
		try := func(q config.MediaQuotas, user matrix.UserID, size int, seed uint64) error {
			q.Pending = 1
			r := w.node(func(o *media.Options) { o.Config.Quotas = q })
			_, err := r.Store(ctx, media.Upload{User: user, Body: bytes.NewReader(randomBytes(size, seed)), Size: -1})
			return err
		}
		first := w.stores("", "", randomBytes(1000, 7))
		wants(t, try(config.MediaQuotas{UserFiles: 1}, alice, 10, 8), matrix.CodeForbidden)
		wants(t, try(config.MediaQuotas{UserTotal: 1500}, alice, 501, 9), matrix.CodeForbidden)
		wants(t, try(config.MediaQuotas{UserPerDay: 1500}, alice, 501, 10), matrix.CodeForbidden)
		wants(t, try(config.MediaQuotas{ServerTotal: 1500}, "@bob:example.org", 501, 11), matrix.CodeForbidden)
		if err := try(config.MediaQuotas{UserFiles: 2, UserTotal: 1500, UserPerDay: 1500, ServerTotal: 1500}, alice, 500, 12); err != nil {
			t.Errorf("an upload within all quotas: %v", err)
		}
		// What is deleted no longer counts, but for the day.
		if err := w.Delete(ctx, first); err != nil {
			t.Fatal(err)
		}
		if err := try(config.MediaQuotas{UserFiles: 2, UserTotal: 1500}, alice, 1000, 13); err != nil {
			t.Errorf("after a deletion: %v", err)
		}
		wants(t, try(config.MediaQuotas{UserPerDay: 3000}, alice, 501, 14), matrix.CodeForbidden)
		w.pass(24 * time.Hour)
		if err := try(config.MediaQuotas{UserPerDay: 3000}, alice, 501, 15); err != nil {
			t.Errorf("on the next day: %v", err)
		}
	})
}

func TestQuotasHoldForUploadsAtTheSameTime(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, func(o *media.Options) { o.Config.Quotas.UserTotal = 1000 })
		kept := make(chan bool)
		for i := range 8 {
			go func() {
				_, err := w.Store(context.Background(), upload(alice, "", "", randomBytes(400, uint64(20+i))))
				kept <- err == nil
			}()
		}
		n := 0
		for range 8 {
			if <-kept {
				n++
			}
		}
		if n != 2 {
			t.Errorf("%d uploads of 400 bytes were kept, want 2", n)
		}
	})
}

func TestModeration(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		ctx := context.Background()
		body := randomBytes(100, 30)
		id, twin := w.stores("1", "", body), w.stores("2", "", body)
		if err := w.Quarantine(ctx, id, true); err != nil {
			t.Fatal(err)
		}
		_, err := w.Find(ctx, id, 0, false)
		wants(t, err, matrix.CodeNotFound)
		w.finds(twin)

		hash, err := w.HashOf(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Block(ctx, hash, "spam"); err != nil {
			t.Fatal(err)
		}
		_, err = w.Find(ctx, twin, 0, false)
		wants(t, err, matrix.CodeNotFound)
		_, err = w.Store(ctx, upload("@bob:example.org", "", "", body))
		wants(t, err, matrix.CodeForbidden)
		if err := w.Unblock(ctx, hash); err != nil {
			t.Fatal(err)
		}
		if err := w.Quarantine(ctx, id, false); err != nil {
			t.Fatal(err)
		}
		w.finds(id)
		w.finds(twin)

		if n, err := w.DeleteOf(ctx, alice); err != nil || n != 2 {
			t.Errorf("%d files were deleted, %v", n, err)
		}
		w.sweep()
		if files := w.files(); len(files) != 0 {
			t.Errorf("there are still %v", files)
		}
		wants(t, w.Delete(ctx, id), matrix.CodeNotFound)
		wants(t, w.Quarantine(ctx, id, true), matrix.CodeNotFound)
	})
}

func TestRemoteFilesAreFetchedOnceAndForgotten(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		asked := 0
		answer := func() (*media.Fetched, error) {
			return &media.Fetched{Body: io.NopCloser(strings.NewReader("from afar")), ContentType: "text/plain", Name: "../x.txt", Size: -1}, nil
		}
		w := newWorld(t, dsn, func(o *media.Options) {
			o.Config.MaxRemote, o.Config.RemoteRetention = 1000, config.Duration(48*time.Hour)
			o.Fetch = func(context.Context, media.ID) (*media.Fetched, error) { asked++; return answer() }
		})
		ctx := context.Background()
		id := media.ID{Origin: "elsewhere.org", Media: "abc"}
		_, err := w.Find(ctx, id, 0, false)
		wants(t, err, matrix.CodeNotFound)
		for range 2 {
			f, err := w.Find(ctx, id, 0, true)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(w.reads(f)); got != "from afar" || f.Name != "x.txt" {
				t.Errorf("got %q named %q", got, f.Name)
			}
		}
		if asked != 1 {
			t.Errorf("the other server was asked %d times", asked)
		}
		own := w.stores("own", "", []byte("own"))
		w.pass(47 * time.Hour)
		if _, err := w.Find(ctx, id, 0, true); err != nil { // asked for: it stays
			t.Fatal(err)
		}
		w.pass(47 * time.Hour)
		w.sweep()
		if len(w.files()) != 2 {
			t.Errorf("files %v, want both", w.files())
		}
		w.pass(2 * time.Hour)
		w.sweep()
		if len(w.files()) != 1 {
			t.Errorf("files %v, want the own one", w.files())
		}
		w.reads(w.finds(own))

		answer = func() (*media.Fetched, error) {
			return &media.Fetched{Body: io.NopCloser(bytes.NewReader(make([]byte, 1001))), Size: -1}, nil
		}
		_, err = w.Find(ctx, id, 0, true)
		wants(t, err, matrix.CodeTooLarge)
		answer = func() (*media.Fetched, error) {
			return &media.Fetched{Body: io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)), Size: -1}, nil
		}
		_, err = w.Find(ctx, id, 0, true)
		wants(t, err, matrix.CodeUnknown)
	})
}
