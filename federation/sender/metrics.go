package sender

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"astrocyte/federation/peer"
	"astrocyte/store"
)

var (
	transactions = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "astrocyte_federation_sent_transactions_total",
		Help: "Transactions sent to other servers by result: taken, rejected, refused, unreachable; dropped counts what was given up.",
	}, []string{"result"})
	sent = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "astrocyte_federation_sent_total",
		Help: "What other servers have taken, by kind: pdu, edu; pdu_refused are those of which they said that they do not.",
	}, []string{"kind"})
	passed = promauto.NewCounter(prometheus.CounterOpts{
		Name: "astrocyte_federation_passed_total",
		Help: "Typing, receipts and presence that were dropped as a server was not reached in time, or too many waited.",
	})
	sendSeconds = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "astrocyte_federation_send_seconds",
		Help:    "How long other servers took to take a transaction.",
		Buckets: prometheus.ExponentialBuckets(0.005, 2, 14),
	})
	backlog = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "astrocyte_federation_destinations",
		Help: "Other servers by state: waiting for something, failing.",
	}, []string{"state"})
	lag = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "astrocyte_federation_destination_lag_seconds",
		Help: "For how long events wait for the servers that are furthest behind.",
	}, []string{"server"})
)

func outcome(err error) string {
	var refused *peer.Refused
	switch {
	case err == nil:
		return "taken"
	case rejects(err):
		return "rejected"
	case errors.As(err, &refused):
		return "refused"
	}
	return "unreachable"
}

const (
	observeEvery = 15 * time.Second
	// observed is how many servers have a lag of their own among the metrics.
	observed = 20
)

// observe keeps the metrics of what waits.
func (s *Sender) observe(ctx context.Context) error {
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.count(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("count what waits for other servers", "error", err)
		}
	}
}

func (s *Sender) count(ctx context.Context) error {
	return s.db.View(ctx, func(tx *store.Tx) error {
		waiting, failing, err := countDestinations(tx)
		if err != nil {
			return err
		}
		backlog.WithLabelValues("waiting").Set(float64(waiting))
		backlog.WithLabelValues("failing").Set(float64(failing))
		behind, err := furthestBehind(tx, observed)
		if err != nil {
			return err
		}
		lag.Reset()
		for server, since := range behind {
			lag.WithLabelValues(string(server)).Set(s.now().Sub(time.UnixMilli(since)).Seconds())
		}
		return nil
	})
}
