package s3

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"cairn/remote"
)

// advice is the operator's next step after an answer; empty where there is none but to try again.
func (s *Store) advice(r *request, e *Error, region string) string {
	if errors.Is(e, remote.ErrLocked) {
		return "the object is under retention: the same command removes it when that has passed"
	}
	switch e.Op {
	case opPutLocked, opLock:
		if errors.Is(e, errors.ErrUnsupported) {
			return "the bucket has no object lock, which most servers give only to a new one: `cairn init --retain` makes it so, or: aws s3api create-bucket " +
				"--object-lock-enabled-for-bucket --bucket " + s.o.Bucket + " --endpoint-url " + s.endpoint()
		}
	}
	switch e.Code {
	case minio.NoSuchBucket:
		return fmt.Sprintf("make the bucket: `cairn init` does for a new archive if the keys may, or: aws s3 mb s3://%s --region %s --endpoint-url %s",
			s.o.Bucket, s.o.Region, s.endpoint())
	case minio.AccessDenied, "Forbidden", "AccessForbidden", "AllAccessDisabled":
		return s.permission(e.Op)
	case "RequestTimeTooSkewed", "RequestExpired":
		return clock(r.header)
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "Redirect", "InvalidRegion", "IllegalLocationConstraintException":
		if region != "" && region != s.o.Region {
			return fmt.Sprintf("the bucket is in region %s, not %s: write ?region=%s into the address", region, s.o.Region, region)
		}
		return fmt.Sprintf("the bucket is not where %s with region %s is asked: correct the host, or write ?region=… into the address", s.o.Host, s.o.Region)
	case "InvalidAccessKeyId", "XAdminUserNotFound": // versitygw's name for it, with status 404
		return "the server does not know this access key: look at AWS_ACCESS_KEY_ID or the profile; has it keys of another provider?"
	case "SignatureDoesNotMatch":
		return "the secret key does not belong to the access key, or a proxy changes requests on the way"
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "InvalidTokenId":
		return "the session has expired and no new one was found: log in again (aws sso login) or set new AWS_ keys"
	case "InvalidObjectState":
		return fmt.Sprintf("the object is in cold storage: aws s3api restore-object --bucket %s --key %s --restore-request Days=7 --endpoint-url %s, "+
			"wait for hours, run the command again", s.o.Bucket, e.Key, s.endpoint())
	case "SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded", "ServiceUnavailable":
		return "the provider throttles: --limit-upload or --limit-download, or fewer machines at once, keep below its limit"
	case "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "StorageFull", "AccountQuotaExceeded":
		return s.full()
	case "InvalidStorageClass":
		return fmt.Sprintf("the provider has no class %s: correct ?class= in the address", s.o.StorageClass)
	case "EntityTooLarge", "KeyTooLongError", minio.InvalidBucketName:
		return "correct the address of the member"
	}
	switch {
	case e.Status == http.StatusInsufficientStorage:
		return s.full()
	case e.Status >= 300 && e.Status < 400 && region != "":
		return fmt.Sprintf("the bucket is in region %s: write ?region=%s into the address", region, region)
	case e.Status == http.StatusBadRequest && s.o.Insecure && !r.spoken:
		return "a server that speaks HTTPS only needs an address without ?insecure=1"
	case e.Status == http.StatusNotFound && e.Code == "", e.Status == http.StatusUnauthorized:
		return "is " + s.o.Host + " an S3 server, and its S3 port?"
	}
	return ""
}

func (s *Store) endpoint() string {
	if s.o.Insecure {
		return "http://" + s.o.Host
	}
	return "https://" + s.o.Host
}

func (s *Store) full() string {
	return "the bucket or its disk is full: raise the quota or make room, then run the command again; what was stored already is kept"
}

// permission names what the keys lack.
func (s *Store) permission(op string) string {
	objects := "arn:aws:s3:::" + s.o.Bucket + "/" + s.prefix + "*"
	bucket := "arn:aws:s3:::" + s.o.Bucket
	switch op {
	case opPut, opPutNew:
		return "the keys need s3:PutObject on " + objects
	case opGet, opStat:
		return "the keys need s3:GetObject on " + objects + " and s3:ListBucket on " + bucket + " (without which S3 refuses to say that an object does not exist)"
	case opDelete, opDeleteAll:
		return "the keys need s3:DeleteObject (and, where versions are kept, s3:DeleteObjectVersion) on " + objects + ", unless an object lock holds it"
	case opPutLocked:
		return "the keys need s3:PutObject and s3:PutObjectRetention on " + objects
	case opLock:
		return "the keys need s3:PutObjectRetention on " + objects
	case opLockOf:
		return "the keys need s3:GetObjectRetention on " + objects
	case opVersions:
		return "the keys need s3:ListBucketVersions on " + bucket
	case opVersioning:
		return "the keys need s3:GetBucketVersioning on " + bucket
	case opLockConfig:
		return "the keys need s3:GetBucketObjectLockConfiguration on " + bucket
	case opMake:
		return "the keys need s3:CreateBucket on " + bucket + ", or somebody else makes the bucket"
	}
	return "the keys need s3:ListBucket on " + bucket
}

// clock compares the server's clock with ours.
func clock(h http.Header) string {
	const next = "set the clock of this machine (timedatectl; chronyc tracking): S3 accepts a difference of 15 minutes"
	at, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return next
	}
	off := time.Until(at).Round(time.Second)
	if off > 0 {
		return fmt.Sprintf("this clock is %v behind the server's: %s", off, next)
	}
	return fmt.Sprintf("this clock is %v ahead of the server's: %s", -off, next)
}
