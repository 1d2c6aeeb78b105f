package test

import (
	"cmp"
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// asked is a request that stands in the source of a test: a path whose unknown parts are {}.
type asked struct{ method, path string }

// teller is a function of the tests: what it asks of the server, and which others it calls.
type teller struct {
	asks  map[asked]bool
	calls map[string]bool
}

// storiesOf finds for each endpoint the tests that ask it, by the paths that stand in them, in the functions that
// they call and in the verbs of users. Those that ask least come first: they are about it.
func storiesOf(h *house, endpoints []covered) map[covered][]string {
	tellers := map[string]*teller{}
	for _, f := range h.files {
		if f.test || strings.HasPrefix(f.pkg, "testkit/story") {
			addTellers(tellers, f)
		}
	}
	all := map[covered][]string{}
	scope := map[string]int{}
	for name := range tellers {
		if !strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "TestHouse") {
			continue
		}
		requests := map[asked]bool{}
		collect(tellers, name, requests, map[string]bool{})
		scope[name] = len(requests)
		for _, e := range endpoints {
			if slices.ContainsFunc(slices.Collect(maps.Keys(requests)), e.fits) {
				all[e] = append(all[e], name)
			}
		}
	}
	for _, names := range all {
		slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(scope[a], scope[b]), strings.Compare(a, b)) })
	}
	return all
}

// addTellers adds the functions of a file. Those of one name share: verbs of users have names of their own.
func addTellers(tellers map[string]*teller, f *goFile) {
	ofFile := map[string]string{}
	for _, d := range f.ast.Decls {
		if gen, ok := d.(*ast.GenDecl); ok {
			addConsts(ofFile, gen)
		}
	}
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		consts := maps.Clone(ofFile)
		addConsts(consts, fn.Body)
		t := tellers[fn.Name.Name]
		if t == nil {
			t = &teller{map[asked]bool{}, map[string]bool{}}
			tellers[fn.Name.Name] = t
		}
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				name := exprText(n.Fun)
				name = name[strings.LastIndexByte(name, '.')+1:]
				t.calls[name] = true
				if t.note(n.Args, consts) {
					return true
				}
				for _, arg := range n.Args { // of a verb that reads, or a function that calls one
					if text := written(arg, consts); strings.HasPrefix(text, "/") {
						t.asks[asked{"GET", text}] = true
					}
				}
			case *ast.CompositeLit:
				t.note(n.Elts, consts) // a case of a table
			}
			return true
		})
	}
}

// addConsts adds the texts of constants, and of variables that are set once.
func addConsts(consts map[string]string, in ast.Node) {
	ast.Inspect(in, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, name := range n.Names[:min(len(n.Names), len(n.Values))] {
				consts[name.Name] = written(n.Values[i], consts)
			}
		case *ast.AssignStmt:
			for i, target := range n.Lhs[:min(len(n.Lhs), len(n.Rhs))] {
				name, ok := target.(*ast.Ident)
				if text := written(n.Rhs[i], consts); ok && n.Tok == token.DEFINE && text != "{}" {
					consts[name.Name] = text
				}
			}
		}
		return true
	})
}

// note looks for a method that a path follows.
func (t *teller) note(list []ast.Expr, consts map[string]string) (found bool) {
	for i, e := range list[:max(0, len(list)-1)] {
		switch method := written(e, nil); method {
		case "GET", "POST", "PUT", "DELETE":
			t.asks[asked{method, written(list[i+1], consts)}] = true
			found = true
		}
	}
	return found
}

// written is the text of an expression, with {} for what is not known.
func written(e ast.Expr, consts map[string]string) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return s
		}
	case *ast.BinaryExpr:
		return written(e.X, consts) + written(e.Y, consts)
	case *ast.Ident:
		if s, known := consts[e.Name]; known {
			return s
		}
	case *ast.CallExpr:
		if name := exprText(e.Fun); name == "story.Path" || name == "Path" {
			text := ""
			for _, arg := range e.Args {
				text += "/" + written(arg, consts)
			}
			return text
		}
	}
	return "{}"
}

// collect gathers what a function asks, by itself and by those it calls.
func collect(tellers map[string]*teller, name string, requests map[asked]bool, seen map[string]bool) {
	t := tellers[name]
	if t == nil || seen[name] {
		return
	}
	seen[name] = true
	maps.Copy(requests, t.asks)
	for callee := range t.calls {
		if !strings.HasPrefix(callee, "Test") {
			collect(tellers, callee, requests, seen)
		}
	}
}

// fits says whether a request is one to the endpoint. A path whose beginning is not known fits by its end.
func (c covered) fits(q asked) bool {
	path, _, _ := strings.Cut(q.path, "?")
	if end, found := strings.CutPrefix(path, "{}/"); found && strings.ContainsFunc(end, unicode.IsLetter) {
		have := strings.Split(end, "/")
		want := strings.Split(c.path, "/")
		return c.method == q.method && len(have) < len(want) && same(want[len(want)-len(have):], have)
	}
	if !strings.HasPrefix(path, "/_") && !strings.HasPrefix(path, "/.") {
		path = "/_matrix/client/v3" + path
	}
	want, have := strings.Split(c.path, "/"), strings.Split(path, "/")
	return c.method == q.method && same(want, have)
}

// same compares the segments of an endpoint with those of a path.
func same(want, have []string) bool {
	if len(want) != len(have) {
		return false
	}
	for i, part := range want {
		if part != have[i] && (!strings.HasPrefix(part, "{") || have[i] == "") {
			return false
		}
	}
	return true
}
