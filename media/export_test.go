package media

import (
	"bytes"
	"image"
)

// TryPicture reads the header of an image, and decodes it if it is small.
func TryPicture(b []byte) (img image.Image) {
	f := bytes.NewReader(b)
	p, err := readPicture(f, 10)
	if err == nil && p.cost < 1<<24 && p.pixels() < 1<<20 {
		img, _ = p.decode(f)
		if img != nil {
			_ = shrink(img, shapeOf(img.Bounds().Dx(), img.Bounds().Dy(), 32, 32, true))
		}
	}
	return img
}
