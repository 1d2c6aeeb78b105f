package test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// hostileBodies are bodies that no endpoint may take.
func hostileBodies() map[string]string {
	return map[string]string{
		"not JSON":       `{"a":`,
		"two values":     `{} {}`,
		"a key twice":    `{"a":1,"b":{"c":1,"c":2}}`,
		"nested deeply":  `{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`,
		"a huge number":  `{"a":1e999}`,
		"not UTF-8":      "{\"a\":\"\xff\"}",
		"half a letter":  `{"a":"\ud800"}`,
		"an array":       `[{"a":1}]`,
		"a text":         `"a"`,
		"null":           `null`,
		"two megabytes":  `{"a":"` + strings.Repeat("x", 2<<20) + `"}`,
		"a huge integer": `{"a":` + strings.Repeat("9", 400) + `}`,
	}
}

// bodiless are the endpoints with a method that can have a body which read none: it is not looked at.
var bodiless = []string{
	"POST /_matrix/client/v3/logout", "POST /_matrix/client/v3/logout/all",
	"POST /_matrix/client/v3/rooms/{roomId}/forget",
	"POST /_matrix/client/v3/user/{userId}/openid/request_token",
	"POST /_matrix/media/v1/create", "POST /_astrocyte/admin/v1/rooms/{roomId}/doctor",
	"POST /_synapse/admin/v1/media/quarantine/{serverName}/{mediaId}", "POST /_synapse/admin/v1/media/unquarantine/{serverName}/{mediaId}",
	"POST /_synapse/admin/v1/room/{roomId}/media/quarantine", "POST /_synapse/admin/v1/user/{userId}/media/quarantine",
	"POST /_synapse/admin/v1/users/{userId}/shadow_ban",
	// They take files, of any kind.
	"POST /_matrix/media/v3/upload", "PUT /_matrix/media/v3/upload/{serverName}/{mediaId}",
}

// plausible are values of path parameters with which a handler gets past their grammar.
func plausible(room, event, user string) map[string]string {
	return map[string]string{
		"{roomId}": room, "{roomIdOrAlias}": room, "{eventId}": event, "{userId}": user, "{roomAlias}": "%23nowhere:localhost",
		"{eventType}": "org.example.type", "{type}": "org.example.type", "{receiptType}": "m.read", "{kind}": "override", "{ruleId}": "rule",
		"{txnId}": "txn", "{deviceId}": "DEVICE", "{keyName}": "displayname", "{version}": "1", "{sessionId}": "session", "{tag}": "u.tag",
		"{serverName}": "localhost", "{mediaId}": "media", "{reportId}": "1", "{token}": "token", "{relType}": "m.thread", "{stateKey}": "",
		"{filterId}": "1", "{protocol}": "irc", "{networkId}": "net", "{appserviceId}": "service",
	}
}

// filled puts values into the parameters of a path; those without one become a word.
func filled(path string, values map[string]string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if value, found := values[p]; found {
			parts[i] = value
		} else if strings.HasPrefix(p, "{") {
			parts[i] = "word"
		}
	}
	return strings.Join(parts, "/")
}

// clientEndpoints are all endpoints of clients and administrators that the handlers tell of.
func clientEndpoints(t *testing.T) []covered {
	all := slices.DeleteFunc(coveredBy(readHouse(t)), func(c covered) bool {
		return strings.HasPrefix(c.file, "federation/") || strings.HasSuffix(c.path, "/ws")
	})
	if len(all) < 150 {
		t.Fatalf("only %d endpoints were found", len(all))
	}
	return all
}

// isProper fails the test where an answer is a fault of the server, or a refusal without an error code. That another
// server cannot be reached (502), or that a file has not come yet (504), is no fault of this one.
func isProper(t *testing.T, what string, a *story.Answer) {
	t.Helper()
	fault := a.Status >= 500 && a.Status != http.StatusBadGateway && a.Status != http.StatusGatewayTimeout
	if fault || a.Status >= 400 && a.At("errcode").Text() == "" && !a.Has("flows") {
		t.Errorf("%s is answered %d %.200s", what, a.Status, a)
	}
}

func TestHostileBodiesAreRefused(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret, withGuests)
		root, bob := administrator(t, hs, "root"), hs.User("bob")
		room := root.CreatesRoom()
		values := plausible(room, root.Says(room, "hello"), bob.ID)
		for _, e := range clientEndpoints(t) {
			what := e.method + " " + e.path
			if e.method == "GET" || e.method == "DELETE" || slices.Contains(bodiless, what) {
				continue // a body has no meaning there
			}
			for name, body := range hostileBodies() {
				a := root.Does(e.method, filled(e.path, values), body)
				isProper(t, what+" with "+name, a)
				if a.Status < 400 {
					t.Errorf("%s takes %s: %d %.200s", what, name, a.Status, a)
				}
			}
		}
		for n, what := range bodiless {
			method, path, _ := strings.Cut(what, " ")
			somebody := hs.User(fmt.Sprintf("somebody%d", n))
			isProper(t, what, somebody.Does(method, filled(path, values), `{"a":`))
		}
	})
}

func TestHostilePathsAndQueriesAreRefused(t *testing.T) {
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		hs := story.Start(t, dsn, withSecret)
		root, bob := administrator(t, hs, "root"), hs.User("bob")
		room := root.CreatesRoom()
		values := plausible(room, root.Says(room, "hello"), bob.ID)
		queries := []string{"limit=-1", "limit=x", "limit=99999999999999999999", "limit=9223372036854775807&from=9223372036854775807", "from=%00", "from=%ff", "from=t-9223372036854775808",
			"dir=sideways", "ts=-9223372036854775808&dir=b", "filter=%7B", "filter=%7B%22room%22%3A%5B%5D%7D", "filter=9", "at=t1_x", "since=s1_9223372036854775807_0_0",
			"order_by=%27%3B--", "name=%25_%5C", "url=file%3A///etc/passwd", "broken=%zz", "width=-1&height=0&method=crop", "timeout=-1", "user_id=@a"}
		parts := []string{"%00", "%ff", "%2E%2E%2Fetc", strings.Repeat("a", 5000), "%F0%9F%90%99", "$", "%21", "@:localhost", "%23:", "-1", "9223372036854775808"}
		for _, e := range clientEndpoints(t) {
			what := e.method + " " + e.path
			if strings.Contains(e.path, "/logout") {
				continue // there is nothing in it
			}
			for _, query := range queries {
				if e.method == "GET" {
					isProper(t, what+"?"+query, root.Does("GET", filled(e.path, values)+"?"+query, nil))
				}
			}
			for parameter := range parametersOf(e.path) {
				for _, part := range parts {
					other := maps.Clone(values)
					other[parameter] = part
					isProper(t, fmt.Sprintf("%s with %.20s", what, part), root.Does(e.method, filled(e.path, other), bodyFor(e.method)))
				}
			}
		}
	})
}

// parametersOf are the variable segments of a path.
func parametersOf(path string) map[string]bool {
	names := map[string]bool{}
	for part := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(part, "{") {
			names[part] = true
		}
	}
	return names
}

func bodyFor(method string) any {
	if method == "GET" || method == "DELETE" {
		return nil
	}
	return `{}`
}
