package appservice

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"astrocyte/matrix"
)

// Service is a registered application service.
//
// Spec: AS "Registration".
type Service struct {
	ID          string
	URL         string // where it is reached; empty: it is told nothing
	Sender      matrix.UserID
	RateLimited bool // whether the users it acts for are
	Protocols   []string
	// Ephemeral says that it is told of typing, receipts and presence; EarlyEphemeral, that it is in the words of the
	// proposal (MSC2409) that this was before.
	Ephemeral, EarlyEphemeral bool
	// Encrypts says that it is told of messages to devices, keys and devices (MSC3202), instead of asking by /sync.
	Encrypts bool

	asToken [sha256.Size]byte
	hsToken string
	users   []namespace
	aliases []namespace
	rooms   []namespace
}

// namespace is a set of ids, some of which only the service may make.
type namespace struct {
	exclusive bool
	regex     *regexp.Regexp
}

// registration is the file of a service.
type registration struct {
	ID         string  `yaml:"id"`
	URL        *string `yaml:"url"`
	ASToken    string  `yaml:"as_token"`
	HSToken    string  `yaml:"hs_token"`
	Sender     string  `yaml:"sender_localpart"`
	Namespaces struct {
		Users   []rule `yaml:"users"`
		Aliases []rule `yaml:"aliases"`
		Rooms   []rule `yaml:"rooms"`
	} `yaml:"namespaces"`
	RateLimited *bool    `yaml:"rate_limited"`
	Protocols   []string `yaml:"protocols"`
	Ephemeral   bool     `yaml:"receive_ephemeral"`
	Pushed      bool     `yaml:"push_ephemeral"` // as the proposal was to be called at last
	Early       bool     `yaml:"de.sorunome.msc2409.push_ephemeral"`
	Encrypts    bool     `yaml:"org.matrix.msc3202"`
}

type rule struct {
	Exclusive bool   `yaml:"exclusive"`
	Regex     string `yaml:"regex"`
}

// knownKeys are the members of a registration. Those with a dot in their name are extensions: what is not
// served of them is passed over.
var knownKeys = []string{
	"id", "url", "as_token", "hs_token", "sender_localpart", "namespaces", "rate_limited", "protocols",
	"receive_ephemeral", "push_ephemeral",
}

// maxRegistration bounds a registration file, in bytes.
const maxRegistration = 1 << 20

// Load reads the registrations that some paths name, in which * stands for any part of a file name. Its
// error tells all that is wrong with them.
func Load(paths []string, server matrix.ServerName) ([]*Service, error) {
	var all []*Service
	var faults []error
	for _, file := range expand(paths, &faults) {
		s, err := loadFile(file, server)
		if err == nil {
			err = clash(all, s)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", file, err))
			continue
		}
		all = append(all, s)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("application services: %w", errors.Join(faults...))
	}
	return all, nil
}

// expand lists the files of some paths, each once. A path without * must be there.
func expand(paths []string, faults *[]error) []string {
	var files []string
	for _, path := range paths {
		found, err := filepath.Glob(path)
		switch {
		case err != nil:
			*faults = append(*faults, fmt.Errorf("%s: %w", path, err))
		case len(found) == 0 && !strings.ContainsAny(path, "*?["):
			*faults = append(*faults, fmt.Errorf("%s: there is no such file", path))
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

func loadFile(file string, server matrix.ServerName) (*Service, error) {
	if about, err := os.Stat(file); err != nil {
		return nil, err
	} else if about.Size() > maxRegistration {
		return nil, errors.New("the file is too long")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return Parse(text, server)
}

// Parse reads a registration. Its error tells all that is wrong with it.
func Parse(text []byte, server matrix.ServerName) (*Service, error) {
	var r registration
	if err := yaml.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	var members map[string]any
	if err := yaml.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for key := range members {
		if !strings.Contains(key, ".") && !slices.Contains(knownKeys, key) {
			fault("there is no setting %q", key)
		}
	}
	if _, given := members["url"]; !given {
		fault("url is missing; write null for a service that is told nothing")
	}
	for key, value := range map[string]string{"id": r.ID, "as_token": r.ASToken, "hs_token": r.HSToken, "sender_localpart": r.Sender} {
		if value == "" {
			fault("%s is missing", key)
		}
	}
	s := &Service{ID: r.ID, RateLimited: r.RateLimited == nil || *r.RateLimited, Protocols: r.Protocols, hsToken: r.HSToken}
	s.Ephemeral, s.EarlyEphemeral = r.Ephemeral || r.Pushed, r.Early
	s.Encrypts = r.Encrypts
	s.asToken = sha256.Sum256([]byte(r.ASToken))
	if r.URL != nil && *r.URL != "" {
		s.URL = strings.TrimSuffix(*r.URL, "/")
		if u, err := url.Parse(s.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
			fault("url: %q is not an address such as http://127.0.0.1:9000", s.URL)
		}
	}
	if r.Sender != "" {
		var err error
		if s.Sender, err = matrix.ParseUserID("@" + r.Sender + ":" + string(server)); err != nil {
			fault("sender_localpart: %q cannot be the name of a user", r.Sender)
		}
	}
	compile := func(where string, rules []rule) []namespace {
		var all []namespace
		for i, n := range rules {
			regex, err := regexp.Compile(`^(?:` + n.Regex + `)`)
			if err != nil || n.Regex == "" {
				fault("namespaces.%s[%d].regex: %q is not a regular expression that this server can use", where, i, n.Regex)
				continue
			}
			all = append(all, namespace{n.Exclusive, regex})
		}
		return all
	}
	s.users = compile("users", r.Namespaces.Users)
	s.aliases = compile("aliases", r.Namespaces.Aliases)
	s.rooms = compile("rooms", r.Namespaces.Rooms)
	return s, errors.Join(faults...)
}

// clash tells what a service has in common with another one that must differ.
func clash(others []*Service, s *Service) error {
	for _, o := range others {
		switch {
		case o.ID == s.ID:
			return fmt.Errorf("the id %q is that of another service", s.ID)
		case o.asToken == s.asToken:
			return fmt.Errorf("the as_token is that of the service %q", o.ID)
		case o.Sender == s.Sender:
			return fmt.Errorf("the sender_localpart is that of the service %q", o.ID)
		}
	}
	return nil
}

// ephemeral says whether the service is told of typing, receipts and presence.
func (s *Service) ephemeral() bool { return s.Ephemeral || s.EarlyEphemeral }

// claims says whether an id is in one of some namespaces, and in one that is exclusive.
func claims(namespaces []namespace, id string) (claimed, exclusive bool) {
	for _, n := range namespaces {
		if n.regex.MatchString(id) {
			claimed, exclusive = true, exclusive || n.exclusive
		}
	}
	return claimed, exclusive
}

// ActsFor says whether the service may act for a user.
func (s *Service) ActsFor(user matrix.UserID) bool {
	claimed, _ := claims(s.users, string(user))
	return claimed || user == s.Sender
}

// NamesRoom says whether an alias is in the service's namespaces.
func (s *Service) NamesRoom(alias matrix.RoomAlias) bool {
	claimed, _ := claims(s.aliases, string(alias))
	return claimed
}
