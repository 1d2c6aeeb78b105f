package syncapi

import (
	"errors"
	"testing"

	"astrocyte/matrix"
)

func TestTokensComeBackAsTheyWent(t *testing.T) {
	t.Parallel()
	for _, want := range []Token{{}, {Pos: 1}, {Pos: 1<<62 + 3, Epoch: 1 << 60, Typing: 7}, {Epoch: 35, Typing: 9}, {Pos: 9, Typing: 1, ToDevice: 7}} {
		got, err := ParseToken(want.String())
		if err != nil || got != want {
			t.Errorf("%s was read as %+v, %v", want, got, err)
		}
	}
}

func TestForeignTokensAreRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "s", "s1_", "s1_1", "s1_1_1", "s1_1_1_1_0", "s1_1_1_1_", "s1_1_1_1_1_1", "s1_-1_0_0", "s1_+1_0_0", "s1_01_0_0", "s1_1_0_x", "s1_1_Z_0", "s2_1_0_0", "t12",
		"s1_99999999999999999999_0_0", " s1_1_0_0", "s1_1_0_0 ", "s1_1__0",
	} {
		_, err := ParseToken(s)
		var e *matrix.Error
		if !errors.As(err, &e) || e.Code != matrix.CodeInvalidParam {
			t.Errorf("%q: %v, want M_INVALID_PARAM", s, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("s1_12_abc_3")
	f.Fuzz(func(t *testing.T, s string) {
		if token, err := ParseToken(s); err == nil && token.String() != s {
			t.Errorf("%q was read, but is written as %q", s, token)
		}
	})
}
