package httpapi

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	requestsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "astrocyte_http_requests_total",
		Help: "Requests by method, route and status.",
	}, []string{"method", "route", "status"})

	parked = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "astrocyte_http_parked_connections",
		Help: "Connections that wait without a goroutine: for an answer, or for their next request.",
	})

	requestSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "astrocyte_http_request_seconds",
		Help:    "Time to answer by route; long polls count their waiting.",
		Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 30},
	}, []string{"route"})
)
