package media_test

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/gif"
	"io"
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/media"
	"astrocyte/testkit"
)

// thumb makes a thumbnail, which must succeed, and decodes it.
func (w *world) thumb(id media.ID, wanted media.Wanted) (image.Image, *media.File) {
	w.t.Helper()
	t, err := w.Thumbnail(context.Background(), w.finds(id), wanted)
	if err != nil {
		w.t.Fatalf("thumbnail %+v: %v", wanted, err)
	}
	body := w.reads(t)
	img, format, err := image.Decode(bytes.NewReader(body))
	if err != nil || "image/"+format != t.ContentType || int64(len(body)) != t.Size {
		w.t.Fatalf("the thumbnail is %s of %d bytes, said to be %s of %d: %v", format, len(body), t.ContentType, t.Size, err)
	}
	return img, t
}

func TestThumbnails(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		drawn := picture(1000, 500)
		for _, c := range []struct {
			name          string
			body          []byte
			wanted        media.Wanted
			width, height int
			kind          string
		}{
			{"scaled", pngOf(t, drawn), media.Wanted{Width: 320, Height: 240}, 320, 160, "image/png"},
			{"a size between the steps", pngOf(t, drawn), media.Wanted{Width: 100, Height: 90}, 320, 160, "image/png"},
			{"larger than all steps", pngOf(t, picture(4000, 100)), media.Wanted{Width: 9000, Height: 9000}, 1600, 40, "image/png"},
			{"cut", jpegOf(t, drawn), media.Wanted{Width: 96, Height: 96, Crop: true}, 96, 96, "image/jpeg"},
			{"cut from a high one", jpegOf(t, picture(500, 1000)), media.Wanted{Width: 32, Height: 32, Crop: true}, 32, 32, "image/jpeg"},
			{"never larger", pngOf(t, picture(50, 20)), media.Wanted{Width: 320, Height: 240}, 50, 20, "image/png"},
			{"a still one of an animation", gifOf(t, 400, 400, 4), media.Wanted{Width: 96, Height: 96}, 96, 96, "image/png"},
			{"a still one of a small animation", gifOf(t, 40, 40, 4), media.Wanted{Width: 96, Height: 96}, 40, 40, "image/png"},
			{"a small animation", gifOf(t, 40, 40, 4), media.Wanted{Width: 96, Height: 96, Animated: true}, 40, 40, "image/gif"},
			{"an animation of a photograph", jpegOf(t, drawn), media.Wanted{Width: 96, Height: 96, Animated: true}, 96, 48, "image/jpeg"},
		} {
			id := w.stores(c.name, "", c.body)
			img, f := w.thumb(id, c.wanted)
			if b := img.Bounds(); b.Dx() != c.width || b.Dy() != c.height || f.ContentType != c.kind {
				t.Errorf("%s: %dx%d %s, want %dx%d %s", c.name, b.Dx(), b.Dy(), f.ContentType, c.width, c.height, c.kind)
			}
			files := len(w.files())
			_, again := w.thumb(id, c.wanted)
			if again.Hash != f.Hash || len(w.files()) != files {
				t.Errorf("%s: asking again made another thumbnail", c.name)
			}
		}
	})
}

func TestThumbnailShowsThePicture(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testkit.SQLite(t))
	id := w.stores("", "image/png", pngOf(t, picture(1000, 1000)))
	img, _ := w.thumb(id, media.Wanted{Width: 96, Height: 96})
	for _, at := range []struct{ x, y, r, g, b uint32 }{{10, 10, 255, 0, 0}, {90, 90, 240, 240, 128}, {48, 90, 128, 240, 128}} {
		r, g, b, _ := img.At(int(at.x), int(at.y)).RGBA()
		for i, diff := range []int{int(r>>8) - int(at.r), int(g>>8) - int(at.g), int(b>>8) - int(at.b)} {
			if diff < -8 || diff > 8 {
				t.Errorf("colour %d at %d,%d is off by %d", i, at.x, at.y, diff)
			}
		}
	}
}

func TestAnimationStaysOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testkit.SQLite(t))
	id := w.stores("", "image/gif", gifOf(t, 400, 200, 7))
	_, f := w.thumb(id, media.Wanted{Width: 96, Height: 96, Animated: true})
	g, err := gif.DecodeAll(bytes.NewReader(w.reads(f)))
	if err != nil || len(g.Image) != 7 || g.Config.Width != 96 || g.Config.Height != 48 || g.Delay[3] != 5 {
		t.Fatalf("%d frames of %dx%d, %v", len(g.Image), g.Config.Width, g.Config.Height, err)
	}
}

// TestPhotographsAreTurned gives a thumbnail the orientation that Exif tells: 6 is turned to the right.
func TestPhotographsAreTurned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testkit.SQLite(t))
	body := jpegOf(t, picture(1000, 500))
	exif := "Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
	segment := append([]byte{0xff, 0xe1, 0, byte(len(exif) + 2)}, exif...)
	body = append(append(body[:2:2], segment...), body[2:]...)
	img, _ := w.thumb(w.stores("", "image/jpeg", body), media.Wanted{Width: 320, Height: 240})
	if b := img.Bounds(); b.Dx() != 120 || b.Dy() != 240 {
		t.Fatalf("the thumbnail is %v", b)
	}
	if r, g, _, _ := img.At(110, 10).RGBA(); r>>8 < 200 || g>>8 > 60 {
		t.Errorf("the red corner is not at the upper right: %d %d", r>>8, g>>8)
	}
}

