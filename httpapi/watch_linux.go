package httpapi

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// watch asks the kernel which of many connections have moved: an epoll that itself is waited for like a
// file, so that it takes no thread.
type watch struct {
	fd     int
	file   *os.File
	raw    syscall.RawConn
	events []syscall.EpollEvent
}

// What a connection is watched for, once: that the client went away; or that it sends something, too.
const (
	rdhup        = 0x2000
	oneshot      = 1 << 30
	untilEnd     = rdhup | oneshot
	untilRead    = syscall.EPOLLIN | rdhup | oneshot
	untilNothing = oneshot
)

// move says that something came of a connection.
type move struct {
	fd     int
	serial int32
}

func newWatch() (*watch, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		_ = syscall.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	w := &watch{fd: fd, file: os.NewFile(uintptr(fd), "epoll"), events: make([]syscall.EpollEvent, 256)}
	if w.raw, err = w.file.SyscallConn(); err != nil {
		w.close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return w, nil
}

func (w *watch) close() { _ = w.file.Close() }

func (w *watch) control(op, fd int, serial int32, events uint32) error {
	return syscall.EpollCtl(w.fd, op, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd), Pad: serial})
}

func (w *watch) add(fd int, serial int32, events uint32) error {
	return w.control(syscall.EPOLL_CTL_ADD, fd, serial, events)
}

func (w *watch) change(fd int, serial int32, events uint32) error {
	return w.control(syscall.EPOLL_CTL_MOD, fd, serial, events)
}

func (w *watch) remove(fd int) { _ = w.control(syscall.EPOLL_CTL_DEL, fd, 0, 0) }

// wait gives the connections that have moved, or none when the time is over.
func (w *watch) wait(most time.Duration) ([]move, error) {
	if err := w.file.SetReadDeadline(time.Now().Add(most)); err != nil {
		return nil, fmt.Errorf("wait for connections: %w", err)
	}
	var n int
	var failed error
	err := w.raw.Read(func(fd uintptr) bool {
		for {
			n, failed = syscall.EpollWait(int(fd), w.events, 0)
			if failed != syscall.EINTR {
				break
			}
		}
		return n > 0 || failed != nil
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("wait for connections: %w", err)
	case failed != nil:
		return nil, fmt.Errorf("wait for connections: %w", failed)
	}
	moved := make([]move, n)
	for i, e := range w.events[:n] {
		moved[i] = move{int(e.Fd), e.Pad}
	}
	return moved, nil
}

// descriptor is the file descriptor of a TCP connection. It is good as long as the connection is open.
func descriptor(conn net.Conn) (int, bool) {
	if a, ok := conn.(*aheadConn); ok {
		conn = a.Conn
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return 0, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, false
	}
	fd := -1
	if err := raw.Control(func(f uintptr) { fd = int(f) }); err != nil {
		return 0, false
	}
	return fd, fd >= 0
}
