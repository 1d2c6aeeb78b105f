package media_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"astrocyte/config"
	"astrocyte/matrix"
	"astrocyte/media"
	"astrocyte/store"
	"astrocyte/testkit"
)

const alice matrix.UserID = "@alice:example.org"

// world is a repository over a real database and a folder, with a clock that tests move.
type world struct {
	*media.Repository
	t      testing.TB
	db     *store.DB
	folder string
	clock  atomic.Int64 // milliseconds
}

func newWorld(t testing.TB, dsn string, change ...func(*media.Options)) *world {
	t.Helper()
	w := &world{t: t, db: testkit.DB(t, dsn), folder: t.TempDir()}
	w.clock.Store(1_700_000_000_000)
	w.Repository = w.node(change...)
	return w
}

// node makes a repository over the same database and folder.
func (w *world) node(change ...func(*media.Options)) *media.Repository {
	w.t.Helper()
	o := media.Options{
		DB: w.db, Server: "example.org", Config: config.Default().Media, Folder: w.folder,
		Now: func() time.Time { return time.UnixMilli(w.clock.Load()) },
	}
	for _, c := range change {
		c(&o)
	}
	r, err := media.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) pass(d time.Duration) { w.clock.Add(d.Milliseconds()) }

func (w *world) sweep() {
	w.t.Helper()
	if err := w.Sweep(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

func upload(user matrix.UserID, name, kind string, body []byte) media.Upload {
	return media.Upload{User: user, Name: name, ContentType: kind, Body: bytes.NewReader(body), Size: int64(len(body))}
}

// stores uploads a file, which must succeed.
func (w *world) stores(name, kind string, body []byte) media.ID {
	w.t.Helper()
	id, err := w.Store(context.Background(), upload(alice, name, kind, body))
	if err != nil {
		w.t.Fatalf("upload %q: %v", name, err)
	}
	return id
}

// finds looks a file up, which must be there.
func (w *world) finds(id media.ID) *media.File {
	w.t.Helper()
	f, err := w.Find(context.Background(), id, 0, false)
	if err != nil {
		w.t.Fatalf("find %s: %v", id, err)
	}
	return f
}

func (w *world) reads(f *media.File) []byte {
	w.t.Helper()
	b, err := w.Open(context.Background(), f)
	if err != nil {
		w.t.Fatalf("open %s: %v", f.ID, err)
	}
	defer b.Close()
	all, err := io.ReadAll(b)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// files lists what is in the folder, by its name.
func (w *world) files() []string {
	w.t.Helper()
	var names []string
	err := filepath.WalkDir(w.folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, w.folder+"/"))
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
	return names
}

// wants fails unless an error is a caller's fault of a code.
func wants(t testing.TB, err error, code matrix.Code) {
	t.Helper()
	var fault *matrix.Error
	if !errors.As(err, &fault) || fault.Code != code {
		t.Fatalf("got error %v, want %s", err, code)
	}
}

// picture draws a field of colours with a red square in its upper left corner.
func picture(width, height int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.RGBA{uint8(x * 255 / width), uint8(y * 255 / height), 128, 255}
			if x < width/4 && y < height/4 {
				c = color.RGBA{255, 0, 0, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	return img
}

func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// gifOf makes an animation.
func gifOf(t testing.TB, width, height, frames int) []byte {
	t.Helper()
	g := &gif.GIF{Config: image.Config{Width: width, Height: height}}
	colors := color.Palette{color.Black, color.White, color.RGBA{255, 0, 0, 255}}
	for i := range frames {
		img := image.NewPaletted(image.Rect(0, 0, width, height), colors)
		for j := range img.Pix {
			img.Pix[j] = uint8((i + j/width/8) % 3)
		}
		g.Image, g.Delay = append(g.Image, img), append(g.Delay, 5)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func randomBytes(n int, seed uint64) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}