func TestThumbnailsGoWithTheirFile(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn)
		large, small := w.stores("", "", pngOf(t, picture(500, 500))), w.stores("", "", pngOf(t, picture(20, 20)))
		for _, id := range []media.ID{large, small} {
			w.thumb(id, media.Wanted{Width: 96, Height: 96})
			w.thumb(id, media.Wanted{Width: 320, Height: 240})
			if err := w.Delete(context.Background(), id); err != nil {
				t.Fatal(err)
			}
		}
		w.sweep()
		w.sweep()
		if files := w.files(); len(files) != 0 {
			t.Errorf("there are still %v", files)
		}
	})
}

// TestBombs asks for thumbnails of what is made to use up memory or time, or is not what it says.
func TestBombs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testkit.SQLite(t), func(o *media.Options) {
		o.Config.Thumbnails.MaxPixels, o.Config.Thumbnails.Memory = 20_000_000, 64<<20
	})
	whole := pngOf(t, picture(300, 300))
	for name, c := range map[string]struct {
		body []byte
		code matrix.Code
	}{
		"a gigabyte of zeroes":            {bombPNG(t, 16_384, 16_384), matrix.CodeTooLarge},
		"sizes that overflow":             {bombPNG(t, 1<<31-1, 1<<31-1), matrix.CodeUnknown},
		"a GIF of great size":             {wideGIF(65_535, 65_535), matrix.CodeTooLarge},
		"a WebP whose parts disagree":     {lyingWebP(), matrix.CodeTooLarge},
		"cut off":                         {whole[:len(whole)/2], matrix.CodeUnknown},
		"a header alone":                  {whole[:33], matrix.CodeUnknown},
		"a beginning of 3 bytes":          {[]byte("\xff\xd8\xff"), matrix.CodeUnknown},
		"a page":                          {[]byte("<html><script>alert(1)</script></html>"), matrix.CodeUnknown},
		"a drawing with a script":         {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`), matrix.CodeUnknown},
		"nothing":                         {nil, matrix.CodeUnknown},
		"a RIFF of endless chunks":        {append([]byte("RIFF\xff\xff\xff\xffWEBP"), bytes.Repeat([]byte("XXXX\x00\x00\x00\x00"), 10_000)...), matrix.CodeUnknown},
		"a picture of which AVIF is said": {[]byte("\x00\x00\x00\x20ftypavif\x00\x00\x00\x00avifmif1miaf"), matrix.CodeUnknown},
	} {
		id := w.stores(name, "image/png", c.body)
		for range 2 { // the second answer is remembered
			_, err := w.Thumbnail(context.Background(), w.finds(id), media.Wanted{Width: 96, Height: 96})
			t.Log(name, err)
			wants(t, err, c.code)
		}
	}
	// Many frames: a still thumbnail of the first, without the others.
	many := w.stores("", "image/gif", manyFrames(50_000))
	img, f := w.thumb(many, media.Wanted{Width: 32, Height: 32, Animated: true})
	if f.ContentType != "image/png" || img.Bounds().Dx() != 32 {
		t.Errorf("the thumbnail of 50,000 frames is %s, %v", f.ContentType, img.Bounds())
	}
}

// bombPNG is a small file that is said to have, and up to a gigabyte has, many pixels.
func bombPNG(t *testing.T, width, height uint32) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("\x89PNG\r\n\x1a\n")
	chunk := func(name string, body []byte) {
		_ = binary.Write(&b, binary.BigEndian, uint32(len(body)))
		sum := crc32.NewIEEE()
		_, _ = io.MultiWriter(&b, sum).Write(append([]byte(name), body...))
		_ = binary.Write(&b, binary.BigEndian, sum.Sum32())
	}
	ihdr := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	chunk("IHDR", append(ihdr, 8, 6, 0, 0, 0))
	var packed, block bytes.Buffer
	z := zlib.NewWriter(&packed)
	if width < 1<<20 {
		// A block of a megabyte of zeroes stands for itself wherever it is, so that one is enough.
		deflate, err := flate.NewWriter(&block, flate.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := deflate.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		deflate.Flush()
		z.Flush()
		packed.Write(bytes.Repeat(block.Bytes(), int(width)*int(height)>>18+1))
	}
	z.Close()
	chunk("IDAT", packed.Bytes())
	chunk("IEND", nil)
	return b.Bytes()
}

func wideGIF(width, height uint16) []byte {
	b := []byte("GIF89a")
	b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, width), height)
	b = append(b, 0x80, 0, 0, 0, 0, 0, 255, 255, 255, 0x2c, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, width), height)
	return append(b, 0, 2, 1, 0x44, 0, 0x3b)
}

// manyFrames is an animation of 64 by 64 pixels whose frames are a few bytes each.
func manyFrames(n int) []byte {
	one := gifFrame()
	b := []byte("GIF89a\x40\x00\x40\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff")
	return append(append(b, bytes.Repeat(one, n)...), 0x3b)
}

// gifFrame is a frame of 64 by 64 pixels as it stands in a file.
func gifFrame() []byte {
	var b bytes.Buffer
	img := image.NewPaletted(image.Rect(0, 0, 64, 64), nil)
	img.Palette = append(img.Palette, image.Black.C, image.White.C)
	_ = gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{img}, Delay: []int{0}, Config: image.Config{ColorModel: img.Palette, Width: 64, Height: 64}})
	body := b.Bytes()
	return body[bytes.IndexByte(body[13+6:], 0x2c)+13+6 : len(body)-1]
}

// lyingWebP says to be 1 by 1 pixels, but its image has 16,383 by 16,383.
func lyingWebP() []byte {
	body := "VP8X\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "VP8 \x0a\x00\x00\x00\x00\x00\x00\x9d\x01\x2a\xff\x3f\xff\x3f"
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body)+4)), "WEBP"+body...)
}

// aWebP is a lossless image of one pixel.
const aWebP = "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA=="

func TestWebP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testkit.SQLite(t))
	body, err := base64.StdEncoding.DecodeString(aWebP)
	if err != nil {
		t.Fatal(err)
	}
	f, err := w.Thumbnail(context.Background(), w.finds(w.stores("", "image/webp", body)), media.Wanted{Width: 32, Height: 32})
	if err != nil || f.ContentType != "image/webp" {
		t.Fatalf("a small WebP is its own thumbnail: %+v %v", f, err)
	}
	// An animation of it, whose first frame is the thumbnail.
	chunk := body[12:]
	frame := append(append([]byte("ANMF"), binary.LittleEndian.AppendUint32(nil, uint32(16+len(chunk)))...), make([]byte, 16)...)
	frame = append(frame, chunk...)
	rest := append([]byte("WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00ANIM\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00"), frame...)
	moving := append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(rest))), rest...)
	img, still := w.thumb(w.stores("", "image/webp", moving), media.Wanted{Width: 32, Height: 32})
	if still.ContentType != "image/png" || img.Bounds().Dx() != 1 {
		t.Errorf("the still of an animated WebP is %s, %v", still.ContentType, img.Bounds())
	}
}

func TestWhatIsLiedAboutIsNotShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testkit.SQLite(t))
	page := []byte("<html><script>alert(1)</script></html>")
	for _, c := range []struct {
		name, said string
		body       []byte
		kind, how  string
	}{
		{"a.png", "image/png", pngOf(t, picture(2, 2)), "image/png", `inline; filename=a.png`},
		{"a.png", "image/png", page, "application/octet-stream", `attachment; filename=a.png`},
		{"a.html", "text/html", page, "text/html", `attachment; filename=a.html`},
		{"a.svg", "image/svg+xml", page, "image/svg+xml", `attachment; filename=a.svg`},
		{"a.txt", "Text/Plain; charset=UTF-8", page, "text/plain; charset=UTF-8", `inline; filename=a.txt`},
		{"", "text/plain", page, "text/plain", `inline`},
		{"", "", page, "application/octet-stream", `attachment`},
		{"", "nonsense", page, "application/octet-stream", `attachment`},
		{"", "text/html\r\nX-Evil: 1", page, "application/octet-stream", `attachment`},
		{"", "text/" + strings.Repeat("x", 300), page, "application/octet-stream", `attachment`},
		{"../../etc/passwd", "x/y", page, "x/y", `attachment; filename=passwd`},
		{`C:\temp\x.exe`, "x/y", page, "x/y", `attachment; filename=x.exe`},
		{"a\r\nSet-Cookie: b=c\x00\x1b[2J", "x/y", page, "x/y", `attachment; filename="aSet-Cookie: b=c[2J"`},
		{"fdp\u202egpj.exe", "x/y", page, "x/y", `attachment; filename=fdpgpj.exe`},
		{"..", "x/y", page, "x/y", `attachment`},
		{"\xff\xfe.txt", "x/y", page, "x/y", `attachment; filename=.txt`},
		{"ü.txt", "x/y", page, "x/y", `attachment; filename*=utf-8''%C3%BC.txt`},
		{strings.Repeat("n", 1000), "x/y", page, "x/y", `attachment; filename=` + strings.Repeat("n", 255)},
	} {
		f := w.finds(w.stores(c.name, c.said, c.body))
		if got := media.Disposition(f.ContentType, f.Name); f.ContentType != c.kind || got != c.how {
			t.Errorf("%q said to be %q is %q, %q; want %q, %q", c.name, c.said, f.ContentType, got, c.kind, c.how)
		}
	}
}

func FuzzPicture(f *testing.F) {
	f.Add(manyFrames(3))
	f.Add(lyingWebP())
	f.Add(wideGIF(3, 3))
	f.Add(pngOf(f, picture(3, 3)))
	f.Add(jpegOf(f, picture(3, 3)))
	f.Fuzz(func(_ *testing.T, b []byte) { media.TryPicture(b) })
}
