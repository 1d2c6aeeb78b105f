package sender

import (
	"context"
	"fmt"
	"sync"
	"time"

	"astrocyte/bus"
	"astrocyte/matrix"
)

const (
	lookEvery = 2 * time.Second  // how often the dispatcher looks by itself: hints may be lost
	claimFor  = 30 * time.Second // after this time another node takes over from one that died
	renewed   = claimFor / 3
)

// claim is the right to send to a server, alone.
type claim struct {
	server   matrix.ServerName
	probing  bool // it was not reached last
	greeting bool // it is greeted first
}

// dispatcher gives the servers for which something waits to goroutines, one each.
type dispatcher struct {
	*Sender
	wg       sync.WaitGroup
	ended    chan claim
	running  map[matrix.ServerName]claim
	probing  int
	greeting int
}

// dispatch sends wherever something waits, until the context ends, and waits for what is under way.
func (s *Sender) dispatch(ctx context.Context) error {
	news := s.bus.Subscribe(bus.Destination) // before the looking: what comes between is not missed
	defer news.Close()
	d := &dispatcher{Sender: s, ended: make(chan claim, parallel), running: make(map[matrix.ServerName]claim)}
	defer d.wg.Wait()
	if err := s.begin(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	renew := time.NewTicker(renewed)
	defer renew.Stop()
	for {
		wait := lookEvery
		if err := d.start(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("look for what is to be sent to other servers", "error", err)
		} else if err == nil {
			wait = d.untilNext(ctx)
		}
		timer := time.NewTimer(wait)
		greetings := s.greetings
		if d.greeting == greetAtOnce || len(d.running) == parallel {
			greetings = nil
		}
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-news.C:
		case <-s.passing.wake:
		case c := <-d.ended:
			d.end(c)
		case server := <-greetings:
			if err := d.takeToGreet(ctx, server); err != nil && ctx.Err() == nil {
				s.log.Warn("greet another server", "server", server, "error", err)
			}
		case <-renew.C:
			if err := s.renew(ctx, d.servers()); err != nil && ctx.Err() == nil {
				s.log.Warn("keep the claims to send to other servers", "error", err)
			}
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// begin gives back what this node had taken when it ran last, and wakes what has waited since. No error is that the
// context ended.
func (s *Sender) begin(ctx context.Context) error {
	err := s.disclaim(ctx)
	if err == nil {
		err = s.db.Update(ctx, s.wakeOld)
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("look for what waits for other servers: %w", err)
	}
	return nil
}

// start takes servers for which something waits, as many as may run.
func (d *dispatcher) start(ctx context.Context) error {
	for len(d.ended) > 0 {
		d.end(<-d.ended)
	}
	free := parallel - len(d.running)
	if free <= 0 {
		return nil
	}
	d.passing.expire()
	claims, err := d.take(ctx, wanted{
		fresh: free, probes: min(free, probes-d.probing), named: d.passing.waiting(free, d.running),
	})
	for _, c := range claims {
		d.launch(ctx, c)
	}
	return err
}

// launch sends to a server that was taken, by a goroutine of its own.
func (d *dispatcher) launch(ctx context.Context, c claim) {
	d.running[c.server] = c
	if c.probing {
		d.probing++
	}
	if c.greeting {
		d.greeting++
	}
	d.wg.Go(func() {
		d.serve(ctx, c)
		d.ended <- c
	})
}

func (d *dispatcher) end(c claim) {
	delete(d.running, c.server)
	if c.probing {
		d.probing--
	}
	if c.greeting {
		d.greeting--
	}
}

func (d *dispatcher) servers() []matrix.ServerName {
	var all []matrix.ServerName
	for server := range d.running {
		all = append(all, server)
	}
	return all
}

// untilNext is how long to sleep when nothing wakes the dispatcher.
func (d *dispatcher) untilNext(ctx context.Context) time.Duration {
	if len(d.running) == parallel {
		return lookEvery
	}
	wait, err := d.nextDue(ctx)
	if err != nil {
		return lookEvery
	}
	return min(max(wait, 10*time.Millisecond), lookEvery)
}
