package s3

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"cairn/remote"
)

// Keys sign requests.
type Keys struct {
	AccessKey, SecretKey, SessionToken string
	Expires                            time.Time // zero: not known, or never
}

// Bounds of a search for keys: a machine without a metadata service (most) must not wait for one, and one that has it answers in
// milliseconds; a token service may be far away.
const (
	metadataTime  = 2 * time.Second
	containerTime = 5 * time.Second
	searchTime    = 10 * time.Second
	failedTime    = 10 * time.Second // a search that found nothing is not repeated sooner
)

// Chain looks for keys where Amazon's tools do, and takes the first that it finds:
//
//	AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; MINIO_ROOT_USER, MINIO_ROOT_PASSWORD
//	the profile in ~/.aws/config and ~/.aws/credentials (with SSO and credential_process)
//	AWS_WEB_IDENTITY_TOKEN_FILE; the role of the container; the role of the machine
//
// When a profile or a file is named, only there. It never ends without keys: then it is an error that says what each of them lacks.
func Chain(profile, file string) func(context.Context) (Keys, error) {
	return func(ctx context.Context) (Keys, error) {
		shared := source{"shared credentials file", &credentials.FileAWSCredentials{Filename: file, Profile: profile}}
		if profile != "" || file != "" {
			return sources{shared}.find(ctx)
		}
		return sources{
			{"AWS_ACCESS_KEY_ID", &credentials.EnvAWS{}},
			{"MINIO_ROOT_USER", &credentials.EnvMinio{}},
			shared,
			{"role of this machine or container", &credentials.IAM{}},
		}.find(ctx)
	}
}

// source is one place where keys may be.
type source struct {
	name     string
	provider credentials.Provider
}

type sources []source

// errNoKeys means that a place has none, which is no mistake.
var errNoKeys = errors.New("none")

func (list sources) find(ctx context.Context) (Keys, error) {
	var causes []string
	for _, src := range list {
		keys, err := src.get(ctx)
		if err == nil {
			return keys, nil
		}
		if ctx.Err() != nil {
			return Keys{}, ctx.Err()
		}
		causes = append(causes, src.name+": "+err.Error())
	}
	return Keys{}, &keysError{strings.Join(causes, "; ")}
}

func (src source) get(ctx context.Context) (Keys, error) {
	limit, proxy := searchTime, http.ProxyFromEnvironment
	if _, iam := src.provider.(*credentials.IAM); iam && os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") == "" {
		limit, proxy = metadataTime, nil // the service is on this very machine
		switch {
		case os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")+os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "":
			limit = containerTime
		case strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true"):
			return Keys{}, errNoKeys
		}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	transport := &http.Transport{Proxy: proxy, DialContext: (&net.Dialer{Timeout: limit}).DialContext, DisableKeepAlives: true}
	v, err := src.provider.RetrieveWithCredContext(&credentials.CredContext{Client: &http.Client{Transport: transport, Timeout: limit}, Context: ctx})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Keys{}, errNoKeys // no such file
	case err != nil:
		return Keys{}, bareURL(err)
	case v.AccessKeyID == "" && v.SecretAccessKey == "":
		return Keys{}, errNoKeys
	case v.AccessKeyID == "" || v.SecretAccessKey == "":
		return Keys{}, errors.New("only one of the two keys is set")
	}
	return Keys{v.AccessKeyID, v.SecretAccessKey, v.SessionToken, v.Expiration}, nil
}

// keysError says that there are no keys to sign with.
type keysError struct{ causes string }

func (e *keysError) Error() string { return "no keys for S3 were found: " + e.causes }
func (e *keysError) Unwrap() error { return remote.ErrUnavailable }
func (e *keysError) Hint() string {
	return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write a profile into ~/.aws/credentials and name it in the address (?profile=NAME)"
}

// keyring remembers keys until they expire.
type keyring struct {
	find func(context.Context) (Keys, error)
	now  func() time.Time

	mu     sync.Mutex
	have   Keys
	found  time.Time // when
	fresh  time.Time // until then they are not looked up again; zero: for ever
	err    error     // of the last search, when it failed
	failed time.Time // when
}

// refused forgets keys that the server did not accept in a request that began then, unless newer ones were found meanwhile.
func (k *keyring) refused(begun time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.found.Before(begun) {
		k.have = Keys{}
	}
}

// RetrieveWithCredContext is called when there are no keys or they are to be renewed.
func (k *keyring) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ctx := context.Background()
	if cc != nil && cc.Context != nil {
		ctx = cc.Context
	}
	if err := k.renew(ctx); err != nil {
		return credentials.Value{}, err
	}
	return credentials.Value{AccessKeyID: k.have.AccessKey, SecretAccessKey: k.have.SecretKey, SessionToken: k.have.SessionToken,
		Expiration: k.have.Expires, SignerType: credentials.SignatureV4}, nil
}

func (k *keyring) renew(ctx context.Context) error {
	now := k.now()
	if k.err != nil && now.Sub(k.failed) < failedTime {
		return k.good(now)
	}
	keys, err := k.find(ctx)
	if err == nil && (keys.AccessKey == "" || keys.SecretKey == "") {
		err = &keysError{"empty keys"} // with which requests would go out unsigned
	}
	if err != nil {
		if ctx.Err() == nil {
			k.err, k.failed = err, now
		}
		return errors.Join(k.good(now), ctx.Err())
	}
	k.have, k.found, k.err, k.fresh = keys, now, nil, time.Time{}
	if !keys.Expires.IsZero() {
		// Renewed five minutes before the end, or after four fifths of a life that is shorter.
		k.fresh = keys.Expires.Add(-min(5*time.Minute, keys.Expires.Sub(now)/5))
	}
	return nil
}

// good is the error of the last search, unless the keys from before still hold.
func (k *keyring) good(now time.Time) error {
	if k.have.AccessKey != "" && now.Before(k.have.Expires) {
		return nil
	}
	return k.err
}

// Retrieve is the old form of the same.
func (k *keyring) Retrieve() (credentials.Value, error) { return k.RetrieveWithCredContext(nil) }

// IsExpired says whether it is time to look again.
func (k *keyring) IsExpired() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.have.AccessKey == "" || !k.fresh.IsZero() && k.now().After(k.fresh)
}

// expiredKeys are the codes after which keys that were looked up again may do.
func expiredKeys(code string) bool {
	switch code {
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken":
		return true
	}
	return false
}
