package story

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"astrocyte/matrix"
)

// User is somebody with a client: what they do is done over HTTP as a client does it. A verb that is not
// about refusal fails the test where the server refuses. A User is used by one goroutine at a time.
type User struct {
	Name, ID, Password string
	Token, Device      string
	// Since is the token of the last sync, with which the next one goes on.
	Since string

	t      testing.TB
	server *Server
	rooms  map[string]*room // what the syncs told, by room
	txns   int
}

// Does sends any request and gives the answer, whatever it is.
func (u *User) Does(method, path string, body any) *Answer {
	u.t.Helper()
	c := Call{URL: u.server.URL, Token: u.Token, Method: method, Path: path, Body: body}
	a, err := c.Do(context.Background(), u.server.client)
	if err != nil {
		u.t.Fatalf("%s: %v", u.Name, err)
	}
	return a
}

// Must sends a request that has to succeed.
func (u *User) Must(method, path string, body any) *Answer {
	u.t.Helper()
	a := u.Does(method, path, body)
	if a.Status != 200 {
		u.t.Fatalf("%s: %s %s: status %d: %s", u.Name, method, path, a.Status, a)
	}
	return a
}

// Reads is a GET that has to succeed.
func (u *User) Reads(path string) *Answer {
	u.t.Helper()
	return u.Must("GET", path, nil)
}

// Finds reads a path until the answer fits, and gives that answer. It is for what is done behind the answers
// of the server, by its jobs.
func (u *User) Finds(what, path string, fits func(answer JSON) bool) JSON {
	u.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if a := u.Reads(path); fits(a.JSON) {
			return a.JSON
		}
	}
	u.t.Fatalf("%s waited in vain for %s", u.Name, what)
	return JSON{}
}

// Uploads brings a file and gives its URI.
func (u *User) Uploads(name, contentType string, file []byte) string {
	u.t.Helper()
	c := Call{
		URL: u.server.URL, Token: u.Token, Method: http.MethodPost, Path: "/_matrix/media/v3/upload?filename=" + url.QueryEscape(name),
		Body: file, Type: contentType,
	}
	a, err := c.Do(context.Background(), u.server.client)
	if err != nil || a.Status != 200 {
		u.t.Fatalf("%s uploads %s: %v: %v", u.Name, name, err, a)
	}
	return a.At("content_uri").Text()
}

