package store

import (
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
)

// Types of array elements, by PostgreSQL's numbers for them.
const (
	oidBytes = 17
	oidInt8  = 20
	oidText  = 25
)

// array builds a one-dimensional array in PostgreSQL's binary form, which the driver sends as it is.
type array struct{ buf []byte }

// newArray begins an array of n elements.
func newArray(oid uint32, n, size int) *array {
	buf := make([]byte, 0, 20+n*4+size)
	if n == 0 {
		buf = binary.BigEndian.AppendUint32(buf, 0) // dimensions
	} else {
		buf = binary.BigEndian.AppendUint32(buf, 1)
	}
	buf = binary.BigEndian.AppendUint32(buf, 0) // 1: has NULLs
	buf = binary.BigEndian.AppendUint32(buf, oid)
	if n > 0 {
		buf = binary.BigEndian.AppendUint32(buf, uint32(n))
		buf = binary.BigEndian.AppendUint32(buf, 1) // the first index
	}
	return &array{buf}
}

func (a *array) int(v int64) {
	a.buf = binary.BigEndian.AppendUint32(a.buf, 8)
	a.buf = binary.BigEndian.AppendUint64(a.buf, uint64(v))
}

func (a *array) text(v string) {
	a.buf = append(binary.BigEndian.AppendUint32(a.buf, uint32(len(v))), v...)
}

func (a *array) bytes(v []byte) {
	a.buf = append(binary.BigEndian.AppendUint32(a.buf, uint32(len(v))), v...)
}

func (a *array) null() {
	a.buf[7] = 1
	a.buf = binary.BigEndian.AppendUint32(a.buf, ^uint32(0))
}

// encodeList encodes a List for = ANY.
func encodeList(l list) (driver.Value, error) {
	switch l.kind {
	case 'i':
		a := newArray(oidInt8, len(l.ints), 8*len(l.ints))
		for _, v := range l.ints {
			a.int(v)
		}
		return a.buf, nil
	case 't':
		a := newArray(oidText, len(l.texts), 32*len(l.texts))
		for _, v := range l.texts {
			a.text(v)
		}
		return a.buf, nil
	case 'b':
		a := newArray(oidBytes, len(l.bytes), 32*len(l.bytes))
		for _, v := range l.bytes {
			a.bytes(v)
		}
		return a.buf, nil
	}
	return nil, errors.New("a List of a type that is neither integer, string nor []byte")
}

// encodeColumn encodes one column of rows. sqlType is empty when all of them are NULL.
func encodeColumn(rows [][]driver.Value, column int) (encoded []byte, sqlType string, err error) {
	var a *array
	for i, r := range rows {
		if r[column] == nil {
			if a != nil {
				a.null()
			}
			continue
		}
		if a == nil {
			if a, sqlType, err = arrayFor(r[column], len(rows)); err != nil {
				return nil, "", err
			}
			for range i {
				a.null()
			}
		}
		switch v := r[column].(type) {
		case int64:
			if sqlType == "INT8" {
				a.int(v)
				continue
			}
		case string:
			if sqlType == "TEXT" {
				a.text(v)
				continue
			}
		case []byte:
			if sqlType == "BYTEA" {
				a.bytes(v)
				continue
			}
		}
		return nil, "", fmt.Errorf("row %d has a %T in a column of %s", i, r[column], sqlType)
	}
	if a == nil {
		return nil, "", nil
	}
	return a.buf, sqlType, nil
}

func arrayFor(v driver.Value, n int) (*array, string, error) {
	switch v := v.(type) {
	case int64:
		return newArray(oidInt8, n, 8*n), "INT8", nil
	case string:
		return newArray(oidText, n, n*(len(v)+8)), "TEXT", nil
	case []byte:
		return newArray(oidBytes, n, n*(len(v)+8)), "BYTEA", nil
	}
	return nil, "", fmt.Errorf("a %T cannot be an element of an array", v)
}
