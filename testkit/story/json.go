package story

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// JSON is a decoded JSON value. What is not there is the zero JSON, so a long path needs no checks on the way.
type JSON struct{ value any }

// ParseJSON decodes one JSON value.
func ParseJSON(text []byte) (JSON, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return JSON{}, err
	}
	return JSON{v}, nil
}

// At follows member names (string) and places in arrays (int, from the end where negative).
func (j JSON) At(path ...any) JSON {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, _ := j.value.(map[string]any)
			j = JSON{object[step]}
		case int:
			list, _ := j.value.([]any)
			if step < 0 {
				step += len(list)
			}
			if step < 0 || step >= len(list) {
				return JSON{}
			}
			j = JSON{list[step]}
		}
	}
	return j
}

// There says whether there is a value, and that it is not null.
func (j JSON) There() bool { return j.value != nil }

// Has says whether an object has a member, null or not.
func (j JSON) Has(name string) bool {
	object, _ := j.value.(map[string]any)
	_, has := object[name]
	return has
}

// Text is the value of a string, and empty otherwise.
func (j JSON) Text() string {
	s, _ := j.value.(string)
	return s
}

// Int is the value of a whole number, and 0 otherwise.
func (j JSON) Int() int64 {
	n, _ := j.value.(json.Number)
	i, _ := n.Int64()
	return i
}

// Bool is the value of a boolean, and false otherwise.
func (j JSON) Bool() bool {
	b, _ := j.value.(bool)
	return b
}

// List is what an array has, and nothing otherwise.
func (j JSON) List() []JSON {
	list, _ := j.value.([]any)
	all := make([]JSON, len(list))
	for i, v := range list {
		all[i] = JSON{v}
	}
	return all
}

// Keys are the sorted names of an object's members.
func (j JSON) Keys() []string {
	object, _ := j.value.(map[string]any)
	return slices.Sorted(maps.Keys(object))
}

// Find gives the first element of an array that fits.
func (j JSON) Find(fits func(JSON) bool) (JSON, bool) {
	for _, e := range j.List() {
		if fits(e) {
			return e, true
		}
	}
	return JSON{}, false
}

// Texts are the values at a path in each element of an array.
func (j JSON) Texts(path ...any) []string {
	var all []string
	for _, e := range j.List() {
		all = append(all, e.At(path...).Text())
	}
	return all
}

// Bytes is the value as JSON, with sorted members.
func (j JSON) Bytes() []byte {
	text, err := json.Marshal(j.value)
	if err != nil {
		return []byte("null") // it was made by decoding, so it can be encoded
	}
	return text
}

// String is the value as JSON, with sorted members.
func (j JSON) String() string { return string(j.Bytes()) }

// MarshalJSON encodes the value.
func (j JSON) MarshalJSON() ([]byte, error) { return j.Bytes(), nil }
