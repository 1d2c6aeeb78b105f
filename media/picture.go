package media

import (
	"bufio"
	"errors"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/webp"

	"astrocyte/matrix"
)

// picture is what the header of an image says. Nothing of it is decoded yet.
type picture struct {
	kind          string // its real type, whatever it was said to be
	width, height int
	// cost is the memory that decoding it takes, in bytes.
	cost int64
	// orientation is how it has to be turned, as in Exif: 1 to 8.
	orientation int
	animated    bool
	frames      int   // of a GIF, as far as they are counted
	still       still // of a WebP: where its first frame is
}

func (p *picture) pixels() int64 { return int64(p.width) * int64(p.height) }

// errNotPicture is the answer for what no thumbnail can be made of.
var errNotPicture = matrix.E(matrix.CodeUnknown, "there can be no thumbnail of this").WithStatus(400)

// errBroken marks an image that cannot be decoded.
var errBroken = errors.New("the image is broken")

// readPicture reads the header of an image.
func readPicture(f io.ReadSeeker, maxFrames int) (*picture, error) {
	head := make([]byte, headSize)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return nil, err
	}
	p := &picture{kind: imageType(head[:n]), orientation: 1, frames: 1}
	if p.kind == "" {
		return nil, errNotPicture
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(f, 16<<10)
	switch p.kind {
	case "image/png":
		err = p.readPNG(r)
	case "image/jpeg":
		err = p.readJPEG(f, r)
	case "image/gif":
		err = p.readGIF(f, r, maxFrames)
	case "image/webp":
		err = p.readWebP(f)
	}
	if err == nil && (p.width <= 0 || p.height <= 0) {
		err = errBroken
	}
	return p, err
}

// decode decodes an image, of an animation the first frame.
func (p *picture) decode(f io.ReadSeeker) (image.Image, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(f, 64<<10)
	switch p.kind {
	case "image/png":
		return png.Decode(r)
	case "image/jpeg":
		return jpeg.Decode(r)
	case "image/gif":
		return gif.Decode(r)
	}
	still, err := p.still.reader(f, r)
	if err != nil {
		return nil, err
	}
	return webp.Decode(still)
}

// readPNG reads the header of a PNG, and whether it is animated.
//
// Spec: W3C PNG, 5.3 "Chunk layout", 11.2.1 "IHDR", 11.3.6.1 "acTL".
func (p *picture) readPNG(r *bufio.Reader) error {
	var head [8 + 8 + 13 + 4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[12:16]) != "IHDR" {
		return errBroken
	}
	ihdr := head[16:]
	width, height := be32(ihdr), be32(ihdr[4:])
	if width > 1<<30 || height > 1<<30 {
		return errBroken
	}
	p.width, p.height = int(width), int(height)
	p.cost = 4 * p.pixels()
	if ihdr[8] == 16 {
		p.cost *= 2
	}
	if ihdr[12] != 0 {
		p.cost *= 2 // interlaced: a pass is decoded beside the image
	}
	for range 64 { // the chunks before the first IDAT
		var chunk [8]byte
		if _, err := io.ReadFull(r, chunk[:]); err != nil {
			return errBroken
		}
		switch string(chunk[4:]) {
		case "acTL":
			p.animated = true
			return nil
		case "IDAT", "IEND":
			return nil
		}
		if _, err := r.Discard(int(min(be32(chunk[:]), 1<<30)) + 4); err != nil {
			return errBroken
		}
	}
	return nil
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
func be16(b []byte) int { return int(b[0])<<8 | int(b[1]) }
