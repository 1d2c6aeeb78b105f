package store

import (
	"database/sql/driver"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"astrocyte/matrix"
)

// value turns an argument into one of the driver's types: int64, float64, string, []byte, nil.
func (c *conn) value(a any) (driver.Value, error) {
	switch v := a.(type) {
	case nil:
		return nil, nil
	case int64:
		return v, nil
	case string:
		return v, checkText(v)
	case []byte:
		if v == nil {
			v = []byte{}
		}
		return v, nil
	case int:
		return int64(v), nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case float64:
		return v, nil
	case list:
		for _, text := range v.texts {
			if err := checkText(text); err != nil {
				return nil, err
			}
		}
		return c.encode(v)
	case driver.Valuer:
		return v.Value()
	}
	return c.valueOf(reflect.ValueOf(a))
}

// valueOf is value for named types and pointers.
func (c *conn) valueOf(v reflect.Value) (driver.Value, error) {
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return int64(v.Uint()), nil
	case reflect.String:
		return v.String(), checkText(v.String())
	case reflect.Bool:
		return c.value(v.Bool())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return c.value(v.Bytes())
		}
	case reflect.Pointer:
		if v.IsNil() {
			return nil, nil
		}
		return c.value(v.Elem().Interface())
	}
	return nil, fmt.Errorf("a %s cannot be stored", v.Type())
}

// checkText refuses, on both engines, what PostgreSQL cannot have in text. It came in a request: nobody
// else makes such text, so it is the caller's fault.
func checkText(s string) error {
	if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
		return matrix.InvalidParam("a text with a NUL character, or that is not UTF-8, cannot be stored or looked for")
	}
	return nil
}

// Row is one row of an answer. Scan writes its columns to pointers: to integers, strings, []byte, bool,
// float64, types made of these, and pointers to them where a column may be NULL (a []byte takes NULL as nil).
// What it wrote is the caller's to keep.
type Row interface {
	Scan(dest ...any) error
}

type row struct {
	values []driver.Value
	shared bool
}

// Scan writes the columns to dest.
func (r *row) Scan(dest ...any) error {
	if len(dest) != len(r.values) {
		return fmt.Errorf("the row has %d columns, Scan has %d", len(r.values), len(dest))
	}
	for i, d := range dest {
		if err := r.scan(d, r.values[i]); err != nil {
			return fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	return nil
}

func (r *row) scan(dest any, v driver.Value) (err error) {
	switch d := dest.(type) {
	case *int64:
		*d, err = asInt(v)
	case *string:
		*d, err = asString(v)
	case *[]byte:
		*d, err = r.asBytes(v)
	case *int:
		var n int64
		n, err = asInt(v)
		*d = int(n)
	case *bool:
		var n int64
		n, err = asInt(v)
		*d = n != 0
	default:
		p := reflect.ValueOf(dest)
		if p.Kind() != reflect.Pointer || p.IsNil() {
			return fmt.Errorf("cannot scan into a %T", dest)
		}
		return r.scanTo(p.Elem(), v)
	}
	return err
}

// scanTo is scan for named types, and for pointers, which become nil with NULL.
func (r *row) scanTo(d reflect.Value, v driver.Value) error {
	switch d.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := asInt(v)
		if err == nil && d.OverflowInt(n) {
			err = fmt.Errorf("%d does not fit into a %s", n, d.Type())
		}
		d.SetInt(n)
		return err
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := asInt(v)
		if err == nil && (n < 0 || d.OverflowUint(uint64(n))) {
			err = fmt.Errorf("%d does not fit into a %s", n, d.Type())
		}
		d.SetUint(uint64(n))
		return err
	case reflect.String:
		s, err := asString(v)
		d.SetString(s)
		return err
	case reflect.Bool:
		n, err := asInt(v)
		d.SetBool(n != 0)
		return err
	case reflect.Float64:
		f, err := asFloat(v)
		d.SetFloat(f)
		return err
	case reflect.Slice:
		if d.Type().Elem().Kind() == reflect.Uint8 {
			b, err := r.asBytes(v)
			d.SetBytes(b)
			return err
		}
	case reflect.Pointer:
		if v == nil {
			d.SetZero()
			return nil
		}
		d.Set(reflect.New(d.Type().Elem()))
		return r.scan(d.Interface(), v)
	}
	return fmt.Errorf("cannot scan into a %s", d.Type())
}

func asInt(v driver.Value) (int64, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case bool:
		if v {
			return 1, nil
		}
		return 0, nil
	case string: // PostgreSQL's numeric, of sum() for instance
		return strconv.ParseInt(v, 10, 64)
	case []byte:
		return strconv.ParseInt(string(v), 10, 64)
	}
	return 0, fmt.Errorf("want an integer, have %T", v)
}

func asFloat(v driver.Value) (float64, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case int64:
		return float64(v), nil
	case string:
		return strconv.ParseFloat(v, 64)
	case []byte:
		return strconv.ParseFloat(string(v), 64)
	}
	return 0, fmt.Errorf("want a number, have %T", v)
}

func asString(v driver.Value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	}
	return "", fmt.Errorf("want text, have %T", v)
}

// asBytes gives nil for NULL, and never nil for anything else.
func (r *row) asBytes(v driver.Value) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case []byte:
		if r.shared || v == nil {
			return append(make([]byte, 0, len(v)), v...), nil
		}
		return v, nil
	case string:
		return []byte(v), nil
	}
	return nil, fmt.Errorf("want bytes, have %T", v)
}
