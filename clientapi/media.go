package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/media"
)

func (a *API) mediaRoutes(r *httpapi.Router) {
	const authed = "/_matrix/client/v1/media"
	get := func(path string, h httpapi.Handler, class string) {
		r.Handle("GET", path, h, httpapi.Limit(class), httpapi.GuestsToo())
	}
	get(authed+"/download/{serverName}/{mediaID}", httpapi.Raw(a.download), "download")
	get(authed+"/download/{serverName}/{mediaID}/{fileName}", httpapi.Raw(a.download), "download")
	get(authed+"/thumbnail/{serverName}/{mediaID}", httpapi.Raw(a.thumbnail), "download")
	get(authed+"/config", httpapi.Authed(a.mediaConfig), "download")
	get(authed+"/preview_url", httpapi.Authed(a.previewURL), "preview")

	r.Handle("POST", "/_matrix/media/v1/create", httpapi.Authed(a.createMedia), httpapi.Limit("upload"), httpapi.NotSuspended())
	bound := httpapi.BodyLimit(a.media.MaxUpload())
	for _, version := range []string{"v3", "r0", "v1"} {
		old := "/_matrix/media/" + version
		r.Handle("POST", old+"/upload", httpapi.Raw(a.upload), httpapi.Limit("upload"), bound, httpapi.NotSuspended())
		r.Handle("PUT", old+"/upload/{serverName}/{mediaID}", httpapi.Raw(a.uploadTo), httpapi.Limit("upload"), bound, httpapi.NotSuspended())
		get(old+"/config", httpapi.Authed(a.mediaConfig), "download")
		get(old+"/preview_url", httpapi.Authed(a.previewURL), "preview")
		get(old+"/download/{serverName}/{mediaID}", httpapi.RawOpen(a.legacyDownload), "download")
		get(old+"/download/{serverName}/{mediaID}/{fileName}", httpapi.RawOpen(a.legacyDownload), "download")
		get(old+"/thumbnail/{serverName}/{mediaID}", httpapi.RawOpen(a.legacyThumbnail), "download")
	}
}

type uploadResponse struct {
	ContentURI string `json:"content_uri"`
}

// upload takes a file.
//
// Spec: POST /_matrix/media/v3/upload
func (a *API) upload(w http.ResponseWriter, r *http.Request, c *httpapi.Caller) error {
	id, err := a.media.Store(r.Context(), uploadOf(w, r, c))
	if err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, uploadResponse{ContentURI: id.String()})
}

// uploadTo takes the file of a URI that was announced.
//
// Spec: PUT /_matrix/media/v3/upload/{serverName}/{mediaId}
func (a *API) uploadTo(w http.ResponseWriter, r *http.Request, c *httpapi.Caller) error {
	id, err := mediaID(r)
	if err != nil {
		return err
	}
	if err := a.media.Fill(r.Context(), id, uploadOf(w, r, c)); err != nil {
		return err
	}
	return httpapi.WriteJSON(w, r, http.StatusOK, struct{}{})
}

func mediaID(r *http.Request) (media.ID, error) {
	return media.ParseID(r.PathValue("serverName"), r.PathValue("mediaID"))
}

func uploadOf(w http.ResponseWriter, r *http.Request, c *httpapi.Caller) media.Upload {
	return media.Upload{
		User: c.User, Name: r.URL.Query().Get("filename"), ContentType: r.Header.Get("Content-Type"),
		Body: httpapi.SteadyBody(w, r), Size: r.ContentLength,
	}
}

type createMediaResponse struct {
	ContentURI      string `json:"content_uri"`
	UnusedExpiresAt int64  `json:"unused_expires_at"`
}

// createMedia announces an upload.
//
// Spec: POST /_matrix/media/v1/create
func (a *API) createMedia(ctx context.Context, c *httpapi.Caller, _ *none) (*createMediaResponse, error) {
	id, expires, err := a.media.Create(ctx, c.User)
	if err != nil {
		return nil, err
	}
	return &createMediaResponse{ContentURI: id.String(), UnusedExpiresAt: expires.UnixMilli()}, nil
}

type mediaConfigResponse struct {
	UploadSize int64 `json:"m.upload.size"`
}

