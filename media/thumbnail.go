package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"astrocyte/matrix"
	"astrocyte/store"
)

var thumbnailSeconds = promauto.NewHistogram(prometheus.HistogramOpts{
	Name:    "astrocyte_media_thumbnail_seconds",
	Help:    "How long thumbnails took to make.",
	Buckets: prometheus.ExponentialBuckets(0.005, 2, 12),
})

// Wanted is the thumbnail that a client asks for.
type Wanted struct {
	Width, Height int
	Crop          bool
	Animated      bool
}

// steps are the sizes in which thumbnails are made: the five of the specification, and a larger one for
// screens with small pixels. squares are those of cut ones, which are faces mostly.
//
// Spec: CS "Thumbnails".
var (
	steps   = [][2]int{{32, 32}, {96, 96}, {320, 240}, {640, 480}, {800, 600}, {1600, 1200}}
	squares = [][2]int{{32, 32}, {96, 96}, {160, 160}, {320, 320}, {640, 640}, {800, 800}}
)

// step is the size that is made for a wish: the smallest that is not smaller, so that there are few of a file.
func (w Wanted) step() Wanted {
	sizes := steps
	if w.Crop && w.Width == w.Height {
		sizes = squares
	}
	best := sizes[len(sizes)-1]
	for i := len(sizes) - 1; i >= 0 && sizes[i][0] >= w.Width && sizes[i][1] >= w.Height; i-- {
		best = sizes[i]
	}
	w.Width, w.Height = best[0], best[1]
	return w
}

// form names a size in the database.
func (w Wanted) form() string {
	how, animated := "scale", ""
	if w.Crop {
		how = "crop"
	}
	if w.Animated {
		animated = "-animated"
	}
	return fmt.Sprintf("%s-%dx%d%s", how, w.Width, w.Height, animated)
}

// thumbnailTime bounds how long a thumbnail may take, with the waiting for others.
const thumbnailTime = time.Minute

// Thumbnail finds or makes a thumbnail of a file.
func (r *Repository) Thumbnail(ctx context.Context, f *File, w Wanted) (*File, error) {
	if w.Width <= 0 || w.Height <= 0 {
		return nil, matrix.InvalidParam("a thumbnail needs a width and a height")
	}
	w = w.step()
	if t, found, err := r.madeThumbnail(ctx, f, w.form()); err != nil || found {
		return t, err
	}
	if why, known := r.hopeless.Get(f.Hash); known {
		return nil, why
	}
	made, err, _ := r.thumbs.Do(f.Hash.String()+w.form(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), thumbnailTime)
		defer cancel()
		return r.makeThumbnail(ctx, f, w)
	})
	if err != nil {
		return nil, err
	}
	return made.(*File), nil
}

func (r *Repository) madeThumbnail(ctx context.Context, f *File, form string) (*File, bool, error) {
	var t thumbnail
	found := false
	err := r.db.View(ctx, func(tx *store.Tx) (err error) {
		t, found, err = thumbnailOf(tx, f.Hash, form)
		return err
	})
	if err != nil || !found {
		return nil, false, err
	}
	return r.thumbnailFile(f, t), true, nil
}

// thumbnailFile is a thumbnail as it is given.
func (r *Repository) thumbnailFile(f *File, t thumbnail) *File {
	_, kind, _ := bytes.Cut([]byte(t.contentType), []byte("/"))
	return &File{
		ID: f.ID, Hash: t.hash, Size: t.size, ContentType: t.contentType, Name: "thumbnail." + string(kind),
		Created: f.Created, Public: f.Public, place: t.place, arrived: true,
	}
}

// makeThumbnail makes and keeps a thumbnail. Of a file that none can be made of this is remembered.
func (r *Repository) makeThumbnail(ctx context.Context, f *File, w Wanted) (*File, error) {
	body, kind, err := r.drawThumbnail(ctx, f, w)
	if errors.Is(err, errBroken) {
		err = errNotPicture
	}
	if err != nil {
		var fault *matrix.Error
		if errors.As(err, &fault) && fault.Code != matrix.CodeLimitExceeded {
			r.hopeless.Put(f.Hash, fault, 1)
		}
		return nil, err
	}
	if body == nil { // the file is small enough itself
		t := thumbnail{hash: f.Hash, contentType: kind, size: f.Size, place: f.place}
		err := r.db.Update(ctx, func(tx *store.Tx) error { return r.recordThumbnail(tx, f, w, t) })
		return r.thumbnailFile(f, t), err
	}
	s, err := r.stage(ctx, bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return nil, err
	}
	defer s.drop()
	t := thumbnail{hash: s.hash, contentType: kind, size: s.size}
	err = r.keep(ctx, s, func(tx *store.Tx) error {
		b, _, err := blobOf(tx, s.hash)
		if err != nil {
			return err
		}
		t.place = b.place
		return r.recordThumbnail(tx, f, w, t)
	}, "")
	return r.thumbnailFile(f, t), err
}

