package peer

import (
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/matrix/canonicaljson"
)

// someSignature is of the right length, and nothing else.
var someSignature = canonicaljson.Base64(make([]byte, 64))

func TestCredentials(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{
		"quoted":           `X-Matrix origin="a.org",destination="b.org",key="ed25519:1",sig="SIG"`,
		"tokens":           `X-Matrix origin=a.org,destination=b.org,key=ed25519:1,sig=SIG`,
		"space":            "X-Matrix  origin = \"a.org\" ,\tdestination=b.org , key=ed25519:1, sig=\"SIG\" ",
		"other case":       `x-matrix Origin="a.org",DESTINATION="b.org",Key="ed25519:1",sig="SIG"`,
		"unknown ones":     `X-Matrix realm="x, y=z",origin="a.org",destination="b.org",key="ed25519:1",sig="SIG",more=1`,
		"escapes":          `X-Matrix origin="a\.org",destination="b.org",key="ed25519:1",sig="SIG"`,
		"empty elements":   `X-Matrix origin="a.org",,destination="b.org", ,key="ed25519:1",sig="SIG",`,
		"padded signature": `X-Matrix origin="a.org",destination="b.org",key="ed25519:1",sig="SIG=="`,
	} {
		c, err := parseCredentials(strings.ReplaceAll(header, "SIG", someSignature))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if c.origin != "a.org" || c.destination != "b.org" || c.key != "ed25519:1" || len(c.sig) != 64 {
			t.Errorf("%s: %+v", name, c)
		}
	}
	c, err := parseCredentials(`X-Matrix origin="[::1]:8448",key="ed25519:1",sig="` + someSignature + `"`)
	if err != nil || c.origin != "[::1]:8448" || c.destination != "" {
		t.Errorf("without a destination: %+v, %v", c, err)
	}
}

func TestCredentialsThatAreNone(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{
		"nothing":        ``,
		"another scheme": `Bearer abc`,
		"no parameters":  `X-Matrix`,
		"no origin":      `X-Matrix key="ed25519:1",sig="SIG"`,
		"a bad origin":   `X-Matrix origin="a b",key="ed25519:1",sig="SIG"`,
		"a bad receiver": `X-Matrix origin="a.org",destination="",key="ed25519:1",sig="SIG"`,
		"another kind":   `X-Matrix origin="a.org",key="rsa:1",sig="SIG"`,
		"a bad key":      `X-Matrix origin="a.org",key="ed25519:a b",sig="SIG"`,
		"no version":     `X-Matrix origin="a.org",key="ed25519:",sig="SIG"`,
		"a short one":    `X-Matrix origin="a.org",key="ed25519:1",sig="AAAA"`,
		"not base64":     `X-Matrix origin="a.org",key="ed25519:1",sig="!!!!"`,
		"one twice":      `X-Matrix origin="a.org",origin="b.org",key="ed25519:1",sig="SIG"`,
		"an open quote":  `X-Matrix origin="a.org",key="ed25519:1",sig="SIG`,
		"an open escape": `X-Matrix origin="a.org\`,
		"no comma":       `X-Matrix origin="a.org" key="ed25519:1",sig="SIG"`,
		"text behind":    `X-Matrix origin="a.org"x,key="ed25519:1",sig="SIG"`,
		"a name alone":   `X-Matrix origin,key="ed25519:1",sig="SIG"`,
		"without end":    `X-Matrix origin="a.org",key="ed25519:1",sig="SIG",x="` + strings.Repeat("x", maxCredentials) + `"`,
	} {
		c, err := parseCredentials(strings.ReplaceAll(header, "SIG", someSignature))
		var fault *matrix.Error
		if err == nil {
			t.Errorf("%s is taken: %+v", name, c)
		} else if fault, _ = err.(*matrix.Error); fault == nil || fault.Code != matrix.CodeUnauthorized {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add(`X-Matrix origin="a.org",destination="b.org",key="ed25519:1",sig="` + someSignature + `"`)
	f.Add(`X-Matrix origin=a.org:1 , key = ed25519:1,sig="\"\\",,`)
	f.Fuzz(func(t *testing.T, header string) {
		c, err := parseCredentials(header)
		if err != nil {
			return
		}
		if _, err := matrix.ParseServerName(string(c.origin)); err != nil || !isKeyID(c.key) || len(c.sig) != 64 {
			t.Fatalf("%q is taken as %+v", header, c)
		}
		// What was understood can be written so that it is understood in the same way.
		again, err := parseCredentials(`X-Matrix origin="` + string(c.origin) + `",key="` + string(c.key) + `",sig="` + canonicaljson.Base64(c.sig) + `"`)
		if err != nil || again.origin != c.origin || again.key != c.key || string(again.sig) != string(c.sig) {
			t.Fatalf("%q becomes %+v, and then %+v: %v", header, c, again, err)
		}
	})
}
