package testkit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq" // sql.Open("postgres")

	"astrocyte/store"
)

// PostgresServer is a PostgreSQL server for tests.
type PostgresServer struct {
	admin string // DSN of the database from which others are created
	bin   string // where its programs are; empty: it is not ours
	dir   string
	alive io.Closer // a pipe: the watching shell stops the server when our end closes
	shell *exec.Cmd

	once   sync.Once // makes the template
	failed error
}

// sharedServer is the server of this test binary. It ends with it, however that ends.
var sharedServer = sync.OnceValues(func() (*PostgresServer, error) {
	if dsn := os.Getenv("ASTROCYTE_TEST_POSTGRES"); dsn != "" {
		return &PostgresServer{admin: dsn}, nil
	}
	return startServer()
})

// databases numbers the databases of this test binary.
var databases atomic.Int64

// NewPostgresServer starts a server for one test alone, which may stop it and start it again.
func NewPostgresServer(t testing.TB) *PostgresServer {
	t.Helper()
	s, err := startServer()
	if err != nil {
		t.Skipf("NOT TESTED ON POSTGRESQL: %v", err)
	}
	t.Cleanup(func() {
		s.alive.Close()
		s.shell.Wait()
	})
	return s
}

// Database creates a database for the time of the test and gives its DSN. Where the server is ours it has
// the schema already, which takes less time than to make it anew.
func (s *PostgresServer) Database(t testing.TB) string {
	t.Helper()
	if s.bin == "" {
		return s.Empty(t)
	}
	s.once.Do(func() { s.failed = s.makeTemplate() })
	if s.failed != nil {
		t.Fatalf("make the schema: %v", s.failed)
	}
	return s.create(t, templateName)
}

// Empty creates a database without anything in it for the time of the test and gives its DSN.
func (s *PostgresServer) Empty(t testing.TB) string {
	t.Helper()
	return s.create(t, "template0")
}

// templateName is the database that others are copied from.
const templateName = "astrocyte_template"

// createDatabase is what a database for Astrocyte needs to be.
const createDatabase = "CREATE DATABASE %s TEMPLATE %s ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"

func (s *PostgresServer) makeTemplate() error {
	admin, err := sql.Open("postgres", s.admin)
	if err != nil {
		return err
	}
	defer admin.Close()
	if _, err := admin.Exec(fmt.Sprintf(createDatabase, templateName, "template0")); err != nil {
		return err
	}
	dsn, err := s.dsn(templateName)
	if err != nil {
		return err
	}
	db, err := store.Open(context.Background(), store.Options{DSN: dsn})
	if err != nil {
		return err
	}
	return db.Close()
}

func (s *PostgresServer) create(t testing.TB, template string) string {
	t.Helper()
	admin, err := sql.Open("postgres", s.admin)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("astrocyte_%d_%d", os.Getpid(), databases.Add(1))
	if _, err := admin.Exec(fmt.Sprintf(createDatabase, name, template)); err != nil {
		t.Fatalf("create a database: %v", err)
	}
	t.Cleanup(func() {
		// An error here means that the server is gone, and the database with it.
		_, _ = admin.Exec("DROP DATABASE " + name + " WITH (FORCE)")
		admin.Close()
	})
	dsn, err := s.dsn(name)
	if err != nil {
		t.Fatalf("ASTROCYTE_TEST_POSTGRES must be a URL: %v", err)
	}
	return dsn
}

func (s *PostgresServer) dsn(database string) (string, error) {
	u, err := url.Parse(s.admin)
	if err != nil {
		return "", err
	}
	u.Path = "/" + database
	return u.String(), nil
}

// watch starts the server, and stops it and removes its directory when standard input ends, which is
// when the test binary ends. Its state is worth nothing, so it need not be durable nor end cleanly.
const watch = `
"$1/postgres" -D "$2" -k "$2" -c listen_addresses= -c max_connections=400 -c fsync=off -c full_page_writes=off \
	-c deadlock_timeout=200ms -c autovacuum=off -c shared_buffers=64MB &
read _
pid=$(head -n 1 "$2/postmaster.pid")
kill -QUIT "$pid"
wait
while kill -0 "$pid"; do sleep 0.1; done
rm -rf "$2"
`

// startServer makes a server from the programs on this machine, and waits until it answers.
func startServer() (*PostgresServer, error) {
	bin, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "astrocyte-pg-")
	if err != nil {
		return nil, err
	}
	owner, err := serverUser(dir)
	if err != nil {
		return nil, err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", dir, "-U", "postgres", "-A", "trust", "-E", "UTF8",
		"--locale=C", "--no-sync", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr = dir, owner
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	s := &PostgresServer{
		bin: bin, dir: dir,
		admin: "postgres://postgres@/postgres?sslmode=disable&host=" + url.QueryEscape(dir),
	}
	s.shell = exec.Command("/bin/sh", "-c", watch, "sh", bin, dir)
	s.shell.Dir, s.shell.SysProcAttr = dir, owner
	if s.alive, err = s.shell.StdinPipe(); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if owner.Credential != nil {
		if err := log.Chown(int(owner.Credential.Uid), int(owner.Credential.Gid)); err != nil {
			return nil, err
		}
	}
	s.shell.Stdout, s.shell.Stderr = log, log
	if err := s.shell.Start(); err != nil {
		return nil, err
	}
	return s, s.wait()
}

// Stop ends the server at once, as a crash would.
func (s *PostgresServer) Stop(t testing.TB) {
	t.Helper()
	s.control(t, "stop", "-m", "immediate")
}

// Start starts it again.
func (s *PostgresServer) Start(t testing.TB) {
	t.Helper()
	s.control(t, "start", "-l", filepath.Join(s.dir, "log"), "-o",
		"-k "+s.dir+" -c listen_addresses= -c max_connections=400 -c fsync=off -c deadlock_timeout=200ms")
	if err := s.wait(); err != nil {
		t.Fatal(err)
	}
}

func (s *PostgresServer) control(t testing.TB, args ...string) {
	t.Helper()
	c := exec.Command(filepath.Join(s.bin, "pg_ctl"), append([]string{"-D", s.dir, "-w"}, args...)...)
	c.Dir, c.SysProcAttr = s.dir, s.shell.SysProcAttr
	if err := c.Run(); err != nil {
		t.Fatalf("pg_ctl %s: %v", args[0], err)
	}
}

// wait waits until the server answers.
func (s *PostgresServer) wait() error {
	admin, err := sql.Open("postgres", s.admin)
	if err != nil {
		return err
	}
	defer admin.Close()
	for range 600 {
		if err = admin.Ping(); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	said, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, said)
}

// postgresPrograms finds the programs of the newest PostgreSQL on this machine.
func postgresPrograms() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	newest, version := "", -1
	for _, f := range found {
		if v, err := strconv.Atoi(strings.Split(f, "/")[4]); err == nil && v > version {
			newest, version = filepath.Dir(f), v
		}
	}
	if newest != "" {
		return newest, nil
	}
	if f, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(f), nil
	}
	return "", errors.New("no PostgreSQL programs on this machine, and ASTROCYTE_TEST_POSTGRES is not set")
}

// serverUser gives the directory to the user that the server runs as: PostgreSQL refuses root.
func serverUser(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setsid: true} // an interrupt at the terminal is for the test alone
	if os.Getuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, os.Chown(dir, uid, gid)
}
