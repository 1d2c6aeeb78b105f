package e2ee_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"astrocyte/account"
	"astrocyte/e2ee"
	"astrocyte/matrix"
	"astrocyte/store"
	"astrocyte/testkit"
)

// crashing makes the test binary the process that is killed: the DSN of its database, its data folder, and
// the socket on which it is asked, by line feeds.
const crashing = "ASTROCYTE_TEST_CRASHING"

// crashRounds is how often it is killed.
func crashRounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("ASTROCYTE_CRASH_ROUNDS")
	if text == "" {
		return 6
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestModelSurvivesCrashesAndRestores lets a process work that is killed again and again, and of which a copy
// is put back now and then. One-time keys are uploaded and claimed, messages sent and read, devices made and
// deleted and their lists followed, all at the same time. Whatever happens: no key is given out twice, and no
// message is told twice or out of order. What was acknowledged is lost only where a copy is older than it.
func TestModelSurvivesCrashesAndRestores(t *testing.T) {
	if asked := os.Getenv(crashing); asked != "" {
		parts := strings.Split(asked, "\n")
		serveUntilKilled(t, parts[0], parts[1], parts[2])
		return
	}
	t.Parallel()
	testkit.Each(t, func(t *testing.T, dsn string) {
		h := &harness{t: t, folder: t.TempDir(), sqlite: strings.HasPrefix(dsn, "sqlite"), dsn: dsn}
		if h.sqlite {
			h.dsn = "sqlite:" + filepath.Join(h.folder, "astrocyte.db")
		}
		h.up.L = &h.mu
		h.start()
		t.Cleanup(h.kill)
		m := newModel(h)
		var work sync.WaitGroup
		for _, loop := range m.loops() {
			work.Go(func() {
				for !h.over.Load() && !t.Failed() {
					loop()
				}
			})
		}
		for range crashRounds(t) {
			h.works(50 + rand.N[int64](100))
			h.copy(m)
			h.works(50 + rand.N[int64](100))
			h.crash(m)
		}
		h.works(200)
		h.over.Store(true)
		work.Wait()
		if !t.Failed() {
			m.end()
		}
	})
}

// node is what the process can be asked.
type node struct {
	w   *world
	key key
}

// The arguments and answers of its functions, exported as net/rpc wants them.
type (
	SendCall  struct{ Sender, N int }
	NewsCall  struct{ Had, After int64 }
	NewsReply struct {
		Messages [][]byte
		Told     int64
		Rest     bool
	}
	ListReply struct {
		Changed bool
		Pos     int64
	}
	Nothing struct{}
)

func serveUntilKilled(t *testing.T, dsn, folder, socket string) {
	w := start(t, dsn, folder)
	w.runRooms()
	n := &node{w: w, key: fixedKey(t)}
	for _, user := range []matrix.UserID{alice, bob} {
		if err := w.accounts.CreateUser(t.Context(), account.NewUser{ID: user}); err != nil {
			continue // there since the first start
		}
		if user == alice {
			w.device(alice, "A")
			w.upload(alice, "A", e2ee.Upload{DeviceKeys: n.key.identity(t, alice, "A")})
			continue
		}
		w.device(bob, "0", "1", "2")
		w.room(alice, bob)
	}
	server := rpc.NewServer()
	if err := server.RegisterName("Node", n); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("READY")
	server.Accept(l)
}

// fixedKey is the same in each process: that of Alice's device.
func fixedKey(t *testing.T) key {
	t.Helper()
	return keyOf(t, slices.Repeat([]byte{7}, 32))
}

// Upload uploads keys of Alice's device: so many from a number on.
func (n *node) Upload(first int, count *int64) error {
	counts, err := n.w.Upload(n.w.t.Context(), alice, "A", e2ee.Upload{OneTime: n.key.oneTimeOf(n.w.t, alice, "A", first, 5)})
	*count = counts["signed_curve25519"]
	return err
}

// Claim claims a key of Alice's device.
func (n *node) Claim(_ Nothing, name *string) (err error) {
	*name, err = n.w.claim(alice, "A")
	return err
}

// Send sends a numbered message to Alice's device.
func (n *node) Send(c SendCall, _ *Nothing) error {
	return n.w.Send(n.w.t.Context(), e2ee.Sending{
		Sender: bob, Device: matrix.DeviceID(fmt.Sprint(c.Sender)), Type: "org.example.test", TxnID: fmt.Sprint(c.N),
		Messages: e2ee.Messages{alice: {"A": json.RawMessage(fmt.Sprintf(`{"n":%d,"s":%d}`, c.N, c.Sender))}},
	})
}

// News reads the messages to Alice's device.
func (n *node) News(c NewsCall, r *NewsReply) error {
	news := n.w.news(alice, "A", c.Had, c.After)
	for _, m := range news.Messages {
		r.Messages = append(r.Messages, m)
	}
	r.Told, r.Rest = news.Told, news.Rest
	if r.Rest {
		return n.w.Forget(n.w.t.Context(), alice, "A", c.Had)
	}
	return nil
}

// Note notes how far the stream has come, as is done every second.
func (n *node) Note(Nothing, *Nothing) error { return n.w.NoteReached(n.w.t.Context()) }

// Device makes a device of Bob's with keys.
func (n *node) Device(id string, _ *Nothing) error {
	d := matrix.DeviceID(id)
	if _, err := n.w.accounts.CreateDevice(n.w.t.Context(), bob, account.NewDevice{ID: d}); err != nil {
		return err
	}
	_, err := n.w.Upload(n.w.t.Context(), bob, d, e2ee.Upload{DeviceKeys: n.key.sign(n.w.t, bob, id, map[string]any{
		"user_id": bob, "device_id": id, "algorithms": []string{}, "keys": map[string]string{"ed25519:" + id: n.key.public},
	})})
	return err
}

// Drop deletes a device of Bob's.
func (n *node) Drop(id string, _ *Nothing) error {
	return n.w.accounts.DeleteDevices(n.w.t.Context(), bob, []matrix.DeviceID{matrix.DeviceID(id)})
}

// Changes says whether Alice is told that Bob's devices changed, and up to where that is true.
func (n *node) Changes(from int64, r *ListReply) error {
	err := n.w.db.View(n.w.t.Context(), func(tx *store.Tx) (err error) { r.Pos, err = tx.Pos(); return err })
	if err != nil {
		return err
	}
	l, err := n.w.Changes(n.w.t.Context(), alice, from)
	r.Changed = slices.Contains(l.Changed, bob)
	return err
}

// Devices are those of Bob's that have keys, as Alice sees them.
func (n *node) Devices(_ Nothing, ids *[]string) error {
	k, err := n.w.Query(n.w.t.Context(), alice, e2ee.Wanted{bob: nil}, 0)
	if err != nil {
		return err
	}
	for id := range k.Devices[bob] {
		*ids = append(*ids, string(id))
	}
	slices.Sort(*ids)
	return nil
}

// harness runs the process, kills it, copies its folder and puts that back.
type harness struct {
	t           *testing.T
	dsn, folder string
	sqlite      bool
	over        atomic.Bool
	done        atomic.Int64 // calls that were answered

	mu      sync.Mutex
	up      sync.Cond
	process *exec.Cmd
	client  *rpc.Client // nil: it does not run
	copied  string      // a folder with the last copy; empty: there is none
	past    int         // how often a copy was put back
}

func (h *harness) start() {
	h.t.Helper()
	dir, err := os.MkdirTemp("", "astrocyte") // a socket's name is short
	if err != nil {
		h.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(os.Args[0], "-test.run=^TestModelSurvivesCrashesAndRestores$")
	cmd.Env = append(os.Environ(), crashing+"="+strings.Join([]string{h.dsn, h.folder, socket}, "\n"))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	var said []string
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "READY" {
		said = append(said, lines.Text())
	}
	client, err := rpc.Dial("unix", socket)
	if err != nil {
		h.t.Fatalf("the process does not answer: %v\n%s", err, strings.Join(said, "\n"))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.process, h.client = cmd, client
	h.up.Broadcast()
}

func (h *harness) kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client == nil {
		return
	}
	_ = h.process.Process.Kill()
	_ = h.process.Wait() // it was killed
	_ = h.client.Close()
	h.client = nil
}

// works waits until the process has answered so many calls.
func (h *harness) works(n int64) {
	for goal := h.done.Load() + n; h.done.Load() < goal && !h.t.Failed(); {
		h.mu.Lock()
		h.up.Wait()
		h.mu.Unlock()
	}
}

// copy copies the folder while the process runs, or rather stands still for a moment.
func (h *harness) copy(m *model) {
	if !h.sqlite || h.copied != "" {
		return
	}
	h.copied = h.t.TempDir()
	h.must(h.process.Process.Signal(syscall.SIGSTOP))
	_, err := syscall.Wait4(h.process.Process.Pid, nil, syscall.WUNTRACED, nil) // it stands still now
	h.must(err)
	m.copied()
	h.must(os.CopyFS(h.copied, os.DirFS(h.folder)))
	h.must(h.process.Process.Signal(syscall.SIGCONT))
}

// crash kills the process, and perhaps puts a copy back. A copy is older than a second, as those of people are.
func (h *harness) crash(m *model) {
	back := h.copied != "" && rand.N(2) == 0
	if back {
		h.call("Note", Nothing{}, &Nothing{})
	}
	h.kill()
	if back {
		h.putBack(rand.N(2) == 0)
		m.restored()
		h.copied = ""
	}
	h.start()
}

// putBack puts the whole folder back, or the database alone into the folder that was there.
func (h *harness) putBack(whole bool) {
	kept := h.t.TempDir()
	if !whole {
		for _, name := range []string{"keys.epoch", "keys.place"} {
			h.must(os.Rename(filepath.Join(h.folder, name), filepath.Join(kept, name)))
			h.must(os.Remove(filepath.Join(h.copied, name)))
		}
	}
	h.must(os.RemoveAll(h.folder))
	h.must(os.CopyFS(h.folder, os.DirFS(h.copied)))
	if !whole {
		for _, name := range []string{"keys.epoch", "keys.place"} {
			h.must(os.Rename(filepath.Join(kept, name), filepath.Join(h.folder, name)))
		}
	}
}

func (h *harness) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// call asks the process once. cut means that there was no answer: it may have happened or not. past is how
// often a copy has been put back since the beginning.
func (h *harness) call(function string, args, reply any) (cut bool, past int) {
	h.mu.Lock()
	for h.client == nil {
		h.up.Wait()
	}
	client, before := h.client, h.past
	h.mu.Unlock()
	err := client.Call("Node."+function, args, reply)
	var fault rpc.ServerError
	switch {
	case errors.As(err, &fault):
		h.t.Errorf("%s %v: %v", function, args, err)
	case err == nil:
		h.done.Add(1)
	}
	h.up.Broadcast()
	return err != nil, before
}

// insist asks the process until it answers, or until a copy was put back: then what was under way is given
// up, as by a client that was started anew, and it may have happened or not.
func (h *harness) insist(function string, args, reply any) (answered bool, past int) {
	first := -1
	for !h.t.Failed() {
		cut, past := h.call(function, args, reply)
		if first < 0 {
			first = past
		}
		if !cut {
			return past == first, past
		}
		h.mu.Lock()
		for h.client == nil {
			h.up.Wait()
		}
		past = h.past
		h.mu.Unlock()
		if past != first {
			return false, past
		}
	}
	return false, 0
}
