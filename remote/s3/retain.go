package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"cairn/remote"
)

// wholeSecond rounds a lock up to what the protocol can say.
func wholeSecond(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); whole.Before(t) {
		return whole.Add(time.Second).UTC()
	}
	return t.UTC()
}

func wireMode(m remote.Mode) minio.RetentionMode {
	return minio.RetentionMode(strings.ToUpper(string(m)))
}

// PutRetained stores a locked object with one PUT. Amazon asks for an MD5 with a lock, and of all checksums it is the one that every server
// knows.
func (s *Store) PutRetained(ctx context.Context, name string, data []byte, lock remote.Retention) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	if _, err := remote.ParseMode(string(lock.Mode)); err != nil {
		return remote.Permanent(err)
	}
	sum := sha256.Sum256(data)
	opts := minio.PutObjectOptions{DisableContentSha256: true, StorageClass: s.class(name), Mode: wireMode(lock.Mode), RetainUntilDate: wholeSecond(lock.Until)}
	core := minio.Core{Client: s.client}
	return s.do(ctx, opPutLocked, name, func(r *request) error {
		_, err := core.PutObject(r.ctx, s.o.Bucket, s.prefix+name, bytes.NewReader(data), int64(len(data)),
			md5Base64(data), hex.EncodeToString(sum[:]), opts)
		return err
	})
}

func md5Base64(data []byte) string {
	sum := md5.Sum(data)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Retain locks the current version of an object, or makes its lock longer.
func (s *Store) Retain(ctx context.Context, name string, lock remote.Retention) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	if _, err := remote.ParseMode(string(lock.Mode)); err != nil {
		return remote.Permanent(err)
	}
	mode, until := wireMode(lock.Mode), wholeSecond(lock.Until)
	err := s.do(ctx, opLock, name, func(r *request) error {
		return s.client.PutObjectRetention(r.ctx, s.o.Bucket, s.prefix+name, minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until})
	})
	return s.hidden(name, err)
}

// Retention asks for the lock of the current version of an object.
func (s *Store) Retention(ctx context.Context, name string) (remote.Retention, error) {
	if err := check(ctx, name); err != nil {
		return remote.Retention{}, err
	}
	lock, err := s.retention(ctx, name, "")
	return lock, s.hidden(name, err)
}

func (s *Store) retention(ctx context.Context, name, version string) (lock remote.Retention, err error) {
	err = s.do(ctx, opLockOf, name, func(r *request) error {
		mode, until, err := s.client.GetObjectRetention(r.ctx, s.o.Bucket, s.prefix+name, version)
		if err == nil && mode != nil && until != nil {
			lock = remote.Retention{Mode: remote.Mode(strings.ToLower(string(*mode))), Until: *until}
		}
		if err != nil && r.status == http.StatusOK { // versitygw answers with another XML element
			lock, err = s.headLock(r, name, version)
		}
		return err
	})
	var e *Error
	if errors.As(err, &e) {
		switch e.Code {
		case "NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError":
			return remote.Retention{}, nil // the object has none
		case "InvalidRequest", "InvalidBucketState":
			return remote.Retention{}, nil // nothing in this bucket has one
		}
	}
	return lock, err
}

// headLock reads the lock from the headers of an object. Where keys may not see locks they are missing, so this is the second choice.
func (s *Store) headLock(r *request, name, version string) (lock remote.Retention, err error) {
	st, err := s.client.StatObject(r.ctx, s.o.Bucket, s.prefix+name, minio.StatObjectOptions{VersionID: version})
	if err != nil {
		return lock, err
	}
	mode, until := st.Metadata.Get("X-Amz-Object-Lock-Mode"), st.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date")
	if mode == "" || until == "" {
		return lock, nil
	}
	lock.Mode = remote.Mode(strings.ToLower(mode))
	lock.Until, err = time.Parse(time.RFC3339, until)
	return lock, err
}

// hidden makes the answer about a delete marker what it means.
func (s *Store) hidden(name string, err error) error {
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusMethodNotAllowed {
		return fmt.Errorf("%s/%s: %w", s, name, remote.ErrNotExist)
	}
	return err
}