// Fetches gets a file: whatever is answered, whole.
func (u *User) Fetches(path string) (*http.Response, []byte) {
	u.t.Helper()
	r, err := http.NewRequest(http.MethodGet, u.server.URL+path, http.NoBody)
	if err != nil {
		u.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+u.Token)
	resp, err := u.server.client.Do(r)
	if err != nil {
		u.t.Fatalf("%s: GET %s: %v", u.Name, path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		u.t.Fatalf("%s: GET %s: %v", u.Name, path, err)
	}
	return resp, body
}

// IsRefused sends a request that has to be refused with a code and a status.
func (u *User) IsRefused(code matrix.Code, status int, method, path string, body any) *Answer {
	u.t.Helper()
	a := u.Does(method, path, body)
	if a.Status != status || a.At("errcode").Text() != string(code) {
		u.t.Fatalf("%s: %s %s: want %d %s, got %d: %s", u.Name, method, path, status, code, a.Status, a)
	}
	if a.At("error").Text() == "" {
		u.t.Errorf("%s: %s %s: the error has no text: %s", u.Name, method, path, a)
	}
	return a
}

// logsInBy takes over what a registration or a login answered.
func (u *User) logsInBy(a *Answer) {
	u.t.Helper()
	if a.Status != 200 {
		u.t.Fatalf("%s cannot log in: status %d: %s", u.Name, a.Status, a)
	}
	u.ID, u.Token, u.Device = a.At("user_id").Text(), a.At("access_token").Text(), a.At("device_id").Text()
	if u.ID == "" || u.Token == "" || u.Device == "" {
		u.t.Fatalf("%s logged in, but the answer lacks something: %s", u.Name, a)
	}
}

// LogsIn gives the same user on another device.
func (u *User) LogsIn() *User {
	u.t.Helper()
	other := u.server.Nobody()
	other.Name, other.Password = u.Name, u.Password
	other.logsInBy(other.Does("POST", "/login", map[string]any{
		"type":       "m.login.password",
		"identifier": map[string]any{"type": "m.id.user", "user": u.Name},
		"password":   u.Password,
	}))
	return other
}

// Through gives the same user, device and place in the stream, whose requests go to another node.
func (u *User) Through(node *Server) *User {
	other := *u
	other.server, other.rooms = node, map[string]*room{}
	return &other
}

// Txn makes a transaction ID that this device has not used.
func (u *User) Txn() string {
	u.txns++
	return fmt.Sprintf("txn%d", u.txns)
}

// CreatesRoom makes a public room that everybody may join, or what the options say instead.
func (u *User) CreatesRoom(options ...map[string]any) string {
	u.t.Helper()
	body := map[string]any{"preset": "public_chat"}
	for _, o := range options {
		for k, v := range o {
			body[k] = v
		}
	}
	id := u.Must("POST", "/createRoom", body).At("room_id").Text()
	if id == "" || id[0] != '!' {
		u.t.Fatalf("%s created a room, but its ID is %q", u.Name, id)
	}
	return id
}

// Joins joins a room, by its ID or an alias.
func (u *User) Joins(room string) {
	u.t.Helper()
	if got := u.Must("POST", Path("join", room), `{}`).At("room_id").Text(); room[0] == '!' && got != room {
		u.t.Fatalf("%s joined %s, and is told that it was %q", u.Name, room, got)
	}
}

// Invites invites somebody.
func (u *User) Invites(room string, who *User) {
	u.t.Helper()
	u.member("invite", room, map[string]any{"user_id": who.ID})
}

// Leaves leaves a room, rejects an invite or takes back a knock.
func (u *User) Leaves(room string) {
	u.t.Helper()
	u.member("leave", room, map[string]any{})
}

// Kicks makes somebody leave.
func (u *User) Kicks(room string, who *User, reason string) {
	u.t.Helper()
	u.member("kick", room, map[string]any{"user_id": who.ID, "reason": reason})
}

// Bans bans somebody.
func (u *User) Bans(room string, who *User, reason string) {
	u.t.Helper()
	u.member("ban", room, map[string]any{"user_id": who.ID, "reason": reason})
}

// Unbans takes a ban back.
func (u *User) Unbans(room string, who *User) {
	u.t.Helper()
	u.member("unban", room, map[string]any{"user_id": who.ID})
}

// Forgets forgets a room that was left.
func (u *User) Forgets(room string) {
	u.t.Helper()
	u.member("forget", room, map[string]any{})
}

func (u *User) member(act, room string, body any) {
	u.t.Helper()
	u.Must("POST", Path("rooms", room, act), body)
}

// Sends sends a text message with a transaction ID, and gives the event's ID.
func (u *User) Sends(room, txn, text string) string {
	u.t.Helper()
	return u.SendsEvent(room, "m.room.message", txn, map[string]any{"msgtype": "m.text", "body": text})
}

// Says sends a text message.
func (u *User) Says(room, text string) string {
	u.t.Helper()
	return u.Sends(room, u.Txn(), text)
}

// SendsEvent sends an event of any type.
func (u *User) SendsEvent(room, eventType, txn string, content any) string {
	u.t.Helper()
	return u.eventID(u.Must("PUT", Path("rooms", room, "send", eventType, txn), content))
}

// Redacts redacts an event.
func (u *User) Redacts(room, event, reason string) string {
	u.t.Helper()
	return u.eventID(u.Must("PUT", Path("rooms", room, "redact", event, u.Txn()), map[string]any{"reason": reason}))
}

// SetsState sets a piece of a room's state.
func (u *User) SetsState(room, eventType, key string, content any) string {
	u.t.Helper()
	return u.eventID(u.Must("PUT", statePath(room, eventType, key), content))
}

func (u *User) eventID(a *Answer) string {
	u.t.Helper()
	id := a.At("event_id").Text()
	if id == "" || id[0] != '$' {
		u.t.Fatalf("%s sent an event, but its ID is %q", u.Name, id)
	}
	return id
}

// State reads the content of a piece of a room's state.
func (u *User) State(room, eventType, key string) JSON {
	u.t.Helper()
	return u.Reads(statePath(room, eventType, key)).JSON
}

func statePath(room, eventType, key string) string {
	path := Path("rooms", room, "state", eventType)
	if key != "" {
		path += Path(key)
	}
	return path
}

// Messages reads a page of a room's history. The query has dir, from, limit and so on.
func (u *User) Messages(room, query string) *Answer {
	u.t.Helper()
	return u.Reads(Path("rooms", room, "messages") + "?" + query)
}

// History reads the whole of a room's history that the user may see, oldest first.
func (u *User) History(room string) []JSON {
	u.t.Helper()
	var all []JSON
	query := url.Values{"dir": {"b"}, "limit": {"20"}}
	for pages := 0; ; pages++ {
		page := u.Messages(room, query.Encode())
		for _, e := range page.At("chunk").List() {
			all = append([]JSON{e}, all...)
		}
		end := page.At("end").Text()
		if end == "" {
			return all
		}
		if pages == 200 {
			u.t.Fatalf("the history of %s does not end", room)
		}
		query.Set("from", end)
	}
}
