package peer

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	requestsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "astrocyte_peer_requests_total",
		Help: "Requests to other servers by result: answered, refused, unreachable.",
	}, []string{"result"})

	keyFetches = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "astrocyte_peer_key_fetches_total",
		Help: "Fetches of servers' keys by way and result: direct or notary, got or failed.",
	}, []string{"way", "result"})
)
