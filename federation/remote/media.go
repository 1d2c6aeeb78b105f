package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"astrocyte/federation/peer"
	"astrocyte/matrix"
	"astrocyte/media"
)

const (
	// mediaTime bounds the fetching of a file, and waitForMedia is how long the other server may wait for one
	// that is not uploaded yet.
	mediaTime    = 5 * time.Minute
	waitForMedia = 20 * time.Second
	// maxAbout bounds what is said about a file before it.
	maxAbout     = 64 << 10
	maxRedirects = 5
)

// Media asks the server of a file for it. Servers that do not know the endpoint for it are asked at the old one.
//
// Spec: GET /_matrix/federation/v1/media/download/{mediaId}
func (r *Remote) Media(ctx context.Context, id media.ID) (*media.Fetched, error) {
	wait := url.Values{"timeout_ms": {strconv.FormatInt(waitForMedia.Milliseconds(), 10)}}
	answer, err := r.client.Stream(ctx, id.Origin, peer.Request{
		Method: "GET", Path: peer.Path("/_matrix/federation/v1/media/download", id.Media), Query: wait, Timeout: mediaTime,
	})
	if isUnrecognized(err) {
		return r.oldMedia(ctx, id, wait)
	}
	if err != nil {
		return nil, toldMedia(id, err)
	}
	f, err := r.readParts(ctx, answer)
	if err != nil {
		answer.Body.Close()
		r.log.Info("a file of another server cannot be read", "media", id.String(), "error", err)
		return nil, matrix.E(matrix.CodeUnknown, "the answer of %s makes no sense", id.Origin).WithStatus(http.StatusBadGateway)
	}
	return f, nil
}

// oldMedia asks for a file at the endpoint that takes no signature.
//
// Spec: GET /_matrix/media/v3/download/{serverName}/{mediaId}
func (r *Remote) oldMedia(ctx context.Context, id media.ID, query url.Values) (*media.Fetched, error) {
	query.Set("allow_remote", "false")
	answer, err := r.client.Stream(ctx, id.Origin, peer.Request{
		Method: "GET", Path: peer.Path("/_matrix/media/v3/download", string(id.Origin), id.Media), Query: query,
		Timeout: mediaTime, Unsigned: true,
	})
	if err != nil {
		return nil, toldMedia(id, err)
	}
	return fetched(http.Header(answer.Header), answer.Body), nil
}

// isUnrecognized says whether a server does not know an endpoint: it says so, or it does not speak the protocol
// there.
func isUnrecognized(err error) bool {
	var refused *peer.Refused
	if !errors.As(err, &refused) || refused.Status < 400 || refused.Status >= 500 {
		return false
	}
	return refused.Fault.Code == matrix.CodeUnrecognized || refused.Unreadable
}

// toldMedia makes of what went wrong what a user is told.
func toldMedia(id media.ID, err error) error {
	var refused *peer.Refused
	if errors.As(err, &refused) {
		switch {
		case refused.Status == http.StatusNotFound:
			return matrix.NotFound("%s has no such media", id.Origin)
		case refused.Fault.Code == matrix.CodeNotYetUploaded:
			return matrix.E(matrix.CodeNotYetUploaded, "this media has not been uploaded yet")
		case refused.Fault.Code == matrix.CodeTooLarge:
			return matrix.E(matrix.CodeTooLarge, "%s does not give this file, since it is too large", id.Origin).WithStatus(http.StatusBadGateway)
		}
	}
	return toldUser(id.Origin, err)
}

// readParts reads the answer up to the file.
func (r *Remote) readParts(ctx context.Context, answer *peer.Answer) (*media.Fetched, error) {
	kind, params, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" || params["boundary"] == "" {
		return nil, fmt.Errorf("the answer is %q", answer.Header.Get("Content-Type"))
	}
	parts := multipart.NewReader(answer.Body, params["boundary"])
	about, err := parts.NextRawPart()
	if err != nil {
		return nil, fmt.Errorf("the first part: %w", err)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(about, maxAbout+1)); err != nil || n > maxAbout {
		return nil, fmt.Errorf("the first part has %d bytes or more: %w", n, err)
	}
	file, err := parts.NextRawPart()
	if err != nil {
		return nil, fmt.Errorf("the second part: %w", err)
	}
	if location := file.Header.Get("Location"); location != "" {
		answer.Body.Close()
		return r.redirected(ctx, location)
	}
	return fetched(http.Header(file.Header), &partBody{file, answer.Body}), nil
}

// partBody is a part of an answer; closing it ends the answer.
type partBody struct {
	io.Reader
	io.Closer
}

func fetched(h http.Header, body io.ReadCloser) *media.Fetched {
	f := &media.Fetched{Body: body, ContentType: h.Get("Content-Type"), Size: -1}
	if n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		f.Size = n
	}
	if _, params, err := mime.ParseMediaType(h.Get("Content-Disposition")); err == nil {
		f.Name = params["filename"]
	}
	return f
}

// redirected fetches a file from where the other server says that its storage has it. It is asked like any
// address on the internet: without a signature.
func (r *Remote) redirected(ctx context.Context, location string) (*media.Fetched, error) {
	u, err := url.Parse(location)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, errors.New("it redirects to what is no HTTPS address")
	}
	ctx, cancel := context.WithTimeout(ctx, mediaTime)
	resp, err := r.get(ctx, u.String())
	if err != nil {
		cancel()
		return nil, err
	}
	return fetched(resp.Header, &closers{resp.Body, cancel}), nil
}

func (r *Remote) get(ctx context.Context, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := r.web.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("the storage answers %d", resp.StatusCode)
	}
	return resp, nil
}

// closers is a body whose time ends when it is closed.
type closers struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close ends the reading.
func (c *closers) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// webClient fetches from anywhere that the egress policy allows.
func webClient(o Options) *http.Client {
	t := o.Egress.Transport()
	t.TLSClientConfig = &tls.Config{RootCAs: o.CAs, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: t, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if req.URL.Scheme != "https" || len(via) > maxRedirects {
			return errors.New("a redirect that is not followed")
		}
		return nil
	}}
}
