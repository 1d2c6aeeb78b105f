package homeserver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
)

// part is something that runs as long as the server does.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// runParts runs parts, which are listed from the ground up, until ctx ends or one of them does. They are
// stopped from the top down, each when the one above it has ended.
func runParts(ctx context.Context, parts []part) error {
	g, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	stops := make([]func(), len(parts))
	for i, p := range parts {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan struct{})
		stops[i] = func() {
			cancel()
			<-done
		}
		g.Go(func() error {
			defer close(done)
			err := p.run(own)
			switch {
			case own.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
				return nil
			case err == nil:
				return fmt.Errorf("%s ended by itself", p.name)
			}
			return fmt.Errorf("%s: %w", p.name, err)
		})
	}
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-failed.Done():
		}
		for _, stop := range slices.Backward(stops) {
			stop()
		}
		return nil
	})
	return g.Wait()
}
