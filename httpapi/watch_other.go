//go:build !linux

package httpapi

import (
	"errors"
	"net"
	"time"
)

// watch is not there on this system: nothing is parked.
type watch struct{}

const (
	untilEnd     = 0
	untilRead    = 0
	untilNothing = 0
)

type move struct {
	fd     int
	serial int32
}

func newWatch() (*watch, error) { return nil, errors.ErrUnsupported }

func (w *watch) close()                             {}
func (w *watch) add(int, int32, uint32) error       { return errors.ErrUnsupported }
func (w *watch) change(int, int32, uint32) error    { return errors.ErrUnsupported }
func (w *watch) remove(int)                         {}
func (w *watch) wait(time.Duration) ([]move, error) { return nil, errors.ErrUnsupported }

func descriptor(net.Conn) (int, bool) { return 0, false }
