package test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors are the packages of the picture in docs/architecture.md, from the top down. A package imports
// packages of lower floors only.
var floors = [][]string{
	{""}, // main
	{"testkit", "testkit/story"},
	{"homeserver"},
	{"clientapi", "federation", "syncapi"},
	{"federation/inbound"},
	{"federation/remote", "federation/sender", "appservice"},
	{"e2ee", "ephemeral", "push", "search", "policy", "delayed", "attached"},
	{"roomserver"},
	{"account", "media", "roomserver/state", "federation/peer"},
	{"store"},
	{"bus", "egress", "httpapi"},
	{"config", "lru", "chat"},
	{"roomserver/rules"},
	{"matrix/canonicaljson", "matrix/glob"},
	{"matrix"},
}

// never are imports that the floors would allow, but the picture does not.
var never = map[string][]string{
	"clientapi": {"store", "bus"},
	"media":     {"federation/peer"},
}

// mayUseServerLib says which packages may import gomatrixserverlib.
func mayUseServerLib(pkg string) bool {
	return pkg == "roomserver/rules" || pkg == "federation" || strings.HasPrefix(pkg, "federation/")
}

const module = "astrocyte"

// goFile is a parsed file of the project.
type goFile struct {
	name string // from the root of the repository, with slashes
	pkg  string // its folder
	test bool
	ast  *ast.File
}

// house is the source of the whole project.
type house struct {
	fset  *token.FileSet
	files []*goFile
}

func readHouse(t *testing.T) *house {
	t.Helper()
	h := &house{fset: token.NewFileSet()}
	for _, name := range tree(t) {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		f, err := parser.ParseFile(h.fset, filepath.Join("..", name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		pkg := path.Dir(name)
		if pkg == "." {
			pkg = ""
		}
		h.files = append(h.files, &goFile{name, pkg, strings.HasSuffix(name, "_test.go") || pkg == "test", f})
	}
	return h
}

// tree lists the files of the project.
func tree(t *testing.T) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(".."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "node_modules", "data", "bin"}, d.Name()):
			return fs.SkipDir
		case d.Type().IsRegular() && name != ".git": // in a further work tree .git is a file
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// code calls fn for each file that is not a test.
func (h *house) code(fn func(f *goFile)) {
	for _, f := range h.files {
		if !f.test {
			fn(f)
		}
	}
}

func (h *house) at(n ast.Node) string {
	p := h.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", strings.TrimPrefix(filepath.ToSlash(p.Filename), "../"), p.Line)
}

func floorOf(pkg string) int {
	return slices.IndexFunc(floors, func(floor []string) bool { return slices.Contains(floor, pkg) })
}

func TestHouseImportsRunDownward(t *testing.T) {
	t.Parallel()
	h := readHouse(t)
	h.code(func(f *goFile) {
		from := floorOf(f.pkg)
		if from < 0 {
			t.Errorf("%s: package %s is not in the picture", f.name, f.pkg)
			return
		}
		for _, spec := range f.ast.Imports {
			target, _ := strconv.Unquote(spec.Path.Value)
			if strings.Contains(target, "gomatrixserverlib") && !mayUseServerLib(f.pkg) {
				t.Errorf("%s: only roomserver/rules and federation know gomatrixserverlib", h.at(spec))
			}
			pkg, own := strings.CutPrefix(target, module+"/")
			if !own {
				continue
			}
			if to := floorOf(pkg); to <= from {
				t.Errorf("%s: %q may not import %q: it is not on a lower floor", h.at(spec), f.pkg, pkg)
			}
			if slices.Contains(never[f.pkg], pkg) {
				t.Errorf("%s: %q never imports %q", h.at(spec), f.pkg, pkg)
			}
		}
	})
}

var (
	sqlText   = regexp.MustCompile(`^\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|WITH\s+\w+\s.*AS\s)`)
	sqlWrites = regexp.MustCompile(`(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+([a-z_0-9]+)`)
	sqlTable  = regexp.MustCompile(`(?m)((?:^--.*\n)*)^CREATE TABLE (?:IF NOT EXISTS )?([a-z_0-9]+)`)
	sqlWriter = regexp.MustCompile(`(?i)written by(?: package)? ([a-z/0-9]*[a-z0-9])`)
)

func TestHouseSQLStandsInItsPlace(t *testing.T) {
	t.Parallel()
	h := readHouse(t)
	h.code(func(f *goFile) {
		if f.pkg == "store" || f.pkg == "testkit" || strings.HasSuffix(f.name, "_sql.go") {
			return
		}
		eachString(f.ast, func(n ast.Node, text string) {
			if sqlText.MatchString(text) {
				t.Errorf("%s: SQL stands in *_sql.go", h.at(n))
			}
		})
	})
}

// eachString calls fn for the string literals of a file.
func eachString(f *ast.File, fn func(n ast.Node, text string)) {
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				fn(n, text)
			}
		}
		return true
	})
}

