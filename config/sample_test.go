package config_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"astrocyte/config"
)

const sampleFile = "../config.sample.yaml"

var update = flag.Bool("update", false, "write config.sample.yaml anew")

// TestSampleIsNotStale generates config.sample.yaml from the structs, their comments and the defaults.
// go test ./config -update writes it.
func TestSampleIsNotStale(t *testing.T) {
	want := sample(t)
	if *update {
		if err := os.WriteFile(sampleFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(sampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Error("config.sample.yaml is stale; run: go test ./config -update")
	}
	def := config.Default()
	def.ServerName = "example.org"
	for name, text := range map[string]string{"as it is": string(have), "with every # removed": uncomment(string(have))} {
		c, err := config.Parse(sampleFile, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprintf("%+v", c), fmt.Sprintf("%+v", def); got != want {
			t.Errorf("the sample %s says\n%s\nand the defaults are\n%s", name, got, want)
		}
	}
}

// uncomment removes the # before settings; comments have a space behind theirs.
func uncomment(sample string) string {
	return regexp.MustCompile(`(?m)^( *)#([^ ])`).ReplaceAllString(sample, "$1$2")
}

// comments are the comments of struct fields, by the names of type and field.
type comments map[string]map[string]string

func readComments(t *testing.T) comments {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := comments{}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all.add(file)
	}
	return all
}

// add reads the comments of the structs of a file.
func (c comments) add(file *ast.File) {
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			c[spec.Name.Name] = map[string]string{}
			for _, f := range s.Fields.List {
				if len(f.Names) > 0 {
					c[spec.Name.Name][f.Names[0].Name] = f.Doc.Text()
				}
			}
		}
		return true
	})
}

func sample(t *testing.T) string {
	var b strings.Builder
	b.WriteString("# The settings of Astrocyte. Everything but server_name may be left out: a setting behind a # shows its default.\n" +
		"# Mistyped settings are refused, never ignored: \"astrocyte config check --config FILE\" tells all faults at once.\n")
	c := config.Default()
	c.ServerName = "example.org"
	p := &printer{b: &b, comments: readComments(t)}
	p.object(reflect.ValueOf(c).Elem(), 0, false)
	return b.String()
}

type printer struct {
	b        *strings.Builder
	comments comments
}

// object prints the settings of a struct. Settings other than the first are commented out, their groups too.
func (p *printer) object(v reflect.Value, depth int, off bool) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		comment := p.comments[v.Type().Name()][f.Name]
		if depth == 0 {
			p.b.WriteString("\n")
		}
		for line := range strings.Lines(comment) {
			p.line(depth, false, "# "+strings.TrimSpace(line))
		}
		p.field(f.Tag.Get("yaml"), v.Field(i), depth, off || f.Name != "ServerName")
	}
}

func (p *printer) line(depth int, off bool, text string) {
	if off {
		text = "#" + text
	}
	p.b.WriteString(strings.Repeat("  ", depth) + text + "\n")
}

func (p *printer) field(name string, v reflect.Value, depth int, off bool) {
	switch {
	case v.Type() == reflect.TypeFor[config.Rate]():
		p.line(depth, off, fmt.Sprintf("%s: {per_second: %v, burst: %v}", name, v.Field(0), v.Field(1)))
	case v.Kind() == reflect.Struct:
		p.line(depth, off, name+":")
		p.object(v, depth+1, off)
	case v.Kind() == reflect.Slice && v.Len() == 0:
		p.line(depth, off, name+": []")
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String:
		var all []string
		for i := range v.Len() {
			all = append(all, scalar(v.Index(i)))
		}
		p.line(depth, off, name+": ["+strings.Join(all, ", ")+"]")
	case v.Kind() == reflect.Slice:
		p.line(depth, off, name+":")
		for i := range v.Len() {
			p.item(v.Index(i), depth+1, off)
		}
	default:
		p.line(depth, off, name+": "+scalar(v))
	}
}

// item prints a struct in a list: its first setting carries the dash.
func (p *printer) item(v reflect.Value, depth int, off bool) {
	var inner strings.Builder
	sub := &printer{b: &inner, comments: p.comments}
	sub.object(v, depth+1, off)
	dashed := false
	for line := range strings.Lines(inner.String()) {
		if text := strings.TrimLeft(line, " #"); !dashed && strings.HasPrefix(text, v.Type().Field(0).Tag.Get("yaml")+":") {
			line = strings.Replace(line, text, "- "+text, 1)
			line = strings.Replace(line, "  ", "", 1)
			dashed = true
		}
		p.b.WriteString(line)
	}
}

func scalar(v reflect.Value) string {
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return s.String()
	}
	if v.Kind() == reflect.String {
		if v.String() == "" {
			return `""`
		}
		return v.String()
	}
	return fmt.Sprint(v.Interface())
}
