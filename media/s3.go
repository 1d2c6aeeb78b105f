package media

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"astrocyte/config"
)

// bucket keeps files in a bucket of an S3-compatible storage.
type bucket struct {
	client *minio.Client
	name   string
	prefix string
}

// partSize is how much of a large file is sent, and held in memory, at once.
const partSize = 16 << 20

func newBucket(c config.S3) (*bucket, error) {
	endpoint, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("the endpoint of the S3 storage: %w", err)
	}
	style := minio.BucketLookupAuto
	if c.PathStyle {
		style = minio.BucketLookupPath
	}
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds: credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""), Secure: endpoint.Scheme == "https",
		Region: c.Region, BucketLookup: style,
	})
	if err != nil {
		return nil, fmt.Errorf("the S3 storage: %w", err)
	}
	prefix := strings.Trim(c.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	return &bucket{client: client, name: c.Bucket, prefix: prefix}, nil
}

func (b *bucket) key(h Hash) string { return b.prefix + h.key() }

// Put sends a file; large ones in parts, so that one that breaks is sent again alone.
func (b *bucket) Put(ctx context.Context, h Hash, file string) error {
	_, err := b.client.FPutObject(ctx, b.name, b.key(h), file, minio.PutObjectOptions{
		ContentType: "application/octet-stream", PartSize: partSize, NumThreads: 2,
	})
	if err != nil {
		return fmt.Errorf("send a file to the S3 storage: %w", err)
	}
	return nil
}

// Open begins to read a file. It is asked for by ranges, so that seeking does not read what lies between.
func (b *bucket) Open(ctx context.Context, h Hash) (Blob, error) {
	o, err := b.client.GetObject(ctx, b.name, b.key(h), minio.GetObjectOptions{})
	if err != nil {
		return nil, fmt.Errorf("read from the S3 storage: %w", err)
	}
	if _, err := o.Stat(); err != nil {
		o.Close()
		if isMissing(err) {
			return nil, ErrNoBlob
		}
		return nil, fmt.Errorf("read from the S3 storage: %w", err)
	}
	return o, nil
}

func isMissing(err error) bool {
	var answer minio.ErrorResponse
	return errors.As(err, &answer) && (answer.Code == "NoSuchKey" || answer.StatusCode == http.StatusNotFound)
}

// Delete removes a file.
func (b *bucket) Delete(ctx context.Context, h Hash) error {
	err := b.client.RemoveObject(ctx, b.name, b.key(h), minio.RemoveObjectOptions{})
	if err != nil && !isMissing(err) {
		return fmt.Errorf("delete from the S3 storage: %w", err)
	}
	return nil
}

// Link gives a signed URL.
func (b *bucket) Link(ctx context.Context, h Hash, as Served, lasts time.Duration) (string, error) {
	query := url.Values{}
	query.Set("response-content-type", as.ContentType)
	query.Set("response-content-disposition", as.Disposition)
	query.Set("response-cache-control", cacheControl)
	u, err := b.client.PresignedGetObject(ctx, b.name, b.key(h), lasts, query)
	if err != nil {
		return "", fmt.Errorf("sign a URL of the S3 storage: %w", err)
	}
	return u.String(), nil
}

// Check asks for the bucket.
func (b *bucket) Check(ctx context.Context) error {
	there, err := b.client.BucketExists(ctx, b.name)
	if err != nil {
		return fmt.Errorf("ask the S3 storage for its bucket %s: %w", b.name, err)
	}
	if !there {
		return fmt.Errorf("the S3 storage has no bucket %s", b.name)
	}
	return nil
}
