package test

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestHouseNoInitAndNoState(t *testing.T) {
	t.Parallel()
	h := readHouse(t)
	vars := map[string]map[string]bool{} // by package: the names of its variables
	h.code(func(f *goFile) {
		if strings.HasPrefix(f.pkg, "testkit") {
			return // the tests of a package share one PostgreSQL
		}
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: init functions are not for this house", h.at(fn))
			}
			eachVar(decl, func(spec *ast.ValueSpec, doc string) {
				for i, name := range spec.Names {
					if vars[f.pkg] == nil {
						vars[f.pkg] = map[string]bool{}
					}
					vars[f.pkg][name.Name] = true
					var value ast.Expr
					if i < len(spec.Values) {
						value = spec.Values[i]
					}
					if name.Name != "_" && !strings.Contains(doc, "go:embed") && !isImmutable(value) {
						t.Errorf("%s: package variable %s is no error, metric, embed, regexp, pool or table", h.at(name), name.Name)
					}
				}
			})
		}
	})
	h.code(func(f *goFile) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			for _, target := range assigned(n) {
				if root := rootOf(target); root != nil && vars[f.pkg][root.Name] && isPackageLevel(f.ast, root) {
					t.Errorf("%s: package variable %s is changed", h.at(n), root.Name)
				}
			}
			return true
		})
	})
}

func eachVar(decl ast.Decl, fn func(spec *ast.ValueSpec, doc string)) {
	gen, ok := decl.(*ast.GenDecl)
	if !ok || gen.Tok != token.VAR {
		return
	}
	for _, spec := range gen.Specs {
		spec := spec.(*ast.ValueSpec)
		fn(spec, directives(gen.Doc)+directives(spec.Doc))
	}
}

// directives gives a comment with its //go: lines, which Text leaves out.
func directives(doc *ast.CommentGroup) string {
	var b strings.Builder
	if doc != nil {
		for _, c := range doc.List {
			b.WriteString(c.Text + "\n")
		}
	}
	return b.String()
}

// isImmutable says whether a variable of this value is a constant in all but the keyword: an error, a
// metric, a regexp, a table, a set of functions; or a pool, whose contents nobody can see.
func isImmutable(value ast.Expr) bool {
	switch v := value.(type) {
	case *ast.CompositeLit:
		return true
	case *ast.FuncLit:
		return false
	case *ast.UnaryExpr:
		return isImmutable(v.X)
	case *ast.CallExpr:
		if method, ok := v.Fun.(*ast.SelectorExpr); ok && (method.Sel.Name == "With" || method.Sel.Name == "WithStatus") {
			return isImmutable(method.X) // an error with a further member, or another status
		}
		name := exprText(v.Fun)
		if strings.HasPrefix(name, "promauto.") || strings.HasPrefix(name, "prometheus.") {
			return true
		}
		if lit, ok := v.Fun.(*ast.FuncLit); ok && len(lit.Type.Params.List) == 0 {
			return true // a table that is computed
		}
		if strings.HasPrefix(name, "table") {
			return true // the same by a function of this name
		}
		return slices.Contains([]string{"errors.New", "fmt.Errorf", "regexp.MustCompile", "netip.MustParsePrefix", "netip.MustParseAddr",
			"strings.NewReplacer", "matrix.E", "matrix.Forbidden", "matrix.NotFound", "matrix.BadJSON", "matrix.InvalidParam", "matrix.MissingParam",
			"reflect.TypeFor", "crc32.MakeTable"}, name) || isConversion(v)
	}
	return false
}

// isConversion is for []byte("…") and json.RawMessage("…").
func isConversion(call *ast.CallExpr) bool {
	if len(call.Args) != 1 {
		return false
	}
	_, array := call.Fun.(*ast.ArrayType)
	return array || exprText(call.Fun) == "json.RawMessage"
}

// assigned gives what a statement changes.
func assigned(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.CallExpr:
		if name := exprText(n.Fun); (name == "delete" || name == "clear") && len(n.Args) > 0 {
			return n.Args[:1]
		}
	}
	return nil
}

