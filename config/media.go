package config

import (
	"net/url"
	"strings"
	"time"
)

// Media says how files are taken, kept and given.
type Media struct {
	// The largest file that people may upload.
	MaxUpload Size `yaml:"max_upload"`
	// The largest file that is fetched from other servers.
	MaxRemote Size `yaml:"max_remote"`
	// Whether files can be had without a login, at the endpoints that the specification has frozen. It is
	// remembered with each file at its upload, so that switching it off closes only what comes later.
	UnauthenticatedDownloads bool `yaml:"unauthenticated_downloads"`
	// Files of other servers are deleted when nobody has asked for them for so long, and fetched again when
	// somebody does. 0s is never.
	RemoteRetention Duration `yaml:"remote_retention"`
	// Where new files are kept: disk or s3. Files stay where they are until "astrocyte media move".
	Storage string `yaml:"storage"`
	// The folder of files on disk. Empty is the folder media of the data folder.
	Folder string `yaml:"folder"`
	// An S3-compatible storage.
	S3 S3 `yaml:"s3"`
	// How much may be uploaded.
	Quotas MediaQuotas `yaml:"quotas"`
	// How thumbnails are made.
	Thumbnails Thumbnails `yaml:"thumbnails"`
	// Previews of links in messages.
	Previews Previews `yaml:"previews"`
}

// S3 is an S3-compatible storage.
type S3 struct {
	// Such as https://s3.eu-central-1.amazonaws.com. Empty: there is none.
	Endpoint string `yaml:"endpoint"`
	Region   string `yaml:"region"`
	Bucket   string `yaml:"bucket"`
	// What the names of all objects begin with.
	Prefix    string `yaml:"prefix"`
	AccessKey string `yaml:"access_key"`
	SecretKey string `yaml:"secret_key"`
	// Whether the bucket stands in the path of URLs and not in the host.
	PathStyle bool `yaml:"path_style"`
	// Whether clients that can do it are sent to the storage, by URLs that it answers for five minutes.
	Redirect bool `yaml:"redirect"`
}

// On says whether there is such a storage.
func (s S3) On() bool { return s.Endpoint != "" }

// MediaQuotas say how much may be uploaded. 0 is no limit.
type MediaQuotas struct {
	// How many files a user may have.
	UserFiles int64 `yaml:"user_files"`
	// How much a user may have in all.
	UserTotal Size `yaml:"user_total"`
	// How much a user may upload in a day, from midnight to midnight UTC.
	UserPerDay Size `yaml:"user_per_day"`
	// How much all files of this server may take up, with those of other servers and thumbnails.
	ServerTotal Size `yaml:"server_total"`
	// How many uploads a user may have announced and not done.
	Pending int `yaml:"pending"`
}

// Thumbnails say how thumbnails are made.
type Thumbnails struct {
	// The most pixels of an image, and of all frames of an animation together.
	MaxPixels int64 `yaml:"max_pixels"`
	// The most frames of an animation; one with more gets a still thumbnail.
	MaxFrames int `yaml:"max_frames"`
	// How many images are decoded at the same time.
	Workers int `yaml:"workers"`
	// How much memory decoded images may take up together.
	Memory Size `yaml:"memory"`
}

// Previews say how previews of links are made.
type Previews struct {
	// Whether they are made. This server then fetches what people link to.
	Enabled bool `yaml:"enabled"`
	// Ranges of addresses that may be fetched from although they are private.
	Allow []Prefix `yaml:"allow"`
	// Ranges of addresses that are never fetched from.
	Deny []Prefix `yaml:"deny"`
	// Hosts that are never fetched from; *.example.org is everything below example.org.
	DenyHosts []string `yaml:"deny_hosts"`
	// How much of a page is read at most, and how large its image may be.
	MaxPage  Size `yaml:"max_page"`
	MaxImage Size `yaml:"max_image"`
	// How long fetching may take in all.
	Timeout Duration `yaml:"timeout"`
	// How long a preview is kept, and how long its image.
	Cache      Duration `yaml:"cache"`
	ImageCache Duration `yaml:"image_cache"`
	// The language that pages are asked for, as in Accept-Language. Empty is none.
	Language string `yaml:"language"`
}

func defaultMedia() Media {
	return Media{
		MaxUpload: 100 << 20, MaxRemote: 100 << 20, Storage: "disk",
		S3:         S3{Region: "us-east-1"},
		Quotas:     MediaQuotas{Pending: 20},
		Thumbnails: Thumbnails{MaxPixels: 64_000_000, MaxFrames: 500, Workers: 2, Memory: 512 << 20},
		Previews: Previews{
			MaxPage: 1 << 20, MaxImage: 10 << 20, Timeout: Duration(20 * time.Second),
			Cache: Duration(time.Hour), ImageCache: Duration(30 * 24 * time.Hour),
		},
	}
}

func (m *Media) check(r *reader) {
	oneOf(r, "media.storage", m.Storage, "disk", "s3")
	if m.MaxUpload < 1 {
		r.fault("media.max_upload", "must be 1 at least")
	}
	if m.Storage == "s3" && !m.S3.On() {
		r.fault("media.s3.endpoint", "must be given where storage is s3")
	}
	if m.S3.On() {
		m.S3.check(r)
	}
	positive := func(key string, n, low int64) {
		if n < low {
			r.fault("media."+key, "must be %d at least", low)
		}
	}
	positive("quotas.user_files", m.Quotas.UserFiles, 0)
	positive("quotas.pending", int64(m.Quotas.Pending), 1)
	positive("thumbnails.max_pixels", m.Thumbnails.MaxPixels, 1)
	positive("thumbnails.max_frames", int64(m.Thumbnails.MaxFrames), 1)
	positive("thumbnails.workers", int64(m.Thumbnails.Workers), 1)
	if m.Thumbnails.Memory < 16<<20 {
		r.fault("media.thumbnails.memory", "must be 16M at least")
	}
	if m.Previews.Timeout < Duration(time.Second) {
		r.fault("media.previews.timeout", "must be 1s at least")
	}
	if m.Previews.MaxPage < 1<<10 {
		r.fault("media.previews.max_page", "must be 1K at least")
	}
}

func (s *S3) check(r *reader) {
	u, err := url.Parse(s.Endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		r.fault("media.s3.endpoint", "%q is not an address such as https://s3.example.org", s.Endpoint)
	}
	for key, value := range map[string]string{"bucket": s.Bucket, "access_key": s.AccessKey, "secret_key": s.SecretKey} {
		if value == "" {
			r.fault("media.s3."+key, "must be given")
		}
	}
}
