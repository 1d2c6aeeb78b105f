package media

import (
	"image"
	"image/color"

	"golang.org/x/image/draw"
)

// shape is what an image is made into: the part of it that is shown, and how large.
type shape struct {
	part          image.Rectangle
	width, height int
}

// shapeOf fits an image of a size into a box: whole, or cut to the box's proportions. It never grows.
//
// Spec: CS "Thumbnails".
func shapeOf(width, height, boxWidth, boxHeight int, crop bool) shape {
	s := shape{part: image.Rect(0, 0, width, height)}
	if crop {
		if width*boxHeight > boxWidth*height { // too wide
			cut := max(height*boxWidth/boxHeight, 1)
			s.part.Min.X = (width - cut) / 2
			s.part.Max.X = s.part.Min.X + cut
		} else {
			cut := max(width*boxHeight/boxWidth, 1)
			s.part.Min.Y = (height - cut) / 2
			s.part.Max.Y = s.part.Min.Y + cut
		}
	}
	w, h := s.part.Dx(), s.part.Dy()
	switch {
	case w <= boxWidth && h <= boxHeight:
		s.width, s.height = w, h
	case w*boxHeight > boxWidth*h:
		s.width, s.height = boxWidth, max(h*boxWidth/w, 1)
	default:
		s.width, s.height = max(w*boxHeight/h, 1), boxHeight
	}
	return s
}

// turned is the same shape of an image that has yet to be turned by a quarter.
func (s shape) turned() shape {
	return shape{
		part:  image.Rect(s.part.Min.Y, s.part.Min.X, s.part.Max.Y, s.part.Max.X),
		width: s.height, height: s.width,
	}
}

// shrink makes an image smaller: first by whole numbers, the mean of each square of pixels, and then by
// what is left, which is less than a half. Nothing of the size of the image is made beside it.
func shrink(img image.Image, to shape) *image.RGBA {
	part := to.part.Add(img.Bounds().Min).Intersect(img.Bounds())
	by := max(min(part.Dx()/to.width, part.Dy()/to.height), 1)
	small := means(img, part, by)
	if small.Rect.Dx() == to.width && small.Rect.Dy() == to.height {
		return small
	}
	out := image.NewRGBA(image.Rect(0, 0, to.width, to.height))
	draw.ApproxBiLinear.Scale(out, out.Rect, small, small.Rect, draw.Src, nil)
	return out
}

// means gives the mean of each square of by times by pixels.
func means(img image.Image, part image.Rectangle, by int) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, part.Dx()/by, part.Dy()/by))
	row := rowReader(img)
	sums, line := make([]uint32, 4*out.Rect.Dx()), make([]uint8, 4*out.Rect.Dx()*by)
	count := uint32(by * by)
	for y := range out.Rect.Dy() {
		clear(sums)
		for dy := range by {
			row(line, part.Min.X, part.Min.Y+y*by+dy)
			for i := range out.Rect.Dx() {
				sum := sums[4*i : 4*i+4 : 4*i+4]
				for px := line[4*i*by : 4*(i+1)*by]; len(px) >= 4; px = px[4:] {
					sum[0] += uint32(px[0])
					sum[1] += uint32(px[1])
					sum[2] += uint32(px[2])
					sum[3] += uint32(px[3])
				}
			}
		}
		pix := out.Pix[y*out.Stride:]
		for i, sum := range sums {
			pix[i] = uint8((sum + count/2) / count)
		}
	}
	return out
}

// rowReader reads pixels of a row, from a column on, as RGBA with the colours multiplied by the opacity.
func rowReader(img image.Image) func(line []uint8, x, y int) {
	switch img := img.(type) {
	case *image.YCbCr:
		return func(line []uint8, x, y int) {
			for i := 0; i < len(line); i, x = i+4, x+1 {
				yi, ci := img.YOffset(x, y), img.COffset(x, y)
				line[i], line[i+1], line[i+2] = color.YCbCrToRGB(img.Y[yi], img.Cb[ci], img.Cr[ci])
				line[i+3] = 255
			}
		}
	case *image.RGBA:
		return func(line []uint8, x, y int) { copy(line, img.Pix[img.PixOffset(x, y):]) }
	case *image.NRGBA:
		return func(line []uint8, x, y int) {
			copy(line, img.Pix[img.PixOffset(x, y):])
			for i := 0; i < len(line); i += 4 {
				if a := uint32(line[i+3]); a != 255 {
					line[i] = uint8(uint32(line[i]) * a / 255)
					line[i+1] = uint8(uint32(line[i+1]) * a / 255)
					line[i+2] = uint8(uint32(line[i+2]) * a / 255)
				}
			}
		}
	case *image.Paletted:
		return palettedRows(img)
	case *image.Gray:
		return func(line []uint8, x, y int) {
			pix := img.Pix[img.PixOffset(x, y):]
			for i := 0; i < len(line); i += 4 {
				line[i], line[i+1], line[i+2], line[i+3] = pix[i/4], pix[i/4], pix[i/4], 255
			}
		}
	}
	return func(line []uint8, x, y int) {
		for i := 0; i < len(line); i, x = i+4, x+1 {
			r, g, b, a := img.At(x, y).RGBA()
			line[i], line[i+1], line[i+2], line[i+3] = uint8(r>>8), uint8(g>>8), uint8(b>>8), uint8(a>>8)
		}
	}
}

func palettedRows(img *image.Paletted) func(line []uint8, x, y int) {
	var colors [256][4]uint8
	for i, c := range img.Palette {
		r, g, b, a := c.RGBA()
		colors[i&255] = [4]uint8{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), uint8(a >> 8)}
	}
	return func(line []uint8, x, y int) {
		pix := img.Pix[img.PixOffset(x, y):]
		for i := 0; i < len(line); i += 4 {
			copy(line[i:i+4], colors[pix[i/4]][:])
		}
	}
}

// turn turns an image as its camera was held.
//
// Spec: Exif 2.3, 4.6.4 "Orientation".
func turn(img *image.RGBA, orientation int) *image.RGBA {
	if orientation == 1 {
		return img
	}
	w, h := img.Rect.Dx(), img.Rect.Dy()
	outW, outH := w, h
	if orientation >= 5 {
		outW, outH = h, w
	}
	out := image.NewRGBA(image.Rect(0, 0, outW, outH))
	for y := range h {
		for x := range w {
			ox, oy := x, y
			switch orientation {
			case 2:
				ox = w - 1 - x
			case 3:
				ox, oy = w-1-x, h-1-y
			case 4:
				oy = h - 1 - y
			case 5:
				ox, oy = y, x
			case 6:
				ox, oy = h-1-y, x
			case 7:
				ox, oy = h-1-y, w-1-x
			case 8:
				ox, oy = y, w-1-x
			}
			copy(out.Pix[out.PixOffset(ox, oy):][:4], img.Pix[img.PixOffset(x, y):][:4])
		}
	}
	return out
}
