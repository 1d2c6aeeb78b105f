package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reader fills a struct from YAML, and gathers faults instead of stopping at the first one.
type reader struct {
	lines  map[string]int // by key
	faults []Fault
}

// fault notes that a setting is wrong. A setting that is not in the file is told with the line of the
// nearest one that holds it.
func (r *reader) fault(key, format string, args ...any) {
	line, at := 0, key
	for at != "" {
		if n, found := r.lines[at]; found {
			line = n
			break
		}
		at = at[:max(strings.LastIndexAny(at, ".["), 0)]
	}
	r.faults = append(r.faults, Fault{Line: line, Key: key, Why: fmt.Sprintf(format, args...)})
}

func (r *reader) read(n *yaml.Node, c *Config) { r.value(n, reflect.ValueOf(c).Elem(), "") }

func (r *reader) value(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	r.lines[key] = n.Line
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // "key:" with nothing behind it leaves the default
	}
	switch {
	case isText(v):
		r.text(n, v, key)
	case v.Kind() == reflect.Struct:
		r.object(n, v, key)
	case v.Kind() == reflect.Slice:
		r.list(n, v, key)
	default:
		r.scalar(n, v, key)
	}
}

func isText(v reflect.Value) bool {
	_, is := v.Addr().Interface().(encoding.TextUnmarshaler)
	return is
}

func (r *reader) text(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.ScalarNode {
		r.fault(key, "must be a single value")
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
		r.fault(key, "%v", err)
	}
}

func (r *reader) scalar(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.ScalarNode {
		r.fault(key, "must be %s", kindText(v))
		return
	}
	if v.Kind() == reflect.String {
		v.SetString(n.Value)
		return
	}
	if err := n.Decode(v.Addr().Interface()); err != nil {
		r.fault(key, "must be %s, not %q", kindText(v), n.Value)
	}
}

func kindText(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	}
	return "text"
}

func (r *reader) list(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.SequenceNode {
		r.fault(key, "must be a list")
		return
	}
	items := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		r.value(item, items.Index(i), fmt.Sprintf("%s[%d]", key, i))
	}
	v.Set(items)
}

func (r *reader) object(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.MappingNode {
		r.fault(key, "must be a group of settings")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		full := strings.TrimPrefix(key+"."+name, ".")
		field, known := fieldOf(v, name)
		switch {
		case !known:
			r.lines[full] = n.Content[i].Line
			r.fault(full, "there is no such setting%s", suggestion(v, name))
		case seen[name]:
			r.lines[full] = n.Content[i].Line
			r.fault(full, "is given twice")
		default:
			r.value(n.Content[i+1], field, full)
			r.lines[full] = n.Content[i].Line
		}
		seen[name] = true
	}
}

func fieldOf(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// suggestion names the setting that was probably meant.
func suggestion(v reflect.Value, name string) string {
	best, least := "", 4
	for i := range v.NumField() {
		known := v.Type().Field(i).Tag.Get("yaml")
		if d := distance(name, known); d < least && d < len(known) {
			best, least = known, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; is %s meant?", best)
}

// distance is the number of letters to insert, remove or replace to make b from a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := slices.Clone(row)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
