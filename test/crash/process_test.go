package crash

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"astrocyte/matrix"
	"astrocyte/testkit/story"
)

// buildProgram builds the real program.
func buildProgram(t testing.TB) string {
	t.Helper()
	if built := os.Getenv("ASTROCYTE_PROGRAM"); built != "" {
		return built
	}
	file := filepath.Join(t.TempDir(), "astrocyte")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", file, "astrocyte")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the server: %v\n%s", err, out)
	}
	return file
}

// process is a running server.
type process struct {
	t         testing.TB
	program   string
	data      string
	arguments []string
	name      matrix.ServerName // where it federates
	url       string
	running   *exec.Cmd
	ended     chan error // what came of it; nil: it was not started, or was ended
	log       *os.File
	client    *http.Client
}

func newProcess(t testing.TB, program, dsn string) *process {
	t.Helper()
	address, data := story.OwnAddress(t)+":8008", t.TempDir() // to which it can come back each time
	log, err := os.Create(filepath.Join(data, "log"))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	p := &process{
		t: t, program: program, data: data, url: "http://" + address, log: log,
		client:    &http.Client{Transport: transport, Timeout: 2 * time.Minute},
		arguments: []string{"serve", "--listen", address, "--data", data, "--database", dsn},
	}
	t.Cleanup(func() {
		p.kill()
		transport.CloseIdleConnections()
		p.checkLog()
		log.Close()
	})
	return p
}

// ServerName is the name of a server that federates.
func (p *process) ServerName() matrix.ServerName { return p.name }

// takeKey gives the node the signing key of another one of its server, which has been started.
func (p *process) takeKey(other *process) {
	p.t.Helper()
	key, err := os.ReadFile(filepath.Join(other.data, "signing.key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(p.data, "signing.key"), key, 0o600)
	}
	if err != nil {
		p.t.Fatalf("take over the key: %v", err)
	}
}

// start starts the program and waits until it answers.
func (p *process) start() {
	p.t.Helper()
	p.client.CloseIdleConnections()
	p.running = exec.Command(p.program, p.arguments...)
	p.running.Stderr = p.log
	if err := p.running.Start(); err != nil {
		p.t.Fatalf("start the server: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.running.Wait() }()
	p.ended = ended
	began := time.Now()
	for {
		call := story.Call{URL: p.url, Method: "GET", Path: "/_matrix/client/versions"}
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Second)
		_, err := call.Do(ctx, p.client)
		cancel()
		if err == nil {
			return
		}
		if len(ended) > 0 {
			p.t.Fatalf("the server ended at its start:\n%s", p.lastLines())
		}
		if time.Since(began) > 2*time.Minute {
			p.t.Fatalf("the server does not answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// kill ends the program by SIGKILL, which it cannot notice.
func (p *process) kill() {
	p.end(syscall.SIGKILL)
}

// stop ends the program in order.
func (p *process) stop() {
	p.t.Helper()
	if err := p.end(syscall.SIGTERM); err != nil {
		p.t.Errorf("the server was told to stop, and ended with %v", err)
	}
}

// end sends a signal, and waits for the end. A program that has ended by itself is a fault.
func (p *process) end(signal syscall.Signal) error {
	p.t.Helper()
	if p.ended == nil {
		return nil
	}
	ended := p.ended
	p.ended = nil
	select {
	case err := <-ended:
		p.t.Errorf("the server has ended by itself: %v\n%s", err, p.lastLines())
		return nil
	default:
	}
	if err := p.running.Process.Signal(signal); err != nil {
		p.t.Errorf("end the server: %v", err)
	}
	return <-ended
}

func (p *process) lastLines() string {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-3000):])
}

// checkLog shows what the server logged as an error.
func (p *process) checkLog() {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		p.t.Errorf("read the log: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"level":"ERROR"`) || strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
			p.t.Errorf("the server logged: %.2000s", line)
		}
	}
}

// account is a user of the server.
type account struct {
	p         *process
	id, token string
}

func register(t testing.TB, p *process, name string) *account {
	t.Helper()
	a := &account{p: p}
	made := a.must(t.Context(), t, "POST", "/register", map[string]any{
		"username": name, "password": "the password of " + name, "auth": map[string]any{"type": "m.login.dummy"},
	})
	a.id, a.token = made.At("user_id").Text(), made.At("access_token").Text()
	return a
}

func (a *account) call(ctx context.Context, method, path string, body any) (*story.Answer, error) {
	call := story.Call{URL: a.p.url, Token: a.token, Method: method, Path: path, Body: body}
	return call.Do(ctx, a.p.client)
}

func (a *account) must(ctx context.Context, t testing.TB, method, path string, body any) *story.Answer {
	t.Helper()
	answer, err := a.call(ctx, method, path, body)
	if err != nil {
		t.Fatalf("%s: %v", a.id, err)
	}
	if answer.Status != http.StatusOK {
		t.Fatalf("%s: %s %s: status %d: %s", a.id, method, path, answer.Status, answer)
	}
	return answer
}
