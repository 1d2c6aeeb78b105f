package media

import (
	"bytes"
	"mime"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// octets is the type of what has none, or a wrong one.
const octets = "application/octet-stream"

// inline are the types that a browser may show by itself: none of them is active.
//
// Spec: CS "Serving inline content".
var inline = map[string]bool{
	"text/css": true, "text/plain": true, "text/csv": true, "application/json": true, "application/ld+json": true,
	"image/jpeg": true, "image/gif": true, "image/png": true, "image/apng": true, "image/webp": true, "image/avif": true,
	"video/mp4": true, "video/webm": true, "video/ogg": true, "video/quicktime": true,
	"audio/mp4": true, "audio/webm": true, "audio/aac": true, "audio/mpeg": true, "audio/ogg": true, "audio/wave": true, "audio/wav": true,
	"audio/x-wav": true, "audio/x-pn-wav": true, "audio/flac": true, "audio/x-flac": true,
}

// maxContentType bounds content types, in bytes.
const maxContentType = 200

// contentType makes the type of a file from what its sender says and how it begins.
//
// Spec: GET /_matrix/client/v1/media/download/{serverName}/{mediaId}, on reasonable types.
func contentType(said string, head []byte) string {
	if len(said) > maxContentType {
		return octets
	}
	kind, params, err := mime.ParseMediaType(said)
	if err != nil || !strings.Contains(kind, "/") {
		return octets
	}
	if lies(kind, head) {
		return octets
	}
	if clean := mime.FormatMediaType(kind, params); clean != "" && len(clean) <= maxContentType {
		return clean
	}
	return kind
}

// lies says that a file that is said to be an image for browsers is not one: an encrypted file, or a page.
func lies(kind string, head []byte) bool {
	switch kind {
	case "image/jpeg", "image/gif", "image/png", "image/apng", "image/webp":
		return imageType(head) != strings.Replace(kind, "apng", "png", 1)
	}
	return false
}

// imageType tells the decoder of an image by its first bytes, and is empty for everything else.
func imageType(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("\x89PNG\r\n\x1a\n")):
		return "image/png"
	case bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		return "image/jpeg"
	case bytes.HasPrefix(head, []byte("GIF87a")), bytes.HasPrefix(head, []byte("GIF89a")):
		return "image/gif"
	case len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WEBP":
		return "image/webp"
	}
	return ""
}

// Disposition is how a file is given: shown only where its type cannot be active, and otherwise saved.
//
// Spec: CS "Serving inline content".
func Disposition(contentType, name string) string {
	kind, _, err := mime.ParseMediaType(contentType)
	how := "attachment"
	if err == nil && inline[kind] {
		how = "inline"
	}
	if name == "" {
		return how
	}
	if text := mime.FormatMediaType(how, map[string]string{"filename": name}); text != "" {
		return text
	}
	return how
}

// maxName bounds file names, in bytes.
const maxName = 255

// cleanName makes a name that is harmless wherever it is saved or shown: without folders, control characters
// and marks that turn the direction of text.
func cleanName(name string) string {
	name = strings.ToValidUTF8(name, "")
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) || c == '\u2028' || c == '\u2029' {
			return -1
		}
		return c
	}, name)
	name = strings.TrimSpace(name)
	if strings.Trim(name, ". ") == "" {
		return ""
	}
	for len(name) > maxName {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return name
}

// CleanName is the name under which a file is given to who asks for it by another.
func CleanName(name string) string { return cleanName(name) }

// cacheControl lets clients keep a file: what a URI stands for never changes. Shared caches may not, since
// they cannot know who may see it.
const cacheControl = "private, max-age=86400, immutable"

// SafeHeaders sets what keeps a browser from doing anything with a file but showing or saving it.
//
// Spec: CS "Security considerations" of the content repository.
func SafeHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; "+
		"style-src 'unsafe-inline'; object-src 'self'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex, nofollow, noarchive, noimageindex")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", cacheControl)
}