func TestHouseTablesHaveOneWriter(t *testing.T) {
	t.Parallel()
	writers := tableWriters(t)
	h := readHouse(t)
	h.code(func(f *goFile) {
		check := func(n ast.Node, table string) {
			if writer, known := writers[table]; known && writer != f.pkg {
				t.Errorf("%s: table %s is written by %s alone", h.at(n), table, writer)
			} else if !known && f.pkg != "store" && f.pkg != "testkit" {
				t.Errorf("%s: there is no table %s", h.at(n), table)
			}
		}
		if f.pkg == "store" || strings.HasSuffix(f.name, "_sql.go") {
			eachString(f.ast, func(n ast.Node, text string) {
				for _, match := range sqlWrites.FindAllStringSubmatch(text, -1) {
					if match[1] != "set" { // ON CONFLICT DO UPDATE SET, FOR UPDATE
						check(n, match[1])
					}
				}
			})
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if table, is := bulkTable(n); is {
				check(n, table)
			}
			return true
		})
	})
}

// bulkTable finds the table that a store.Bulk writes.
func bulkTable(n ast.Node) (string, bool) {
	lit, ok := n.(*ast.CompositeLit)
	if !ok || !strings.HasSuffix(exprText(lit.Type), "Bulk") {
		return "", false
	}
	for _, el := range lit.Elts {
		kv, ok := el.(*ast.KeyValueExpr)
		if !ok || exprText(kv.Key) != "Table" {
			continue
		}
		if value, ok := kv.Value.(*ast.BasicLit); ok {
			table, err := strconv.Unquote(value.Value)
			return table, err == nil
		}
	}
	return "", false
}

// exprText writes identifiers and selectors.
func exprText(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return exprText(e.X) + "." + e.Sel.Name
	case *ast.StarExpr:
		return exprText(e.X)
	case *ast.IndexExpr:
		return exprText(e.X)
	case *ast.IndexListExpr:
		return exprText(e.X)
	}
	return ""
}

// tableWriters reads from the schema which package writes each table: the comment above the table says
// so, or the one at the top of its file.
func tableWriters(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../store/schema/*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("there is no schema: %v", err)
	}
	writers := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		top, _, _ := strings.Cut(string(text), "\n\n")
		for _, match := range sqlTable.FindAllStringSubmatch(string(text), -1) {
			comment, table := strings.ReplaceAll(match[1], "\n-- ", " "), match[2]
			writer := sqlWriter.FindStringSubmatch(comment)
			if comment == "" {
				t.Errorf("%s: table %s has no comment", filepath.Base(name), table)
			}
			if writer == nil {
				writer = sqlWriter.FindStringSubmatch(strings.ReplaceAll(top, "\n-- ", " "))
			}
			if writer == nil {
				t.Errorf("%s: the comment above table %s does not say which package it is written by", filepath.Base(name), table)
				continue
			}
			writers[table] = writer[1]
			if floorOf(writer[1]) < 0 {
				t.Errorf("%s: table %s is written by %q, which is no package", filepath.Base(name), table, writer[1])
			}
		}
	}
	return writers
}
