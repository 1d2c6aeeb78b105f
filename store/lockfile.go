package store

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// lockFile takes the lock beside a database for this process. The lock goes with the process, so what a
// crash leaves behind hinders nobody.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		said, _ := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		return nil, &InUse{Path: strings.TrimSuffix(path, ".lock"), PID: strings.TrimSpace(string(said))}
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// InUse is the error of opening an SQLite database that another process has open.
type InUse struct {
	Path string
	PID  string
}

func (e *InUse) Error() string {
	return fmt.Sprintf("%s is in use by the process with pid %s: an SQLite database belongs to one process at a time", e.Path, e.PID)
}
