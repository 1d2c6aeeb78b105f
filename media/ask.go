package media

import (
	"net/url"
	"strconv"
	"time"

	"astrocyte/matrix"
)

const (
	// defaultWait is how long somebody waits for a file that was announced, where they do not say.
	defaultWait = 20 * time.Second
	// maxSide bounds the sides of thumbnails that are asked for.
	maxSide = 100_000
)

// ParseWait reads how long somebody waits for a file that was announced.
//
// Spec: GET /_matrix/client/v1/media/download/{serverName}/{mediaId}, timeout_ms
func ParseWait(query url.Values) (time.Duration, error) {
	text := query.Get("timeout_ms")
	if text == "" {
		return defaultWait, nil
	}
	ms, err := strconv.ParseInt(text, 10, 32)
	if err != nil || ms < 0 {
		return 0, matrix.InvalidParam("timeout_ms is not a number of milliseconds")
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// ParseWanted reads which thumbnail is asked for.
//
// Spec: GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}
func ParseWanted(query url.Values) (w Wanted, err error) {
	for name, side := range map[string]*int{"width": &w.Width, "height": &w.Height} {
		if !query.Has(name) {
			return w, matrix.MissingParam("the parameter %s is missing", name)
		}
		*side, err = strconv.Atoi(query.Get(name))
		if err != nil || *side <= 0 || *side > maxSide {
			return w, matrix.InvalidParam("%s must be a number of pixels", name)
		}
	}
	switch query.Get("method") {
	case "", "scale":
	case "crop":
		w.Crop = true
	default:
		return w, matrix.InvalidParam("method must be crop or scale")
	}
	w.Animated = query.Get("animated") == "true"
	return w, nil
}
