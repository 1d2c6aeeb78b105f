package chat_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"astrocyte/chat"
	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// browser is a Chromium without a window, and one page of it.
type browser struct {
	t     *testing.T
	conn  *websocket.Conn
	asked int
}

// browses opens a page in a Chromium, which ends with the test.
func browses(t *testing.T, url string) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("NOT TESTED IN A BROWSER: there is no chromium; the Debian package chromium brings it")
	}
	profile := t.TempDir()
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--remote-debugging-port=0", "--remote-allow-origins=*", "--user-data-dir="+profile, "about:blank")
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	b := &browser{t: t}
	b.attach(filepath.Join(profile, "DevToolsActivePort"))
	b.does("Page.navigate", map[string]any{"url": url})
	return b
}

// attach connects to the page that the browser begins with.
func (b *browser) attach(portFile string) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatal("the browser does not start")
		}
		text, err := os.ReadFile(portFile)
		if err != nil {
			continue
		}
		port, _, _ := strings.Cut(string(text), "\n")
		answered, err := http.Get("http://127.0.0.1:" + port + "/json/list")
		if err != nil {
			continue
		}
		var pages []struct {
			Type string `json:"type"`
			URL  string `json:"webSocketDebuggerUrl"`
		}
		err = json.NewDecoder(answered.Body).Decode(&pages)
		_ = answered.Body.Close()
		for _, p := range pages {
			if err == nil && p.Type == "page" {
				if b.conn, _, err = websocket.DefaultDialer.Dial(p.URL, nil); err != nil {
					b.t.Fatal(err)
				}
				b.t.Cleanup(func() { _ = b.conn.Close() })
				return
			}
		}
	}
}

// does sends a command of the browser's protocol and gives its result.
func (b *browser) does(method string, params any) story.JSON {
	b.t.Helper()
	b.asked++
	if err := b.conn.WriteJSON(map[string]any{"id": b.asked, "method": method, "params": params}); err != nil {
		b.t.Fatal(err)
	}
	for {
		_ = b.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		_, text, err := b.conn.ReadMessage()
		if err != nil {
			b.t.Fatal(err)
		}
		if f, err := story.ParseJSON(text); err == nil && f.At("id").Int() == int64(b.asked) {
			return f.At("result")
		}
	}
}

// sees waits until an expression is true in the page.
func (b *browser) sees(expression string) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if b.does("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}).At("result", "value").Bool() {
			return
		}
	}
	b.t.Fatalf("the page never shows %s", expression)
}

// TestThePageTalks logs in on the page, reads and writes a message, and sees that it was delivered.
func TestThePageTalks(t *testing.T) {
	t.Parallel()
	hs := story.Start(t, testkit.SQLite(t))
	served := httptest.NewServer(chat.Page())
	t.Cleanup(served.Close)
	alice, bob := hs.User("alice"), hs.User("bob")
	room := alice.CreatesRoom()
	bob.Joins(room)
	b := browses(t, served.URL+"/")
	b.sees(`document.readyState === "complete" && typeof document.getElementById("login").onsubmit === "function"`)
	b.does("Runtime.evaluate", map[string]any{"expression": fmt.Sprintf(`
		for (const [id, value] of Object.entries({ server: %q, user: "bob", password: %q })) document.getElementById(id).value = value;
		document.getElementById("login").requestSubmit()`, hs.URL, bob.Password)})
	b.sees(`document.getElementById("state").textContent.startsWith("connected as @bob")`)
	p, _ := talks(t, hs, alice, "")
	event := alice.Says(room, "hello, page")
	b.sees(fmt.Sprintf(`document.getElementById(%q)?.textContent.includes("hello, page") === true`, event))
	p.awaits("the delivery", func(told chat.Told) bool { return told.Kind == "delivered" && told.Events[0] == event })
	b.does("Runtime.evaluate", map[string]any{"expression": fmt.Sprintf(`
		document.getElementById("room").value = %q;
		document.getElementById("text").value = "hello, Alice";
		document.getElementById("say").requestSubmit()`, room)})
	p.awaitsText("hello, Alice")
	b.sees(`[...document.querySelectorAll("li.delivered")].some((item) => item.textContent.includes("hello, Alice"))`)
}
