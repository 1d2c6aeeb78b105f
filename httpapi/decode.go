package httpapi

import (
	"encoding"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"astrocyte/matrix"
)

// plan is how a request struct is filled. It is made once, when the handler is registered.
type plan struct {
	path, query, header []textField
	members             map[string]*member
	required            []string
	whole               []int // index of the body:"whole" field, nil without
	wholeOptional       bool
}

// textField is a field that is filled from text: a path segment, a query parameter or a header.
type textField struct {
	index    []int
	name     string
	required bool
	set      textSetter
}

// member is a field that is filled from a member of the body.
type member struct {
	index []int
	check func(reflect.Value) error // nil, or the check of an identifier
}

// textSetter parses a value into a field.
type textSetter func(field reflect.Value, value string) error

func planOf[Q any]() *plan {
	t := reflect.TypeFor[Q]()
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("httpapi: a request must be a struct, not %s", t))
	}
	p := &plan{members: map[string]*member{}}
	p.add(t, nil)
	return p
}

// add plans the fields of a struct; embedded structs count as if their fields stood in its place.
func (p *plan) add(t reflect.Type, at []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(append([]int(nil), at...), i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			p.add(f.Type, index)
			continue
		}
		p.addField(t, f, index)
	}
}

func (p *plan) addField(t reflect.Type, f reflect.StructField, index []int) {
	for _, kind := range []string{"path", "query", "header", "json", "body"} {
		tag, found := f.Tag.Lookup(kind)
		if !found || tag == "-" {
			continue
		}
		if !f.IsExported() {
			panic(fmt.Sprintf("httpapi: %s.%s has a tag, but is not exported", t, f.Name))
		}
		name, flags, _ := strings.Cut(tag, ",")
		if flags != "" && kind != "json" && tag != "whole,optional" {
			panic(fmt.Sprintf("httpapi: %s.%s has the unknown flag %q", t, f.Name, flags))
		}
		required := f.Tag.Get("required") == "true"
		switch kind {
		case "path":
			p.path = append(p.path, textField{index, name, true, setterOf(t, f)})
		case "query":
			p.query = append(p.query, textField{index, name, required, setterOf(t, f)})
		case "header":
			p.header = append(p.header, textField{index, name, required, setterOf(t, f)})
		case "json":
			p.members[name] = &member{index: index, check: idCheck(f.Type)}
			if required {
				p.required = append(p.required, name)
			}
		case "body":
			if f.Type != reflect.TypeFor[json.RawMessage]() {
				panic(fmt.Sprintf("httpapi: the whole body %s.%s must be a json.RawMessage", t, f.Name))
			}
			p.whole, p.wholeOptional = index, flags == "optional"
		}
		return
	}
}

// decode fills q, a pointer to the plan's struct, from a request.
func (p *plan) decode(w http.ResponseWriter, r *http.Request, c *Caller, q any) error {
	v := reflect.ValueOf(q).Elem()
	for i := range p.path {
		f := &p.path[i]
		if err := f.fill(v, r.PathValue(f.name)); err != nil {
			return err
		}
	}
	if err := p.decodeQuery(r, v); err != nil {
		return err
	}
	for i := range p.header {
		f := &p.header[i]
		if err := f.fillAll(v, r.Header.Values(f.name)); err != nil {
			return err
		}
	}
	return p.decodeBody(w, r, c, v)
}

func (p *plan) decodeQuery(r *http.Request, v reflect.Value) error {
	if len(p.query) == 0 {
		return nil
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return matrix.InvalidParam("the query string is not valid")
	}
	for i := range p.query {
		f := &p.query[i]
		if err := f.fillAll(v, values[f.name]); err != nil {
			return err
		}
	}
	return nil
}

// isTexts says whether a field takes all values of its name: it is a list of strings, of whatever name.
func isTexts(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String
}

