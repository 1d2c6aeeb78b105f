package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Duration is a span of time, written as 30s, 15m, 24h or 7d.
type Duration time.Duration

// UnmarshalText reads a span of time.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if days, found := strings.CutSuffix(s, "d"); found {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n < 0 || n > 36500 {
			return fmt.Errorf("%q is not a span of time; write 30s, 15m, 24h or 7d", s)
		}
		*d = Duration(n * float64(24*time.Hour))
		return nil
	}
	span, err := time.ParseDuration(s)
	if err != nil || span < 0 {
		return fmt.Errorf("%q is not a span of time; write 30s, 15m, 24h or 7d", s)
	}
	*d = Duration(span)
	return nil
}

// String writes the span as it is read.
func (d Duration) String() string {
	span := time.Duration(d)
	if span > 0 && span%(24*time.Hour) == 0 {
		return strconv.Itoa(int(span/(24*time.Hour))) + "d"
	}
	s := span.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// Size is a number of bytes, written as 512, 64K, 50M or 1G.
type Size int64

// UnmarshalText reads a number of bytes.
func (z *Size) UnmarshalText(text []byte) error {
	s := strings.TrimSuffix(strings.ToUpper(string(text)), "B")
	digits := strings.TrimRight(s, "KMGT")
	n, err := strconv.ParseInt(digits, 10, 64)
	shift := map[string]int{"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
	by, known := shift[s[len(digits):]]
	if err != nil || !known || n < 0 || n > (1<<62)>>by {
		return fmt.Errorf("%q is not a size; write 512, 64K, 50M or 1G", string(text))
	}
	*z = Size(n << by)
	return nil
}

// String writes the size as it is read.
func (z Size) String() string {
	n := int64(z)
	for _, unit := range []string{"", "K", "M", "G"} {
		if n == 0 || n%1024 != 0 {
			return strconv.FormatInt(n, 10) + unit
		}
		n /= 1024
	}
	return strconv.FormatInt(n, 10) + "T"
}

// Prefix is a range of addresses, or a single one.
type Prefix netip.Prefix

// UnmarshalText reads an address or a range.
func (p *Prefix) UnmarshalText(text []byte) error {
	if addr, err := netip.ParseAddr(string(text)); err == nil {
		*p = Prefix(netip.PrefixFrom(addr, addr.BitLen()))
		return nil
	}
	prefix, err := netip.ParsePrefix(string(text))
	if err != nil {
		return fmt.Errorf("%q is not an address or a range such as 10.0.0.0/8", string(text))
	}
	*p = Prefix(prefix.Masked())
	return nil
}

// String writes the range.
func (p Prefix) String() string { return netip.Prefix(p).String() }
