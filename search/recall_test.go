package search

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"

	"astrocyte/matrix"
	"astrocyte/roomserver"
	"astrocyte/testkit"
)

type sample struct {
	text string
	hits []string // searches that find it
	miss []string // and that do not
}

func readSamples(t *testing.T) []sample {
	t.Helper()
	f, err := os.Open("testdata/recall.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []sample
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "= "):
			all = append(all, sample{text: line[2:]})
		case strings.HasPrefix(line, "+ "):
			all[len(all)-1].hits = append(all[len(all)-1].hits, line[2:])
		case strings.HasPrefix(line, "- "):
			all[len(all)-1].miss = append(all[len(all)-1].miss, line[2:])
		}
	}
	if lines.Err() != nil || len(all) < 20 {
		t.Fatalf("%d samples: %v", len(all), lines.Err())
	}
	return all
}

// TestRecall measures how much of what people type in many languages finds what they mean, and prints it.
func TestRecall(t *testing.T) {
	t.Parallel()
	samples := readSamples(t)
	testkit.Each(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, false)
		room := w.creates(alice, roomserver.PrivateChat)
		sent := make([]matrix.EventID, len(samples))
		for i, s := range samples {
			sent[i] = w.says(alice, room, s.text)
		}
		var asked, found, wrong, others int
		for i, s := range samples {
			for _, text := range s.hits {
				asked++
				got := ids(w.finds(Query{Text: text}))
				others += len(got)
				if slices.Contains(got, sent[i]) {
					found, others = found+1, others-1
				} else {
					t.Errorf("%q does not find %q", text, s.text)
				}
			}
			for _, text := range s.miss {
				if slices.Contains(ids(w.finds(Query{Text: text})), sent[i]) {
					wrong++
					t.Errorf("%q finds %q", text, s.text)
				}
			}
		}
		t.Logf("recall %d of %d (%.1f %%), %d found by what they do not have, %d other texts found besides", found, asked, 100*float64(found)/float64(asked), wrong, others)
	})
}
