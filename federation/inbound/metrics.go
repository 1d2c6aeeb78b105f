package inbound

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	taken = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "astrocyte_federation_taken_total",
		Help: "What was taken of other servers, by kind: transaction, pdu, edu.",
	}, []string{"kind"})
	refused = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "astrocyte_federation_refused_total",
		Help: "What was not taken of other servers: pdu, edu, room (too many events wait in it), line (too many transactions of a server).",
	}, []string{"what"})
	received = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "astrocyte_federation_received_total",
		Help: "What became of events of other servers: accepted, soft_failed, rejected, refused, pruned, given_up.",
	}, []string{"result"})
)
