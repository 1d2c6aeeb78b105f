package store

import (
	"fmt"
	"strings"
)

// dialect is what the macros of the one SQL mean on an engine.
type dialect struct {
	macros     map[string]string
	columns    map[string]string // macros that mean something else where tables are made
	in         map[string]string // by element type; $ stands for the placeholder
	nids       string            // the rows (nid & 255, nid) of a list; $ stands for the placeholder
	keyed      string            // the rows (shard, key) of a list of Keyed
	positional bool              // placeholders become ?, arguments are reordered
	// finish completes the text of one statement of a migration. May be nil.
	finish func(statement string) string
}

// rewrite expands the macros. order is nil, or gives for each placeholder of the result which
// argument (from 0) it takes.
func (d *dialect) rewrite(query string) (text string, order []int, err error) {
	var b strings.Builder
	b.Grow(len(query) + 32)
	for i := 0; i < len(query); {
		switch c := query[i]; {
		case c == '\'':
			end := quoted(query, i)
			b.WriteString(query[i:end])
			i = end
		case c == '-' && strings.HasPrefix(query[i:], "--"):
			i = lineEnd(query, i)
		case c == '{':
			end := strings.IndexByte(query[i:], '}')
			if end < 0 {
				return "", nil, fmt.Errorf("macro without an end in %q", query)
			}
			if order, err = d.expand(&b, query[i+1:i+end], order); err != nil {
				return "", nil, fmt.Errorf("%w in %q", err, query)
			}
			i += end + 1
		case c == '$':
			n, end := placeholder(query, i)
			if n == 0 {
				return "", nil, fmt.Errorf("$ without a number in %q", query)
			}
			order = d.place(&b, query[i:end], n, order)
			i = end
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String(), order, nil
}

// expand writes one macro's meaning.
func (d *dialect) expand(b *strings.Builder, macro string, order []int) ([]int, error) {
	if text, ok := d.macros[macro]; ok {
		b.WriteString(text)
		return order, nil
	}
	words := strings.Fields(macro)
	if len(words) == 3 && words[0] == "IN" || len(words) == 2 && (words[0] == "NIDS" || words[0] == "KEYED") {
		form, ok := d.nids, true
		switch {
		case len(words) == 3:
			form, ok = d.in[words[2]]
		case words[0] == "KEYED":
			form = d.keyed
		}
		n, end := placeholder(words[1], 0)
		if ok && n > 0 && end == len(words[1]) {
			before, after, _ := strings.Cut(form, "$")
			b.WriteString(before)
			order = d.place(b, words[1], n, order)
			b.WriteString(after)
			return order, nil
		}
	}
	return nil, fmt.Errorf("unknown macro {%s}", macro)
}

// place writes a placeholder.
func (d *dialect) place(b *strings.Builder, name string, n int, order []int) []int {
	if !d.positional {
		b.WriteString(name)
		return nil
	}
	b.WriteByte('?')
	return append(order, n-1)
}

// statements splits the text of a migration at the semicolons outside of quotes and comments.
func (d *dialect) statements(text string) ([]string, error) {
	var out []string
	var b strings.Builder
	flush := func() error {
		s := strings.TrimSpace(b.String())
		b.Reset()
		if s == "" {
			return nil
		}
		if strings.HasPrefix(s, "CREATE TABLE") || strings.HasPrefix(s, "ALTER TABLE") {
			for macro, text := range d.columns {
				s = strings.ReplaceAll(s, "{"+macro+"}", text)
			}
		}
		s, _, err := d.rewrite(s)
		if err != nil {
			return err
		}
		if s = strings.TrimSpace(s); d.finish != nil {
			s = d.finish(s)
		}
		out = append(out, s)
		return nil
	}
	for i := 0; i < len(text); {
		end := i + 1
		switch c := text[i]; {
		case c == '\'':
			end = quoted(text, i)
		case c == '-' && strings.HasPrefix(text[i:], "--"):
			i, end = lineEnd(text, i), lineEnd(text, i)
		case c == ';':
			if err := flush(); err != nil {
				return nil, err
			}
			i++
		}
		b.WriteString(text[i:max(i, end)])
		i = max(i, end)
	}
	return out, flush()
}

// quoted gives the index after the string literal that begins at i. A doubled quote is two literals
// side by side, which comes out the same.
func quoted(s string, i int) int {
	end := strings.IndexByte(s[i+1:], '\'')
	if end < 0 {
		return len(s)
	}
	return i + 1 + end + 1
}

func lineEnd(s string, i int) int {
	end := strings.IndexByte(s[i:], '\n')
	if end < 0 {
		return len(s)
	}
	return i + end
}

// placeholder reads $n at i: its number, 0 where there is none, and the index after it.
func placeholder(s string, i int) (n, end int) {
	if i >= len(s) || s[i] != '$' {
		return 0, i
	}
	end = i + 1
	for end < len(s) && s[end] >= '0' && s[end] <= '9' && n < 1<<16 {
		n = n*10 + int(s[end]-'0')
		end++
	}
	return n, end
}
