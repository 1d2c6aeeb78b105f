package media_test

import (
	"context"
	"fmt"
	"image"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"astrocyte/media"
	"astrocyte/testkit"
)

// BenchmarkThumbnail makes thumbnails of a large photograph and a large drawing.
func BenchmarkThumbnail(b *testing.B) {
	for _, size := range []image.Point{{1920, 1080}, {4000, 3000}, {8000, 6000}} {
		drawn := picture(size.X, size.Y)
		for name, body := range map[string][]byte{"jpeg": jpegOf(b, drawn), "png": pngOf(b, drawn)} {
			b.Run(fmt.Sprintf("%s-%dMP", name, size.X*size.Y/1_000_000), func(b *testing.B) {
				w := newWorld(b, testkit.SQLite(b))
				b.ReportAllocs()
				for i := range b.N {
					b.StopTimer()
					// A byte behind the end makes it another file.
					id := w.stores("", "", append(body[:len(body):len(body)], fmt.Sprint(i)...))
					f := w.finds(id)
					done := peak(b)
					b.StartTimer()
					if _, err := w.Thumbnail(context.Background(), f, media.Wanted{Width: 800, Height: 600}); err != nil {
						b.Fatal(err)
					}
					done()
				}
			})
		}
	}
}

// BenchmarkUpload takes in files of a megabyte that nobody has uploaded before.
func BenchmarkUpload(b *testing.B) {
	w := newWorld(b, testkit.SQLite(b))
	body := randomBytes(1<<20, 99)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for i := range b.N {
		copy(body, fmt.Sprint(i))
		w.stores("", "", body)
	}
}

// BenchmarkDownload reads a file of a hundred megabytes.
func BenchmarkDownload(b *testing.B) {
	w := newWorld(b, testkit.SQLite(b))
	body := randomBytes(100<<20, 98)
	f := w.finds(w.stores("", "", body))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for range b.N {
		blob, err := w.Open(context.Background(), f)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{blob}, make([]byte, 32<<10)); err != nil {
			b.Fatal(err)
		}
		blob.Close()
	}
}

// peak measures by how many megabytes the memory in use has grown at most, until the function is called.
func peak(b *testing.B) (done func()) {
	runtime.GC()
	debug.SetGCPercent(10)
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	used := func() uint64 { metrics.Read(sample); return sample[0].Value.Uint64() }
	before, most := used(), uint64(0)
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			most = max(most, used())
			select {
			case <-over:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() {
		close(over)
		<-ended
		debug.SetGCPercent(100)
		b.ReportMetric(float64(most-min(before, most))/(1<<20), "peak-MB")
	}
}

// BenchmarkGigabyte takes in a file of a gigabyte, and gives it back.
func BenchmarkGigabyte(b *testing.B) {
	w := newWorld(b, testkit.SQLite(b), func(o *media.Options) { o.Config.MaxUpload = 2 << 30 })
	const size = 1 << 30
	var f *media.File
	b.Run("up", func(b *testing.B) {
		b.SetBytes(size)
		for i := range b.N {
			source := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)})
			done := peak(b)
			id, err := w.Store(context.Background(), media.Upload{User: alice, Body: io.LimitReader(source, size), Size: size})
			done()
			if err != nil {
				b.Fatal(err)
			}
			f = w.finds(id)
		}
	})
	b.Run("down", func(b *testing.B) {
		b.SetBytes(size)
		for range b.N {
			done := peak(b)
			blob, err := w.Open(context.Background(), f)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{blob}, make([]byte, 32<<10)); err != nil {
				b.Fatal(err)
			}
			blob.Close()
			done()
		}
	})
}
