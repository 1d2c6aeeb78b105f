package clients

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// server is the real program, built from this tree and run as the README says. ASTROCYTE_PROGRAM names one
// that is built already.
type server struct {
	t             *testing.T
	program, data string
	address       string
	process       *exec.Cmd
	ended         chan struct{}
}

func startServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, data: t.TempDir(), program: program(t)}
	s.address = freeAddress()
	s.start()
	t.Cleanup(s.kill)
	return s
}

// freeAddress finds an address to which the server can come back after its death: its port is none of those
// that systems give to outgoing connections.
func freeAddress() string {
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 15000+rand.N(15000))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
}

func program(t *testing.T) string {
	t.Helper()
	if built := os.Getenv("ASTROCYTE_PROGRAM"); built != "" {
		return built
	}
	file := filepath.Join(t.TempDir(), "astrocyte")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", file, ".")
	build.Dir = filepath.Join("..", "..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the server: %v\n%s", err, out)
	}
	return file
}

func (s *server) url() string { return "http://" + s.address }

// start starts the program and waits until it answers.
func (s *server) start() {
	s.t.Helper()
	s.process = exec.Command(s.program, "serve", "--listen", s.address, "--data", s.data)
	s.process.Stderr = s.t.Output()
	if err := s.process.Start(); err != nil {
		s.t.Fatalf("start the server: %v", err)
	}
	ended := make(chan struct{})
	s.ended = ended
	go func() {
		_ = s.process.Wait() // it was killed, or its log says why it ended
		close(ended)
	}()
	late := time.After(30 * time.Second)
	for err := s.answers(); err != nil; err = s.answers() {
		select {
		case <-ended:
			s.t.Fatal("the server ended at its start")
		case <-late:
			s.t.Fatalf("the server does not answer: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *server) answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", s.url()+"/_matrix/client/versions", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

// kill ends the program by SIGKILL, which it cannot notice.
func (s *server) kill() {
	if s.process == nil {
		return
	}
	if err := s.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("kill the server: %v", err)
	}
	<-s.ended
	s.process = nil
}
