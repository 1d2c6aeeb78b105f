package test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/coverage.md anew")

var endpointLine = regexp.MustCompile(`(?m)^(Spec|Extension): (GET|POST|PUT|DELETE|PATCH) (/\S+)$`)

// covered is an endpoint and the handler that serves it.
type covered struct{ kind, method, path, handler, file string }

// TestHouseCoverageIsNotStale holds docs/coverage.md against the handlers of the doors. With -update it
// writes the file. A new test makes the stories no more wrong, so they are not compared.
func TestHouseCoverageIsNotStale(t *testing.T) {
	h := readHouse(t)
	all := coveredBy(h)
	want := coverage(all, storiesOf(h, all))
	const name = "../docs/coverage.md"
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(withoutStories(got), withoutStories(want)) {
		t.Errorf("docs/coverage.md is stale (%v); run: make coverage", err)
	}
}

// coveredBy finds the endpoints in the comments of functions of the doors.
func coveredBy(h *house) []covered {
	var all []covered
	h.code(func(f *goFile) {
		if f.pkg != "clientapi" && f.pkg != "syncapi" && f.pkg != "federation" && f.pkg != "homeserver" {
			return
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Doc == nil {
				continue
			}
			for _, m := range endpointLine.FindAllStringSubmatch(fn.Doc.Text(), -1) {
				all = append(all, covered{m[1], m[2], m[3], fn.Name.Name, f.name})
			}
		}
	})
	slices.SortFunc(all, func(a, b covered) int {
		return strings.Compare(a.kind+a.path+a.method+a.file+a.handler, b.kind+b.path+b.method+b.file+b.handler)
	})
	return slices.Compact(all)
}

var lastColumn = regexp.MustCompile(`(?m)[^|\n]*\|$`)

func withoutStories(doc []byte) []byte { return lastColumn.ReplaceAll(doc, nil) }

// storiesTold is how many stories of an endpoint are named.
const storiesTold = 2

func coverage(all []covered, stories map[covered][]string) []byte {
	var b bytes.Buffer
	b.WriteString("# Coverage\n\nMade by `make coverage` from the `Spec:` and `Extension:` lines of the handlers, and from the paths that stand in the tests: the stories named\n" +
		"are those that ask the endpoint and little else. A test says when it is stale.\n")
	for _, part := range []struct{ kind, title string }{{"Spec", "Endpoints of the specification"}, {"Extension", "Extensions and proposals"}} {
		mine := slices.DeleteFunc(slices.Clone(all), func(c covered) bool { return c.kind != part.kind })
		fmt.Fprintf(&b, "\n## %s: %d\n\n| method | path | handler | story |\n|---|---|---|---|\n", part.title, len(mine))
		for _, c := range mine {
			told := stories[c]
			fmt.Fprintf(&b, "| %s | `%s` | `%s` in %s | %s |\n", c.method, c.path, c.handler, c.file, strings.Join(told[:min(len(told), storiesTold)], ", "))
		}
	}
	return b.Bytes()
}
