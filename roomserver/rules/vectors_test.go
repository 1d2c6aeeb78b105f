package rules_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The test vectors are expected answers for the room engine, computed independently of its code: gzipped
// files of one JSON record a line. Every record that is not marked as disputed must pass.

// checker judges one record: an error where the code's answer is not the recorded one.
type checker func(f *vectorFile, record json.RawMessage) error

// vectorFile is what the records of a file share.
type vectorFile struct {
	Name        string // without .jsonl.gz
	Keys        map[string]vectorKey
	LocalServer string
}

// vectorKey is the signing key of a server. All is unpadded base64.
type vectorKey struct {
	KeyID  string `json:"key_id"`
	Seed   string `json:"seed"`
	Public string `json:"public"`
}

// checkers finds the checker of a record by the name of the file, and by the name and the kind of the
// record where the file has kinds, as events/sign.
func checkers() map[string]checker {
	all := map[string]checker{}
	for _, some := range []map[string]checker{checkersEvents(), checkersAuth(), checkersOther()} {
		maps.Copy(all, some)
	}
	return all
}

// vectorFolder is where the vectors are: outside of the repository, for their size.
func vectorFolder(t *testing.T) string {
	folder := os.Getenv("ASTROCYTE_VECTORS")
	if folder == "" {
		folder = "../../../shared/vectors"
	}
	if _, err := os.Stat(folder); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the test vectors are missing: %v (ASTROCYTE_VECTORS names their folder)", err)
		}
		t.Skipf("THE ROOM ENGINE WAS NOT CHECKED: the test vectors are missing: %v (ASTROCYTE_VECTORS names their folder)", err)
	}
	return folder
}

func TestVectors(t *testing.T) {
	folder := vectorFolder(t)
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", folder, err)
	}
	all := checkers()
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".jsonl.gz")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tally, err := judgeFile(path, name, all)
			if err != nil {
				t.Fatal(err)
			}
			tally.report(t)
		})
	}
}

// tally counts what became of the records of a file.
type tally struct {
	name          string
	passed, agree int
	failed        []string
	differ        map[string]int // class of disputed record -> how many
}

func (c *tally) report(t *testing.T) {
	differ := 0
	for _, n := range c.differ {
		differ += n
	}
	t.Logf("%s: %d passed, %d failed; disputed: %d agree, %d differ", c.name, c.passed, len(c.failed), c.agree, differ)
	for _, class := range slices.Sorted(maps.Keys(c.differ)) {
		t.Logf("%s: disputed, differ: %4d × %s", c.name, c.differ[class], class)
	}
	for i, f := range c.failed {
		if i == 30 {
			t.Errorf("and %d more", len(c.failed)-i)
			break
		}
		t.Error(f)
	}
	if c.passed == 0 {
		t.Error("no record passed: is this file read at all?")
	}
}

// judgeFile runs the checkers over all records of a file.
func judgeFile(path, name string, all map[string]checker) (*tally, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	c := &tally{name: name, differ: map[string]int{}}
	vectors := &vectorFile{Name: name}
	lines := bufio.NewReaderSize(unzipped, 1<<20)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			if err := c.judge(vectors, line, all); err != nil {
				return nil, fmt.Errorf("%s line %d: %w", name, n, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	}
}

func (c *tally) judge(f *vectorFile, line []byte, all map[string]checker) error {
	var head struct {
		Kind        string
		ID          string
		Class       string
		Disputed    bool
		Keys        map[string]vectorKey
		LocalServer string `json:"local_server"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return fmt.Errorf("a record that is no record: %w", err)
	}
	if head.Kind == "keys" {
		f.Keys, f.LocalServer = head.Keys, head.LocalServer
		return nil
	}
	key := f.Name
	if head.Kind != "" {
		key += "/" + head.Kind
	}
	check := all[key]
	if check == nil {
		return fmt.Errorf("nothing checks records of %s", key)
	}
	err := check(f, line)
	switch {
	case head.Disputed && err == nil:
		c.agree++
	case head.Disputed:
		c.differ[head.Class]++
	case err == nil:
		c.passed++
	default:
		c.failed = append(c.failed, fmt.Sprintf("%s %s (%s): %v", key, head.ID, head.Class, err))
	}
	return nil
}
