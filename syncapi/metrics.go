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

var (
	socketsOpen = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "astrocyte_sync_sockets",
		Help: "Open WebSockets.",
	})
	socketEnds = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "astrocyte_sync_socket_ends_total",
		Help: "WebSockets that ended, by why.",
	}, []string{"why"})
	socketBytes = promauto.NewCounter(prometheus.CounterOpts{
		Name: "astrocyte_sync_socket_sent_bytes_total",
		Help: "Bytes of the frames sent over WebSockets.",
	})
	deltas = promauto.NewCounter(prometheus.CounterOpts{
		Name: "astrocyte_sync_socket_deltas_total",
		Help: "Sync deltas pushed over WebSockets.",
	})
	framesRead = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "astrocyte_sync_socket_frames_total",
		Help: "Frames received over WebSockets, by type.",
	}, []string{"type"})
)

// closeName is a close code as a label.
func closeName(code int) string {
	names := map[int]string{
		closeBadFrame: "bad_frame", closeRefused: "refused", closeNoAuth: "no_auth", closeReplaced: "replaced",
		closeSlow: "slow", closeSilent: "silent", closeFlood: "flood", closeInternal: "internal", closeRestart: "restart", closeNormal: "left",
	}
	return names[code]
}

// frameName is a frame's type as a label: there are no others than these.
func frameName(tp string) string {
	switch tp {
	case "ack", "ping", "pong", "send", "typing", "receipt", "range", "view":
		return tp
	}
	return "other"
}
