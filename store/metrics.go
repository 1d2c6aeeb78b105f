package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	updateSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "astrocyte_store_update_seconds",
		Help:    "From the call of a committed Update to its end, waiting and retries included.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 18),
	}, []string{"engine"})
	commitSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "astrocyte_store_commit_seconds",
		Help:    "How long the COMMIT of a transaction took.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 18),
	}, []string{"engine"})
	gathered = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "astrocyte_store_gathered_updates",
		Help:    "How many Updates shared one SQLite transaction.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 9),
	})
	retries = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "astrocyte_store_retries_total",
		Help: "Transactions that were tried again, after serialization failures, deadlocks and lost connections.",
	}, []string{"engine"})
)
