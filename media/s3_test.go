package media_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"astrocyte/config"
	"astrocyte/media"
	"astrocyte/testkit"
)

// s3 gives a fresh bucket of a real S3-compatible server: a versitygw that is started for the test. Where there
// is none the test is skipped, but not where CI is set.
func s3(t *testing.T) config.S3 {
	t.Helper()
	c := config.S3{Region: "us-east-1", Bucket: "media", AccessKey: "astrocyte", SecretKey: "astrocyte-secret", PathStyle: true, Prefix: "some/where"}
	program, err := exec.LookPath("versitygw")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no versitygw")
		}
		t.Skip("NOT TESTED ON S3: there is no versitygw; go install github.com/versity/versitygw/cmd/versitygw@v1.8.0 brings it")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	c.Endpoint = "http://" + address
	cmd := exec.Command(program, "--access", c.AccessKey, "--secret", c.SecretKey, "--port", address, "posix", "--sidecar", t.TempDir(), t.TempDir())
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })

	client, err := minio.New(address, &minio.Options{Creds: credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""), Region: c.Region, BucketLookup: minio.BucketLookupPath})
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(2 * time.Minute)
	for {
		err := client.MakeBucket(context.Background(), c.Bucket, minio.MakeBucketOptions{Region: c.Region})
		if err == nil {
			return c
		}
		if time.Now().After(until) {
			t.Fatalf("make a bucket: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestS3(t *testing.T) {
	t.Parallel()
	c := s3(t)
	c.Redirect = true
	w := newWorld(t, testkit.SQLite(t), func(o *media.Options) { o.Config.S3, o.Config.Storage = c, media.OnS3 })
	body := randomBytes(40<<20, 40) // several parts
	id := w.stores("large.bin", "application/octet-stream", body)
	if files := w.files(); len(files) != 0 {
		t.Errorf("on disk there are %v", files)
	}
	f := w.finds(id)
	if !bytes.Equal(w.reads(f), body) {
		t.Fatal("the file came back changed")
	}
	b, err := w.Open(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	part := make([]byte, 1000)
	if _, err := b.Seek(30<<20, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(b, part); err != nil || !bytes.Equal(part, body[30<<20:][:1000]) {
		t.Errorf("a range came back changed: %v", err)
	}

	link, err := w.Link(context.Background(), f)
	if err != nil || link == "" {
		t.Fatal(link, err)
	}
	resp, err := http.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !bytes.Equal(got, body) || resp.Header.Get("Content-Disposition") != "attachment; filename=large.bin" {
		t.Errorf("the storage answers %s with %d bytes, %v, %v", resp.Status, len(got), resp.Header, err)
	}

	w.thumb(w.stores("p.png", "image/png", pngOf(t, picture(400, 400))), media.Wanted{Width: 96, Height: 96})
	if _, err := w.DeleteOf(context.Background(), alice); err != nil {
		t.Fatal(err)
	}
	w.sweep()
	w.sweep()
	if b, err := w.Open(context.Background(), f); err == nil {
		b.Close()
		t.Error("a deleted file can still be read")
	}
}

// TestMove brings files from disk to S3 and back, and interrupts it.
func TestMove(t *testing.T) {
	t.Parallel()
	c := s3(t)
	with := func(o *media.Options) { o.Config.S3 = c }
	w := newWorld(t, testkit.SQLite(t), with)
	bodies := map[media.ID][]byte{}
	for i := range 20 {
		body := randomBytes(200_000, uint64(50+i))
		bodies[w.stores("", "", body)] = body
	}
	whole := func() {
		t.Helper()
		for id, body := range bodies {
			if !bytes.Equal(w.reads(w.finds(id)), body) {
				t.Fatalf("%s came back changed", id)
			}
		}
	}
	before := w.finds(firstOf(bodies)) // looked up before the move, read after it

	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(30*time.Millisecond, cancel)
	_, _ = w.Move(ctx, media.OnS3)
	whole()
	w.moves(media.OnS3)
	if files := w.files(); len(files) != 0 {
		t.Errorf("on disk there are still %v", files)
	}
	whole()
	if !bytes.Equal(w.reads(before), bodies[before.ID]) {
		t.Error("a file that was moved meanwhile cannot be read")
	}
	w.moves(media.OnDisk)
	if files := w.files(); len(files) != 20 {
		t.Errorf("on disk there are %v", files)
	}
	whole()
	if _, err := newWorld(t, testkit.SQLite(t)).Move(context.Background(), media.OnS3); err == nil {
		t.Error("files were moved to a storage that is not in the settings")
	}
}

func firstOf(m map[media.ID][]byte) media.ID {
	for id := range m {
		return id
	}
	return media.ID{}
}

func (w *world) moves(to string) {
	w.t.Helper()
	for range 100 {
		m, err := w.Move(context.Background(), to)
		if err != nil {
			w.t.Fatal(err)
		}
		if m.LeftFiles == 0 {
			return
		}
	}
	w.t.Fatal("the move does not end")
}
