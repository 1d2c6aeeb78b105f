package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fault is one thing that is wrong in a configuration file.
type Fault struct {
	Line int
	// Key is the setting, such as listeners[0].address.
	Key string
	Why string
}

// Faults is the error of a file that cannot be used: everything that is wrong with it.
type Faults struct {
	File string
	All  []Fault
}

func (f *Faults) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s cannot be used:", f.File)
	for _, fault := range f.All {
		b.WriteString("\n  ")
		if fault.Line > 0 {
			fmt.Fprintf(&b, "line %d: ", fault.Line)
		}
		if fault.Key != "" {
			b.WriteString(fault.Key + ": ")
		}
		b.WriteString(fault.Why)
	}
	return b.String()
}

// Load reads and checks a file. Its error is a *Faults where the file could be read. Relative paths in
// the file start at the file's folder.
func Load(file string) (*Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := Parse(file, text)
	if err != nil {
		return nil, err
	}
	c.resolve(filepath.Dir(file))
	return c, nil
}

// Parse reads and checks the text of a file, whose name is for messages.
func Parse(file string, text []byte) (*Config, error) {
	c := Default()
	r := &reader{lines: map[string]int{}}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, &Faults{File: file, All: syntaxFaults(err)}
	}
	if len(doc.Content) > 0 {
		r.read(doc.Content[0], c)
	}
	c.check(r)
	if len(r.faults) == 0 {
		return c, nil
	}
	slices.SortStableFunc(r.faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	return nil, &Faults{File: file, All: r.faults}
}

// syntaxFaults turns what the YAML reader says, with its line, into a fault.
func syntaxFaults(err error) []Fault {
	var typed *yaml.TypeError
	if errors.As(err, &typed) {
		var all []Fault
		for _, text := range typed.Errors {
			all = append(all, syntaxFault(text))
		}
		return all
	}
	return []Fault{syntaxFault(strings.TrimPrefix(err.Error(), "yaml: "))}
}

func syntaxFault(text string) Fault {
	f := Fault{Why: text}
	if n, _ := fmt.Sscanf(text, "line %d:", &f.Line); n == 1 {
		_, f.Why, _ = strings.Cut(text, ": ")
	}
	f.Why = "not valid YAML: " + f.Why
	return f
}

// resolve makes the paths of files begin at the folder of the configuration.
func (c *Config) resolve(folder string) {
	at := func(path *string) {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
	at(&c.DataDir)
	at(&c.Media.Folder)
	for i := range c.Listeners {
		at(&c.Listeners[i].TLS.Certificate)
		at(&c.Listeners[i].TLS.Key)
	}
	for i := range c.ApplicationServices {
		at(&c.ApplicationServices[i])
	}
	for i := range c.Federation.CertificateAuthorities {
		at(&c.Federation.CertificateAuthorities[i])
	}
	if path, found := strings.CutPrefix(c.Database, "sqlite:"); found {
		at(&path)
		c.Database = "sqlite:" + path
	}
}

// DSN is where the database is, with the default filled in.
func (c *Config) DSN() string {
	if c.Database != "" {
		return c.Database
	}
	return "sqlite:" + filepath.Join(c.DataDir, "astrocyte.db")
}
