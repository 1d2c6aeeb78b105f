package media

import (
	"bufio"
	"encoding/binary"
	"image/jpeg"
	"io"
)

// maxJPEGHead bounds how far the header of a JPEG may reach, with colour profiles and camera notes.
const maxJPEGHead = 16 << 20

// readJPEG reads the header of a JPEG. Its size is what the decoder itself reads; the cost is of the worst
// kind where the frame header is not found.
func (p *picture) readJPEG(f io.ReadSeeker, r *bufio.Reader) error {
	c, err := jpeg.DecodeConfig(r)
	if err != nil {
		return errBroken
	}
	p.width, p.height = c.Width, c.Height
	p.cost = 24 * p.pixels()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r.Reset(io.LimitReader(f, maxJPEGHead))
	_, _ = r.Discard(2)
	for {
		marker, segment, err := nextSegment(r)
		if err != nil {
			return nil
		}
		switch {
		case marker == 0xe1:
			if o := orientation(segment); o != 0 {
				p.orientation = o
			}
		case marker == 0xc0, marker == 0xc1, marker == 0xc2:
			p.cost = p.jpegCost(segment, marker == 0xc2)
			return nil
		case marker == 0xda:
			return nil
		}
	}
}

// nextSegment reads a segment of a JPEG's header.
func nextSegment(r *bufio.Reader) (marker byte, segment []byte, err error) {
	for marker == 0 || marker == 0xff {
		b, err := r.ReadByte()
		if err != nil {
			return 0, nil, err
		}
		if marker == 0 && b != 0xff {
			continue
		}
		if marker = b; b == 0xff {
			continue
		}
		if b == 0 || b == 0x01 || b >= 0xd0 && b <= 0xd7 {
			marker = 0
		}
	}
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return 0, nil, err
	}
	segment = make([]byte, max(be16(size[:])-2, 0))
	_, err = io.ReadFull(r, segment)
	return marker, segment, err
}

// jpegCost is what decoding takes: a plane for each component by its sampling, and for progressive images
// the coefficients of all of them.
//
// Spec: ITU-T T.81, B.2.2 "Frame header syntax".
func (p *picture) jpegCost(sof []byte, progressive bool) int64 {
	if len(sof) < 6 || len(sof) < 6+3*int(sof[5]) {
		return p.cost
	}
	parts, most := 0, 1
	for i := range int(sof[5]) {
		sampling := sof[6+3*i+1]
		area := int(sampling>>4) * int(sampling&15)
		parts, most = parts+area, max(most, area)
	}
	each := int64(1)
	if progressive {
		each += 4
	}
	cost := p.pixels() * int64(parts) * each / int64(most)
	if sof[5] == 4 {
		cost += 4 * p.pixels()
	}
	return cost
}

// orientation reads how a camera was held from an Exif segment, 0 where it does not say.
//
// Spec: Exif 2.3, 4.6.4 "Orientation"; TIFF 6.0, section 2.
func orientation(segment []byte) int {
	if len(segment) < 14 || string(segment[:6]) != "Exif\x00\x00" {
		return 0
	}
	tiff := segment[6:]
	var order binary.ByteOrder = binary.BigEndian
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
	default:
		return 0
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 0
	}
	entries := int64(order.Uint16(tiff[at:]))
	for i := range entries {
		from := at + 2 + 12*i
		if from+12 > int64(len(tiff)) {
			return 0
		}
		if entry := tiff[from:]; order.Uint16(entry) == 0x0112 {
			if o := int(order.Uint16(entry[8:])); o >= 1 && o <= 8 {
				return o
			}
			return 0
		}
	}
	return 0
}
