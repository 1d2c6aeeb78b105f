package syncapi

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	waiting = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "astrocyte_sync_waiters",
		Help: "Long polls and sockets that wait for news or read them.",
	})
	readSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "astrocyte_sync_read_seconds",
		Help:    "Time to read one answer, by kind: initial, news, or nothing new.",
		Buckets: prometheus.ExponentialBuckets(0.0002, 3, 10),
	}, []string{"kind"})
	answers = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "astrocyte_sync_answers_total",
		Help: "Answers of /sync, by what ended the waiting.",
	}, []string{"why"})
)