// mediaConfig tells what may be uploaded.
//
// Spec: GET /_matrix/client/v1/media/config
func (a *API) mediaConfig(context.Context, *httpapi.Caller, *none) (*mediaConfigResponse, error) {
	return &mediaConfigResponse{UploadSize: a.media.MaxUpload()}, nil
}

type previewURLRequest struct {
	URL string `query:"url" required:"true"`
}

// previewURL tells what is behind a link.
//
// Spec: GET /_matrix/client/v1/media/preview_url
func (a *API) previewURL(ctx context.Context, _ *httpapi.Caller, q *previewURLRequest) (*json.RawMessage, error) {
	seen, err := a.media.Preview(ctx, q.URL)
	return &seen, err
}

// download gives a file.
//
// Spec: GET /_matrix/client/v1/media/download/{serverName}/{mediaId}
func (a *API) download(w http.ResponseWriter, r *http.Request, _ *httpapi.Caller) error {
	return a.serveFile(w, r, false, false)
}

// legacyDownload gives a file without a login, if it was uploaded while that was allowed.
//
// Spec: GET /_matrix/media/v3/download/{serverName}/{mediaId}
func (a *API) legacyDownload(w http.ResponseWriter, r *http.Request, _ *httpapi.Caller) error {
	return a.serveFile(w, r, true, false)
}

// thumbnail gives a thumbnail of a file.
//
// Spec: GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}
func (a *API) thumbnail(w http.ResponseWriter, r *http.Request, _ *httpapi.Caller) error {
	return a.serveFile(w, r, false, true)
}

// legacyThumbnail gives a thumbnail without a login, if its file was uploaded while that was allowed.
//
// Spec: GET /_matrix/media/v3/thumbnail/{serverName}/{mediaId}
func (a *API) legacyThumbnail(w http.ResponseWriter, r *http.Request, _ *httpapi.Caller) error {
	return a.serveFile(w, r, true, true)
}

// serveFile finds a file, or its thumbnail, and answers with it, or with where its storage has it.
func (a *API) serveFile(w http.ResponseWriter, r *http.Request, legacy, thumbnail bool) error {
	q, err := fileQueryOf(r)
	if err != nil {
		return err
	}
	var wanted media.Wanted
	if thumbnail {
		if wanted, err = media.ParseWanted(r.URL.Query()); err != nil {
			return err
		}
	}
	f, err := a.media.Find(r.Context(), q.id, q.wait, !legacy || q.remote)
	if err != nil {
		return err
	}
	if legacy && !f.Public {
		return matrix.NotFound("this media is only for those who are logged in")
	}
	if thumbnail {
		if f, err = a.media.Thumbnail(r.Context(), f, wanted); err != nil {
			return err
		}
	} else if name := r.PathValue("fileName"); name != "" {
		f.Name = media.CleanName(name)
	}
	if q.redirect {
		link, err := a.media.Link(r.Context(), f)
		if err != nil {
			return err
		}
		if link != "" {
			w.Header().Set("Cache-Control", "no-store")
			http.Redirect(w, r, link, http.StatusTemporaryRedirect)
			return nil
		}
	}
	return a.writeFile(w, r, f)
}

// writeFile streams a file: whole, in ranges, or not at all where the client has it.
func (a *API) writeFile(w http.ResponseWriter, r *http.Request, f *media.File) error {
	blob, err := a.media.Open(r.Context(), f)
	if err != nil {
		return err
	}
	defer blob.Close()
	h := w.Header()
	media.SafeHeaders(h)
	h.Set("Content-Type", f.ContentType)
	h.Set("Content-Disposition", media.Disposition(f.ContentType, f.Name))
	h.Set("ETag", `"`+f.Hash.String()+`"`)
	http.ServeContent(httpapi.SteadyWriter(w), r, "", time.UnixMilli(f.Created), blob)
	return nil
}

// fileQuery is what a client says of a file that it asks for.
type fileQuery struct {
	id       media.ID
	wait     time.Duration
	remote   bool
	redirect bool
}

func fileQueryOf(r *http.Request) (q fileQuery, err error) {
	if q.id, err = mediaID(r); err != nil {
		return q, matrix.NotFound("there is no such media")
	}
	values := r.URL.Query()
	if q.wait, err = media.ParseWait(values); err != nil {
		return q, err
	}
	q.remote = values.Get("allow_remote") != "false"
	q.redirect = values.Get("allow_redirect") == "true"
	return q, nil
}
