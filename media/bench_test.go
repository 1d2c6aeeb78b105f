package media_test

import (
	"context"
	"fmt"
	"image"
	"io"
	"testing"

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
					b.StartTimer()
					if _, err := w.Thumbnail(context.Background(), f, media.Wanted{Width: 800, Height: 600}); err != nil {
						b.Fatal(err)
					}
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
