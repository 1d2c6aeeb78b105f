package httpapi

import "net/http"

// setCORS lets web clients of any origin read an answer.
//
// Spec: CS "Web Browser Clients".
func setCORS(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, PATCH, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "X-Requested-With, Content-Type, Authorization")
	h.Set("Access-Control-Expose-Headers", "Retry-After, X-Request-ID, X-RateLimit-Limiter")
}
