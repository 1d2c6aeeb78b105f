package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"astrocyte/matrix"
)

// bodyTime is how long a client may take to send a body.
const bodyTime = 60 * time.Second

// decodeBody fills the fields that come from the JSON body.
func (p *plan) decodeBody(w http.ResponseWriter, r *http.Request, c *Caller, v reflect.Value) error {
	if len(p.members) == 0 && p.whole == nil {
		return nil
	}
	body, err := ReadBody(w, r)
	if err != nil {
		return err
	}
	missing := len(bytes.TrimSpace(body)) == 0
	if missing {
		if p.whole != nil && !p.wholeOptional {
			return matrix.E(matrix.CodeNotJSON, "the body is missing")
		}
		body = []byte("{}")
	}
	if err := CheckObject(body); err != nil {
		return err
	}
	if p.whole != nil && !missing {
		v.FieldByIndex(p.whole).SetBytes(body)
	}
	return p.decodeMembers(body, c, v)
}

func (p *plan) decodeMembers(body []byte, c *Caller, v reflect.Value) error {
	if len(p.members) == 0 {
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil {
		return matrix.BadJSON("the body must be an object")
	}
	for name, value := range object {
		m := p.members[name]
		if m == nil {
			continue
		}
		if c.audited {
			c.given = append(c.given, name)
		}
		if err := m.decode(name, value, v.FieldByIndex(m.index)); err != nil {
			return err
		}
	}
	for _, name := range p.required {
		if value, found := object[name]; !found || string(value) == "null" {
			return matrix.MissingParam("the member %s is missing", name)
		}
	}
	return nil
}

func (m *member) decode(name string, value json.RawMessage, field reflect.Value) error {
	if err := json.Unmarshal(value, field.Addr().Interface()); err != nil {
		var e *matrix.Error
		if errors.As(err, &e) {
			return e
		}
		return matrix.BadJSON("the member %s has a wrong type", name)
	}
	if bytes.Contains(value, []byte(`\u0000`)) && hasNUL(field) {
		return matrix.BadJSON("the member %s has a NUL character", name)
	}
	if m.check != nil {
		return m.check(field)
	}
	return nil
}

// hasNUL looks for a NUL character in decoded text, which a database may not be able to store. Raw JSON
// is passed: it is stored as it is.
func hasNUL(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return strings.IndexByte(v.String(), 0) >= 0
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && hasNUL(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if hasNUL(v.Field(i)) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return false
		}
		for i := range v.Len() {
			if hasNUL(v.Index(i)) {
				return true
			}
		}
	case reflect.Map:
		for key, value := range v.Seq2() {
			if hasNUL(key) || hasNUL(value) {
				return true
			}
		}
	}
	return false
}

// ReadBody reads a request's body, which is bounded by its endpoint's limit.
func ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	var buf bytes.Buffer
	if n := r.ContentLength; n > 0 && n < DefaultBodyLimit {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, matrix.E(matrix.CodeTooLarge, "the body is larger than %d bytes", tooLarge.Limit)
	case err != nil && !errors.Is(err, io.EOF):
		return nil, matrix.E(matrix.CodeNotJSON, "the body could not be read")
	}
	// The whole body is here: the deadline was for it, and must not end a long poll.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return buf.Bytes(), nil
}

// CheckObject refuses a body that is not a JSON object which everybody reads in the same way.
func CheckObject(body []byte) error {
	if err := checkJSON(body); err != nil {
		return err
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); trimmed[0] != '{' {
		return matrix.BadJSON("the body must be an object")
	}
	return nil
}