// rootOf finds the variable in x, x.y, x[i], *x.
func rootOf(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// isPackageLevel says that an identifier of a file is not a local one. The parser resolves those of the
// file; what it does not find is declared in another file of the package.
func isPackageLevel(f *ast.File, id *ast.Ident) bool {
	return id.Obj == nil || f.Scope.Objects[id.Name] == id.Obj
}

// spoken are methods whose meaning the language or a library fixes.
var spoken = []string{"Error", "String", "Unwrap", "Is", "Len", "Less", "Swap", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText",
	"ServeHTTP", "Read", "Write", "Scan", "Value"}

func TestHouseExportedNamesAreExplained(t *testing.T) {
	t.Parallel()
	h := readHouse(t)
	explained := map[string]bool{}
	h.code(func(f *goFile) {
		explained[f.pkg] = explained[f.pkg] || f.ast.Doc.Text() != ""
		for _, decl := range f.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc.Text() == "" && receiverIsExported(d) && (d.Recv == nil || !slices.Contains(spoken, d.Name.Name)) {
					t.Errorf("%s: %s has no comment", h.at(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, name := range unexplained(d) {
					t.Errorf("%s: %s has no comment", h.at(name), name.Name)
				}
			}
		}
	})
	for pkg, ok := range explained {
		if !ok {
			t.Errorf("package %q has no comment", pkg)
		}
	}
}

func receiverIsExported(d *ast.FuncDecl) bool {
	return d.Recv == nil || ast.IsExported(exprText(d.Recv.List[0].Type))
}

// unexplained gives the exported names of a declaration that have no comment of their own; for constants
// and variables one above the group will do.
func unexplained(d *ast.GenDecl) []*ast.Ident {
	var names []*ast.Ident
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc.Text() == "" && (d.Lparen.IsValid() || d.Doc.Text() == "") {
				names = append(names, s.Name)
			}
		case *ast.ValueSpec:
			if s.Doc.Text() != "" || s.Comment.Text() != "" || d.Doc.Text() != "" {
				continue
			}
			for _, name := range s.Names {
				if name.IsExported() {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// adapters are the functions of httpapi that make a handler an endpoint.
var adapters = []string{"httpapi.Authed", "httpapi.Open", "httpapi.Maybe", "httpapi.Raw", "httpapi.RawOpen", "httpapi.RawMaybe"}

var specLine = regexp.MustCompile(`(?m)^(Spec|Extension): (.+)$`)

// TestHouseHandlersNameTheirEndpoint wants a line "Spec: GET /path" or "Extension: GET /path" above each handler.
func TestHouseHandlersNameTheirEndpoint(t *testing.T) {
	t.Parallel()
	h := readHouse(t)
	docs := map[string]string{} // by package and name; the names of methods begin with a dot, those of one name share
	h.code(func(f *goFile) {
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				name := fn.Name.Name
				if fn.Recv != nil {
					name = "." + name
				}
				docs[f.pkg+" "+name] += fn.Doc.Text()
			}
		}
	})
	h.code(func(f *goFile) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !slices.Contains(adapters, exprText(call.Fun)) || len(call.Args) != 1 {
				return true
			}
			handler := call.Args[0]
			if made, ok := handler.(*ast.CallExpr); ok {
				handler = made.Fun // a function that gives the handler
			}
			full := exprText(handler)
			name := full[max(strings.LastIndexByte(full, '.'), 0):]
			switch doc, found := docs[f.pkg+" "+name]; {
			case name == "":
				t.Errorf("%s: a handler has a name and a comment", h.at(call))
			case !found || !specLine.MatchString(doc):
				t.Errorf("%s: the comment of %s has no line \"Spec: METHOD /path\"", h.at(call), name)
			}
			return true
		})
	})
}

// unfit is what must not stand in the repository: paths of somebody's machine, and what is left to do.
var unfit = regexp.MustCompile(`(^|[\s"'(=])/` + `(work|root|home/[a-z]+)/|\bTO` + `DO\b|\bFIX` + `ME\b|\bXX` + `X\b`)

func TestHouseTreeIsClean(t *testing.T) {
	t.Parallel()
	for _, name := range tree(t) {
		switch filepath.Ext(name) {
		case ".gz", ".png", ".jpg", ".webp", ".gif", ".ico":
			continue
		}
		if base := filepath.Base(name); base == "go.sum" || base == "package-lock.json" || base == module {
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(text) {
			continue
		}
		for i, line := range strings.Split(string(text), "\n") {
			if found := unfit.FindString(line); found != "" {
				t.Errorf("%s:%d has %q", name, i+1, strings.TrimSpace(found))
			}
		}
	}
}
