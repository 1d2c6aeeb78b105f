package media

import (
	"bufio"
	"image"
	"image/color"
	"image/gif"
	"io"

	"golang.org/x/image/draw"
)

// readGIF reads the header of a GIF, and counts its frames without decoding them.
func (p *picture) readGIF(f io.ReadSeeker, r *bufio.Reader, maxFrames int) error {
	c, err := gif.DecodeConfig(r)
	if err != nil {
		return errBroken
	}
	p.width, p.height = c.Width, c.Height
	p.cost = p.pixels()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r.Reset(f)
	p.frames = countFrames(r, maxFrames+1)
	p.animated = p.frames > 1
	return nil
}

// countFrames counts the frames of a GIF up to a number, as far as it can be read.
//
// Spec: GIF 89a, appendix A.
func countFrames(r *bufio.Reader, most int) (frames int) {
	var head [13]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || !skipTable(r, head[10]) {
		return 0
	}
	for frames < most {
		b, err := r.ReadByte()
		if err != nil {
			return frames
		}
		switch b {
		case 0x21: // an extension: its label, then blocks
			if _, err := r.Discard(1); err != nil || !skipBlocks(r) {
				return frames
			}
		case 0x2c: // a frame: its place, its colours, the size of codes, then blocks
			var place [9]byte
			if _, err := io.ReadFull(r, place[:]); err != nil || !skipTable(r, place[8]) {
				return frames
			}
			if _, err := r.Discard(1); err != nil || !skipBlocks(r) {
				return frames
			}
			frames++
		default:
			return frames
		}
	}
	return frames
}

func skipTable(r *bufio.Reader, flags byte) bool {
	if flags&0x80 == 0 {
		return true
	}
	_, err := r.Discard(3 << (1 + flags&7))
	return err == nil
}

func skipBlocks(r *bufio.Reader) bool {
	for {
		n, err := r.ReadByte()
		if err != nil || n == 0 {
			return err == nil
		}
		if _, err := r.Discard(int(n)); err != nil {
			return false
		}
	}
}

// shrinkGIF makes a smaller animation. Frames are drawn one upon the other as a browser does, and each
// is made smaller as a whole.
func shrinkGIF(r io.Reader, to shape) (*gif.GIF, error) {
	g, err := gif.DecodeAll(r)
	if err != nil {
		return nil, errBroken
	}
	canvas := image.NewRGBA(image.Rect(0, 0, g.Config.Width, g.Config.Height))
	var before *image.RGBA
	out := &gif.GIF{LoopCount: g.LoopCount, Config: image.Config{Width: to.width, Height: to.height}}
	for i, frame := range g.Image {
		disposal := byte(gif.DisposalNone)
		if i < len(g.Disposal) {
			disposal = g.Disposal[i]
		}
		if disposal == gif.DisposalPrevious {
			before = clone(canvas, before)
		}
		draw.Draw(canvas, frame.Bounds(), frame, frame.Bounds().Min, draw.Over)
		out.Image = append(out.Image, paletted(shrink(canvas, to), frame.Palette))
		out.Delay = append(out.Delay, g.Delay[i])
		out.Disposal = append(out.Disposal, gif.DisposalBackground)
		switch disposal {
		case gif.DisposalBackground:
			draw.Draw(canvas, frame.Bounds(), image.Transparent, image.Point{}, draw.Src)
		case gif.DisposalPrevious:
			copy(canvas.Pix, before.Pix)
		}
		g.Image[i] = nil
	}
	return out, nil
}

func clone(from, into *image.RGBA) *image.RGBA {
	if into == nil {
		into = image.NewRGBA(from.Rect)
	}
	copy(into.Pix, from.Pix)
	return into
}

// paletted gives an image the nearest colours of a palette, one of which is transparent.
func paletted(img *image.RGBA, colors color.Palette) *image.Paletted {
	colors = append(color.Palette{color.RGBA{}}, colors[:min(len(colors), 255)]...)
	out := image.NewPaletted(img.Rect, colors)
	nearest := make([]int16, 1<<15) // by five bits of each colour; 0: not yet looked for
	for i := 0; i+3 < len(img.Pix); i += 4 {
		px := img.Pix[i : i+4 : i+4]
		if px[3] < 128 {
			continue
		}
		key := int(px[0]>>3)<<10 | int(px[1]>>3)<<5 | int(px[2]>>3)
		if nearest[key] == 0 {
			nearest[key] = int16(1 + colors[1:].Index(color.RGBA{px[0], px[1], px[2], 255}))
		}
		out.Pix[i/4] = uint8(nearest[key])
	}
	return out
}
