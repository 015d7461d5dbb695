package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/minio/minio-go/v7"

	"cairn/remote"
)

// Error is a server's answer that is not what was asked for. errors.Is finds in it what it means: remote.ErrNotExist,
// fs.ErrExist, remote.ErrSlowDown, remote.ErrUnavailable, errors.ErrUnsupported.
type Error struct {
	Op        string // what was done: put, get, …
	Place     string // s3://host/bucket
	Key       string // empty when the answer is about the bucket
	Status    int    // of HTTP; 0 in the answer about one of many objects
	Code      string // as S3 defines it, or the server's own
	Message   string
	RequestID string // what the provider's support asks for

	is   []error
	hint string
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.Op, strings.TrimSuffix(e.Place+"/"+e.Key, "/"))
	if e.Code != "" {
		b.WriteString(": " + e.Code)
	}
	if e.Message != "" && e.Message != e.Code {
		b.WriteString(": " + strings.TrimSuffix(e.Message, "."))
	}
	var end []string
	if e.Status != 0 {
		end = append(end, fmt.Sprintf("HTTP %d", e.Status))
	}
	if e.RequestID != "" {
		end = append(end, "request "+e.RequestID)
	}
	if len(end) > 0 {
		b.WriteString(" (" + strings.Join(end, ", ") + ")")
	}
	return b.String()
}

// Unwrap returns what the answer means.
func (e *Error) Unwrap() []error { return e.is }

// Hint is the operator's next step.
func (e *Error) Hint() string { return e.hint }

// explain makes an error of ours of what an operation ended with.
func (s *Store) explain(r *request, op, name string, err error) error {
	if err = r.cause(err); errors.Is(err, context.Canceled) && r.parent.Err() != nil || errors.Is(err, r.parent.Err()) {
		return r.parent.Err()
	}
	var answer minio.ErrorResponse
	var keys *keysError
	switch {
	case errors.As(err, &keys):
		return remote.Permanent(fmt.Errorf("%s: %w", s, err))
	case errors.As(err, &answer) && (r.status != 0 || answer.StatusCode != 0):
		return s.answer(r, op, name, answer)
	}
	return s.network(op, name, bareURL(err))
}

// bareURL takes off what repeats the request.
func bareURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// answer makes an Error of a server's error answer.
func (s *Store) answer(r *request, op, name string, answer minio.ErrorResponse) error {
	e := &Error{Op: op, Place: s.place, Key: clean(answer.Key), Status: answer.StatusCode, Code: clean(answer.Code),
		Message: clean(answer.Message), RequestID: clean(answer.RequestID)}
	if name != "" || op == opList {
		e.Key = s.prefix + name
	}
	if e.RequestID == "" {
		e.RequestID = clean(r.header.Get("X-Amz-Request-Id"))
	}
	if e.Status == http.StatusNotFound && !r.spoken {
		e.Code, e.Message = "", "not found, but not as S3 says it"
	}
	m := meaning(op, e)
	e.is = m.is
	e.hint = s.advice(r, e, clean(answer.Region))
	if m.permanent {
		return remote.Permanent(e)
	}
	return e
}

// clean makes a server's text fit for a terminal.
func clean(text string) string {
	text = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return ' '
		}
		return c
	}, text)
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "…"
	}
	return strings.TrimSpace(text)
}

type verdict struct {
	is        []error
	permanent bool
}

// whole is the verdict on what concerns the whole member, not one object: nobody may take it for a missing object, and asking
// again is useless until somebody changes something.
var whole = verdict{[]error{remote.ErrUnavailable}, true}

// lockedVerdict is about one object; all else works.
var lockedVerdict = verdict{[]error{remote.ErrLocked}, true}

// meaning sorts answers. The codes are those of Amazon and of the servers that speak its protocol.
func meaning(op string, e *Error) verdict {
	if v, ok := lockMeaning(op, e); ok {
		return v
	}
	switch e.Code {
	case minio.NoSuchKey, "NotFound", minio.NoSuchVersion:
		return verdict{[]error{remote.ErrNotExist}, true}
	case minio.AccessDenied, "Forbidden", "AllAccessDisabled", "AccessForbidden":
		if op == opDelete || op == opDeleteAll {
			return verdict{[]error{fs.ErrPermission}, true} // keys that may not delete, or an object lock: all else works
		}
		return whole
	case minio.NoSuchBucket, minio.InvalidBucketName, "InvalidAccessKeyId", "XAdminUserNotFound", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "RequestExpired",
		"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "InvalidTokenId", "AuthorizationHeaderMalformed",
		"PermanentRedirect", "TemporaryRedirect", "Redirect", "InvalidRegion", "IllegalLocationConstraintException", "AccountProblem", "NotSignedUp",
		"InvalidSecurity", "AuthFailure", "UnauthorizedAccess":
		return whole
	case "SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException", "RequestThrottled", "RequestThrottledException",
		"RequestLimitExceeded", "TooManyRequests", "ServiceUnavailable", "Busy", "ServerBusy", "BandwidthLimitExceeded":
		return verdict{[]error{remote.ErrSlowDown}, false}
	case minio.PreconditionFailed:
		if op == opPutNew {
			return verdict{[]error{fs.ErrExist}, true}
		}
		return verdict{}
	case minio.InvalidObjectState, "QuotaExceeded", "AccountQuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull", "InsufficientStorage",
		"StorageFull":
		return verdict{nil, true}
	case minio.NotImplemented, "UnsupportedOperation":
		return verdict{[]error{errors.ErrUnsupported}, true}
	case "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "RequestTimeout", "InternalError", "OperationAborted",
		"ConditionalRequestConflict", "Conflict", "RequestError":
		return verdict{}
	}
	return byStatus(e.Status)
}