// Protection asks how the bucket is set up.
func (s *Store) Protection(ctx context.Context) (remote.Protection, error) {
	var p remote.Protection
	status, err := s.versioning(ctx)
	switch {
	case err == nil && status == "":
		p.Versions = remote.No
	case err == nil:
		p.Versions = remote.Yes
		if status != minio.Enabled {
			p.Doubts = append(p.Doubts, "versioning is suspended: what is replaced from now on is lost")
		}
	default:
		if p.Versions, err = doubt(&p, err, "versioning", "s3:GetBucketVersioning"); err != nil {
			return p, err
		}
	}
	err = s.do(ctx, opLockConfig, "", func(r *request) error { return s.lockConfig(r.ctx, &p) })
	var e *Error
	if errors.As(err, &e) && e.Code == "ObjectLockConfigurationNotFoundError" {
		p.Locks, err = remote.No, nil
	}
	if err != nil {
		p.Locks, err = doubt(&p, err, "object lock", "s3:GetBucketObjectLockConfiguration")
	}
	return p, err
}

func (s *Store) lockConfig(ctx context.Context, p *remote.Protection) error {
	enabled, mode, validity, unit, err := s.client.GetObjectLockConfig(ctx, s.o.Bucket)
	if err != nil {
		return err
	}
	if p.Locks = remote.No; enabled == "Enabled" {
		p.Locks = remote.Yes
	}
	if mode != nil && validity != nil && unit != nil && *validity <= maxYears*365 {
		days := *validity
		if *unit == minio.Years {
			days *= 365
		}
		p.Default, p.Mode = time.Duration(days)*24*time.Hour, remote.Mode(strings.ToLower(string(*mode)))
	}
	return nil
}

// maxYears is the longest lock that S3 gives.
const maxYears = 100

// doubt makes the answer of a server that does not say how the bucket is set up. An error remains if it does not answer at all.
func doubt(p *remote.Protection, err error, what, permission string) (remote.Answer, error) {
	var e *Error
	switch {
	case !errors.As(err, &e):
		return remote.Unknown, err
	case errors.Is(err, errors.ErrUnsupported), e.Status == http.StatusNotImplemented, e.Status == http.StatusMethodNotAllowed:
		p.Doubts = append(p.Doubts, "the server does not implement "+what)
		return remote.No, nil
	case e.Code == minio.AccessDenied, e.Status == http.StatusForbidden:
		p.Doubts = append(p.Doubts, fmt.Sprintf("whether the bucket has %s is not known: these keys may not ask (%s)", what, permission))
		return remote.Unknown, nil
	case e.Status >= 400 && e.Status < 500 && e.Code != minio.NoSuchBucket && badQuestion(e):
		p.Doubts = append(p.Doubts, fmt.Sprintf("the server does not know the question about %s (%s)", what, e.Code))
		return remote.No, nil
	}
	return remote.Unknown, err
}

// badQuestion says whether an answer is one of S3 about the question itself: not about keys, clocks or the bucket.
func badQuestion(e *Error) bool {
	switch e.Code {
	case "InvalidRequest", "InvalidArgument", "MalformedXML", "NoSuchKey", "NoSuchConfiguration", "UnsupportedParameter":
		return true
	}
	return false
}

// versioning asks whether the bucket keeps versions: "" (it never did), Enabled or Suspended.
func (s *Store) versioning(ctx context.Context) (status string, err error) {
	err = s.do(ctx, opVersioning, "", func(r *request) error {
		c, err := s.client.GetBucketVersioning(r.ctx, s.o.Bucket)
		status = c.Status
		return err
	})
	return status, err
}

// saysLocked finds in an answer to a DELETE that a lock is meant. Amazon and versitygw say so in the message, MinIO calls it WORM.
func saysLocked(e *Error) bool {
	text := strings.ToLower(e.Code + " " + e.Message)
	return strings.Contains(text, "object lock") || strings.Contains(text, "objectlock") || strings.Contains(text, "worm")
}

var (
	_ remote.Retainer  = (*Store)(nil)
	_ remote.Protector = (*Store)(nil)
	_ remote.Hider     = (*Store)(nil)
)