// recordThumbnail notes a thumbnail of a file that is still there.
func (r *Repository) recordThumbnail(tx *store.Tx, f *File, w Wanted, t thumbnail) error {
	b, found, err := lockBlob(tx, f.Hash)
	if err == nil && (!found || b.state != blobHere) {
		err = errUnknown
	}
	if err != nil {
		return err
	}
	return insertThumbnail(tx, f.Hash, w.form(), t)
}

// maxQueued bounds how many thumbnails are made and waited for on a node.
const maxQueued = 64

// drawThumbnail decodes a file and makes it smaller, when there is a free worker and enough memory. No
// bytes mean that the file is its own thumbnail.
func (r *Repository) drawThumbnail(ctx context.Context, f *File, w Wanted) (body []byte, kind string, err error) {
	if r.queued.Add(1) > maxQueued {
		r.queued.Add(-1)
		return nil, "", matrix.TooMany("media.thumbnails", 5*time.Second, "too many thumbnails are being made")
	}
	defer r.queued.Add(-1)
	if err := r.workers.Acquire(ctx, 1); err != nil {
		return nil, "", err
	}
	defer r.workers.Release(1)
	defer prometheus.NewTimer(thumbnailSeconds).ObserveDuration()
	opened, err := r.Open(ctx, f)
	if err != nil {
		return nil, "", err
	}
	defer opened.Close()
	blob := &watched{ReadSeeker: opened}
	defer func() {
		if blob.failed != nil {
			err = fmt.Errorf("read a file for its thumbnail: %w", blob.failed)
		}
	}()
	p, err := readPicture(blob, r.c.Thumbnails.MaxFrames)
	if err != nil {
		return nil, "", err
	}
	if p.width <= w.Width && p.height <= w.Height && p.orientation == 1 && (w.Animated || !p.animated) {
		return nil, p.kind, nil
	}
	moving := w.Animated && p.kind == "image/gif" && p.animated && p.frames <= r.c.Thumbnails.MaxFrames &&
		int64(p.frames)*p.pixels() <= r.c.Thumbnails.MaxPixels
	to := p.shape(w)
	cost := p.cost + 16*int64(to.width)*int64(to.height) + 4*p.pixels()/16
	if moving {
		cost = int64(p.frames)*(p.pixels()+int64(to.width)*int64(to.height)) + 8*p.pixels()
	}
	if p.pixels() > r.c.Thumbnails.MaxPixels || cost > int64(r.c.Thumbnails.Memory) {
		return nil, "", matrix.E(matrix.CodeTooLarge, "this image has too many pixels for a thumbnail").WithStatus(413)
	}
	if err := r.pixels.Acquire(ctx, cost); err != nil {
		return nil, "", err
	}
	defer r.pixels.Release(cost)
	if moving {
		return drawMoving(blob, to)
	}
	return p.draw(blob, to)
}

// watched tells a storage that fails from an image that is broken.
type watched struct {
	io.ReadSeeker
	failed error
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.ReadSeeker.Read(b)
	if err != nil && err != io.EOF {
		w.failed = err
	}
	return n, err
}

// shape is how an image fits a wish, before it is turned.
func (p *picture) shape(w Wanted) shape {
	if p.orientation < 5 {
		return shapeOf(p.width, p.height, w.Width, w.Height, w.Crop)
	}
	return shapeOf(p.height, p.width, w.Width, w.Height, w.Crop).turned()
}

func drawMoving(blob io.ReadSeeker, to shape) ([]byte, string, error) {
	if _, err := blob.Seek(0, io.SeekStart); err != nil {
		return nil, "", err
	}
	g, err := shrinkGIF(blob, to)
	if err != nil {
		return nil, "", err
	}
	var out bytes.Buffer
	if err := gif.EncodeAll(&out, g); err != nil {
		return nil, "", fmt.Errorf("encode a thumbnail: %w", err)
	}
	return out.Bytes(), "image/gif", nil
}

// quality is that of JPEG thumbnails.
const quality = 82

// draw makes a still thumbnail: a JPEG of what was a photograph, and otherwise a PNG.
func (p *picture) draw(blob io.ReadSeeker, to shape) ([]byte, string, error) {
	img, err := p.decode(blob)
	if err != nil {
		return nil, "", errBroken
	}
	b := img.Bounds()
	if b.Dx() < to.part.Max.X || b.Dy() < to.part.Max.Y { // a first frame that is smaller than the whole
		to = shapeOf(b.Dx(), b.Dy(), to.width, to.height, false)
	}
	small := turn(shrink(img, to), p.orientation)
	var out bytes.Buffer
	kind := "image/png"
	if _, flat := img.(*image.YCbCr); flat && p.kind != "image/png" || p.kind == "image/jpeg" {
		kind, err = "image/jpeg", jpeg.Encode(&out, small, &jpeg.Options{Quality: quality})
	} else {
		err = png.Encode(&out, small)
	}
	if err != nil {
		return nil, "", fmt.Errorf("encode a thumbnail: %w", err)
	}
	return out.Bytes(), kind, nil
}