// lockMeaning sorts answers to requests about locks, and to deletions that a lock forbids.
func lockMeaning(op string, e *Error) (verdict, bool) {
	switch op {
	case opDelete, opDeleteAll, opLock:
		if saysLocked(e) && e.Code != "ObjectLockConfigurationNotFoundError" && !strings.Contains(e.Message, "onfiguration") {
			return lockedVerdict, true
		}
	}
	switch op {
	case opPutLocked, opLock, opLockOf:
		switch e.Code {
		case "InvalidRequest", "InvalidBucketState", "ObjectLockConfigurationNotFoundError": // the bucket has no object lock
			return verdict{[]error{errors.ErrUnsupported}, true}, true
		case "NoSuchObjectLockConfiguration":
			return verdict{nil, true}, true
		}
	}
	if e.Status == http.StatusMethodNotAllowed { // asked of a delete marker
		return verdict{nil, true}, true
	}
	return verdict{}, false
}

// byStatus sorts codes that nobody knows.
func byStatus(status int) verdict {
	switch {
	case status == http.StatusTooManyRequests:
		return verdict{[]error{remote.ErrSlowDown}, false}
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound, status >= 300 && status < 400,
		status == http.StatusProxyAuthRequired:
		return whole
	case status == http.StatusInsufficientStorage, status == http.StatusRequestEntityTooLarge:
		return verdict{nil, true}
	case status == http.StatusNotImplemented:
		return verdict{[]error{errors.ErrUnsupported}, true}
	case status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusPreconditionFailed, status == 499, status == 0:
		return verdict{}
	}
	return verdict{nil, status < 500}
}

// network explains what came instead of an answer.
func (s *Store) network(op, name string, err error) error {
	wrapped := fmt.Errorf("%s %s: %w", op, strings.TrimSuffix(s.place+"/"+s.prefix+name, "/"), err)
	var (
		stalled *stallError
		dns     *net.DNSError
		op1     *net.OpError
		record  tls.RecordHeaderError
		syntax  *xml.SyntaxError
	)
	host := s.o.Host
	switch {
	case errors.As(err, &stalled):
		return remote.WithHint(wrapped, "is "+host+" reachable from here, and at work? the command goes on without it where it can")
	case untrusted(err):
		return remote.WithHint(remote.Permanent(unavailable{wrapped}),
			"a certificate of your own is trusted with ?ca=FILE in the address; a name that does not match needs another host name or style")
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return remote.WithHint(remote.Permanent(unavailable{wrapped}), host+" speaks plain HTTP there: ?insecure=1 in the address allows it")
	case errors.As(err, &dns) && dns.IsNotFound:
		return remote.WithHint(unavailable{wrapped}, "is the host name right? an address is s3://HOST/BUCKET, also at Amazon: s3://s3.amazonaws.com/BUCKET")
	case errors.As(err, &op1) && op1.Timeout():
		return remote.WithHint(unavailable{wrapped}, "is "+host+" reachable from here? a firewall may drop what goes there")
	case errors.Is(err, syscall.ECONNREFUSED):
		return remote.WithHint(wrapped, "is the server at "+host+" running?")
	case errors.As(err, &syntax):
		return remote.WithHint(wrapped, "is "+host+" an S3 server?")
	}
	return wrapped
}

func untrusted(err error) bool {
	var (
		verify *tls.CertificateVerificationError
		ca     x509.UnknownAuthorityError
		name   x509.HostnameError
	)
	return errors.As(err, &verify) || errors.As(err, &ca) || errors.As(err, &name)
}

// unavailable adds remote.ErrUnavailable to an error without changing its text.
type unavailable struct{ err error }

func (e unavailable) Error() string   { return e.err.Error() }
func (e unavailable) Unwrap() []error { return []error{e.err, remote.ErrUnavailable} }