// fillAll fills a field from the values of its name: the first one, or all for a list of strings.
func (f *textField) fillAll(v reflect.Value, values []string) error {
	if len(values) == 0 {
		if f.required {
			return matrix.MissingParam("the parameter %s is missing", f.name)
		}
		return nil
	}
	field := v.FieldByIndex(f.index)
	if !isTexts(field.Type()) {
		return f.fill(v, values[0])
	}
	all := reflect.MakeSlice(field.Type(), len(values), len(values))
	for i, value := range values {
		if !isText(value) {
			return matrix.InvalidParam("the parameter %s is not text", f.name)
		}
		all.Index(i).SetString(value)
	}
	field.Set(all)
	return nil
}

func (f *textField) fill(v reflect.Value, value string) error {
	if !isText(value) {
		return matrix.InvalidParam("the parameter %s is not text", f.name)
	}
	if err := f.set(v.FieldByIndex(f.index), value); err != nil {
		if e, ok := err.(*matrix.Error); ok {
			return e
		}
		return matrix.InvalidParam("the parameter %s has a wrong value", f.name)
	}
	return nil
}

// setterOf finds how a field is parsed from text.
func setterOf(t reflect.Type, f reflect.StructField) textSetter {
	if isTexts(f.Type) {
		return func(field reflect.Value, value string) error {
			one := reflect.MakeSlice(field.Type(), 1, 1)
			one.Index(0).SetString(value)
			field.Set(one)
			return nil
		}
	}
	set := scalarSetter(f.Type)
	if set == nil {
		panic(fmt.Sprintf("httpapi: %s.%s cannot be filled from text", t, f.Name))
	}
	return set
}

func scalarSetter(t reflect.Type) textSetter {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return func(field reflect.Value, value string) error {
			return field.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(value))
		}
	}
	check := idCheck(t)
	switch t.Kind() {
	case reflect.Pointer:
		return pointerSetter(t)
	case reflect.String:
		return func(field reflect.Value, value string) error {
			field.SetString(value)
			if check != nil {
				return check(field)
			}
			return nil
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return func(field reflect.Value, value string) error {
			n, err := strconv.ParseInt(value, 10, t.Bits())
			field.SetInt(n)
			return err
		}
	case reflect.Float64:
		return func(field reflect.Value, value string) error {
			n, err := strconv.ParseFloat(value, 64)
			field.SetFloat(n)
			return err
		}
	case reflect.Bool:
		return setBool
	}
	return nil
}

func pointerSetter(t reflect.Type) textSetter {
	set := scalarSetter(t.Elem())
	if set == nil {
		return nil
	}
	return func(field reflect.Value, value string) error {
		field.Set(reflect.New(t.Elem()))
		return set(field.Elem(), value)
	}
}

func setBool(field reflect.Value, value string) error {
	switch value {
	case "true", "1":
		field.SetBool(true)
	case "false", "0", "":
		field.SetBool(false)
	default:
		return fmt.Errorf("%q is not a boolean", value)
	}
	return nil
}

// idCheck gives the check of an identifier's grammar by its type, nil for other types. An empty value
// is a missing one, but not in a list.
func idCheck(t reflect.Type) func(reflect.Value) error {
	if t.Kind() == reflect.Slice {
		return listCheck(idCheck(t.Elem()))
	}
	switch t {
	case reflect.TypeFor[matrix.UserID]():
		return checkBy(matrix.ParseUserID)
	case reflect.TypeFor[matrix.RoomID]():
		return checkBy(matrix.ParseRoomID)
	case reflect.TypeFor[matrix.RoomAlias]():
		return checkBy(matrix.ParseRoomAlias)
	case reflect.TypeFor[matrix.EventID]():
		return checkBy(matrix.ParseEventID)
	case reflect.TypeFor[matrix.ServerName]():
		return checkBy(matrix.ParseServerName)
	}
	return nil
}

// listCheck gives the check of a list by that of its elements, nil where they have none.
func listCheck(check func(reflect.Value) error) func(reflect.Value) error {
	if check == nil {
		return nil
	}
	return func(v reflect.Value) error {
		for i := range v.Len() {
			if v.Index(i).String() == "" {
				return matrix.InvalidParam("a list has an empty identifier")
			}
			if err := check(v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	}
}

func checkBy[T ~string](parse func(string) (T, error)) func(reflect.Value) error {
	return func(v reflect.Value) error {
		if v.String() == "" {
			return nil
		}
		_, err := parse(v.String())
		return err
	}
}
