package federation

import (
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"

	"astrocyte/httpapi"
	"astrocyte/matrix"
	"astrocyte/media"
)

func (a *API) mediaRoutes(r *httpapi.Router) {
	r.Handle("GET", "/_matrix/federation/v1/media/download/{mediaID}", httpapi.RawSigned(a.download))
	r.Handle("GET", "/_matrix/federation/v1/media/thumbnail/{mediaID}", httpapi.RawSigned(a.thumbnail))
}

// download gives a file of this server.
//
// Spec: GET /_matrix/federation/v1/media/download/{mediaId}
func (a *API) download(w http.ResponseWriter, r *http.Request, _ *httpapi.Caller) error {
	f, err := a.fileOf(r)
	if err != nil {
		return err
	}
	return a.writeFile(w, r, f)
}

// thumbnail gives a thumbnail of a file of this server.
//
// Spec: GET /_matrix/federation/v1/media/thumbnail/{mediaId}
func (a *API) thumbnail(w http.ResponseWriter, r *http.Request, _ *httpapi.Caller) error {
	wanted, err := media.ParseWanted(r.URL.Query())
	if err != nil {
		return err
	}
	f, err := a.fileOf(r)
	if err != nil {
		return err
	}
	if f, err = a.media.Thumbnail(r.Context(), f, wanted); err != nil {
		return err
	}
	return a.writeFile(w, r, f)
}

// fileOf finds the file that is asked for.
func (a *API) fileOf(r *http.Request) (*media.File, error) {
	id, err := media.ParseID(string(a.server), r.PathValue("mediaID"))
	if err != nil {
		return nil, matrix.NotFound("there is no such media")
	}
	wait, err := media.ParseWait(r.URL.Query())
	if err != nil {
		return nil, err
	}
	return a.media.Find(r.Context(), id, wait, false)
}

// writeFile answers with a file: an object that says nothing yet, and the bytes, or where the storage has them.
func (a *API) writeFile(w http.ResponseWriter, r *http.Request, f *media.File) error {
	link, err := a.media.Link(r.Context(), f)
	if err != nil {
		return err
	}
	var body io.Reader
	if link == "" {
		blob, err := a.media.Open(r.Context(), f)
		if err != nil {
			return err
		}
		defer blob.Close()
		body = blob
	}
	parts := multipart.NewWriter(httpapi.SteadyWriter(w))
	w.Header().Set("Content-Type", "multipart/mixed; boundary="+parts.Boundary())
	w.WriteHeader(http.StatusOK)
	return writeParts(parts, f, link, body)
}

func writeParts(parts *multipart.Writer, f *media.File, link string, body io.Reader) error {
	about, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/json"}})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(about, "{}"); err != nil {
		return err
	}
	header := textproto.MIMEHeader{}
	if link != "" {
		header.Set("Location", link)
	} else {
		header.Set("Content-Type", f.ContentType)
		header.Set("Content-Disposition", media.Disposition(f.ContentType, f.Name))
	}
	part, err := parts.CreatePart(header)
	if err != nil {
		return err
	}
	if body != nil {
		if _, err := io.Copy(part, body); err != nil {
			return err
		}
	}
	return parts.Close()
}
