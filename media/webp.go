package media

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
)

// still is where the first frame of an animated WebP is; the zero value is that of one that is not.
type still struct {
	offset, size  int64 // of its chunks
	alpha         bool
	width, height int
}

// maxChunks bounds how many chunks are looked at before the first frame.
const maxChunks = 64

// readWebP reads the header of a WebP. The size that counts is the greatest that any part of it claims: the
// decoder trusts each of them.
//
// Spec: RFC 9649, 2.3 to 2.7.
func (p *picture) readWebP(f io.ReadSeeker) error {
	at := int64(12)
	for range maxChunks {
		name, size, err := chunkAt(f, at)
		if err != nil {
			return errBroken
		}
		at += 8
		switch name {
		case "VP8X":
			b, err := readAt(f, at, 10)
			if err != nil {
				return errBroken
			}
			p.animated = b[0]&0x02 != 0
			p.grow(1+le24(b[4:]), 1+le24(b[7:]))
		case "ANMF":
			return p.readFrame(f, at, size)
		case "VP8 ", "VP8L":
			return p.readBitstream(f, name, at)
		}
		at += size + size&1
	}
	return errBroken
}

// readFrame reads the first frame of an animation.
func (p *picture) readFrame(f io.ReadSeeker, at, size int64) error {
	b, err := readAt(f, at, 16)
	if err != nil || size < 16 {
		return errBroken
	}
	p.still = still{offset: at + 16, size: size - 16, width: 1 + le24(b[6:]), height: 1 + le24(b[9:])}
	p.grow(p.still.width, p.still.height)
	for in := p.still.offset; in < at+size; {
		name, n, err := chunkAt(f, in)
		if err != nil {
			return errBroken
		}
		switch name {
		case "ALPH":
			p.still.alpha = true
		case "VP8 ", "VP8L":
			return p.readBitstream(f, name, in+8)
		}
		in += 8 + n + n&1
	}
	return errBroken
}

// readBitstream reads the size at the beginning of an image's data.
func (p *picture) readBitstream(f io.ReadSeeker, name string, at int64) error {
	b, err := readAt(f, at, 10)
	if err != nil {
		return errBroken
	}
	if name == "VP8 " {
		p.grow(int(binary.LittleEndian.Uint16(b[6:])&0x3fff), int(binary.LittleEndian.Uint16(b[8:])&0x3fff))
	} else {
		bits := binary.LittleEndian.Uint32(b[1:])
		p.grow(int(bits&0x3fff)+1, int(bits>>14&0x3fff)+1)
	}
	p.cost = 8 * p.pixels()
	return nil
}

func (p *picture) grow(width, height int) {
	p.width, p.height = max(p.width, width), max(p.height, height)
}

func le24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

func readAt(f io.ReadSeeker, at int64, n int) ([]byte, error) {
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err := io.ReadFull(f, b)
	return b, err
}

func chunkAt(f io.ReadSeeker, at int64) (name string, size int64, err error) {
	b, err := readAt(f, at, 8)
	if err != nil {
		return "", 0, err
	}
	return string(b[:4]), int64(binary.LittleEndian.Uint32(b[4:])), nil
}

// reader gives the image to a decoder that knows no animations: whole, or its first frame as a WebP of its own.
func (s still) reader(f io.ReadSeeker, r *bufio.Reader) (io.Reader, error) {
	if s.size == 0 {
		return r, nil
	}
	if _, err := f.Seek(s.offset, io.SeekStart); err != nil {
		return nil, err
	}
	var head bytes.Buffer
	if s.alpha {
		head.WriteString("VP8X\x0a\x00\x00\x00\x10\x00\x00\x00")
		for _, n := range []int{s.width - 1, s.height - 1} {
			head.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16)})
		}
	}
	riff := append([]byte("RIFF\x00\x00\x00\x00WEBP"), head.Bytes()...)
	binary.LittleEndian.PutUint32(riff[4:], uint32(int64(len(riff))-8+s.size))
	r.Reset(io.LimitReader(f, s.size))
	return io.MultiReader(bytes.NewReader(riff), r), nil
}
