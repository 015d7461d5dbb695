package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"cairn/remote"
)

// Defaults. A request that neither sends nor receives a byte for Stall is given up: longer than any healthy server
// thinks, and with one more try (remote/retry) still half a minute in all. 32 requests at once fill a 10 Gbit/s line at
// 50 ms of latency with shards of 2 MiB; AIMD takes it from there when the server asks for less.
const (
	DefaultStall       = 15 * time.Second
	DefaultConcurrency = 32
)

// Pace slows a stream of bytes down: Wait returns when n more bytes may pass.
type Pace interface {
	Wait(ctx context.Context, n int) error
}

// Options of a Store. Host and Bucket are needed; all else has a default.
type Options struct {
	Host   string // host or host:port
	Bucket string
	Prefix string // of all keys, without slashes at its ends

	Region   string // default: what the host name says, AWS_REGION, AWS_DEFAULT_REGION, us-east-1
	Insecure bool   // plain HTTP
	Style    string // where the bucket stands in a request: path, dns, or auto (dns for Amazon and Google, path for others)
	CAFile   string // certificates in PEM that are trusted besides the system's

	// StorageClass of packs ("binaries" in a pair-tree). All else is small, is read by every command, and stays in the standard class.
	StorageClass string

	ObjectLock bool // a bucket that Make makes keeps versions and can lock them

	Profile         string // of the shared credentials file; default AWS_PROFILE or "default"
	CredentialsFile string // default ~/.aws/config and ~/.aws/credentials
	// Keys finds the keys; nil: Chain(Profile, CredentialsFile).
	Keys func(ctx context.Context) (Keys, error)

	Up, Down    Pace          // nil: as fast as it goes
	Stall       time.Duration // 0: DefaultStall
	Concurrency int           // requests at once; 0: DefaultConcurrency
}

// options are the keys that an address may have after its "?". insecure, ca and credentials depend on the machine and
// are no secrets: an address may be printed.
var options = map[string]func(o *Options, value string) error{
	"region":      func(o *Options, v string) error { o.Region = v; return nil },
	"class":       func(o *Options, v string) error { o.StorageClass = v; return nil },
	"style":       func(o *Options, v string) error { o.Style = v; return nil },
	"ca":          func(o *Options, v string) error { o.CAFile = v; return nil },
	"profile":     func(o *Options, v string) error { o.Profile = v; return nil },
	"credentials": func(o *Options, v string) error { o.CredentialsFile = v; return nil },
	"insecure": func(o *Options, v string) error {
		switch v {
		case "1", "true":
			o.Insecure = true
		case "0", "false":
		default:
			return fmt.Errorf("insecure=%s: 1 or 0", v)
		}
		return nil
	},
}

// FromURL reads the address of a member. An option that is unknown, empty or repeated is an error that lists the known ones.
func FromURL(u remote.URL) (Options, error) {
	o := Options{Host: u.Host, Bucket: u.Bucket, Prefix: u.Prefix}
	err := o.read(u.Query)
	if err == nil {
		err = o.validate()
	}
	if err != nil {
		known := strings.Join(slices.Sorted(maps.Keys(options)), ", ")
		return Options{}, remote.WithHint(fmt.Errorf("member %s: %w", u, err), "the options of an s3 address are "+known+" (`cairn help init` explains them)")
	}
	return o, nil
}

func (o *Options) read(query url.Values) error {
	for _, key := range slices.Sorted(maps.Keys(query)) {
		set, ok := options[key]
		switch values := query[key]; {
		case !ok:
			return fmt.Errorf("unknown option %s", key)
		case len(values) != 1:
			return fmt.Errorf("option %s is given %d times", key, len(values))
		case values[0] == "":
			return fmt.Errorf("option %s is empty", key)
		default:
			if err := set(o, values[0]); err != nil {
				return err
			}
		}
	}
	return nil
}

var className = regexp.MustCompile(`^[A-Z0-9_-]*$`)

func (o *Options) validate() error {
	if o.Host == "" {
		return errors.New("no host")
	}
	if err := s3utils.CheckValidBucketName(o.Bucket); err != nil {
		return fmt.Errorf("bucket %s: %w", o.Bucket, err)
	}
	if o.Prefix != "" {
		if err := remote.ValidName(o.Prefix); err != nil {
			return err
		}
	}
	if !slices.Contains([]string{"", "auto", "path", "dns"}, o.Style) {
		return fmt.Errorf("style=%s: path, dns or auto", o.Style)
	}
	if !className.MatchString(o.StorageClass) {
		return fmt.Errorf("class=%s: a storage class is like STANDARD_IA", o.StorageClass)
	}
	return nil
}

func (o Options) applyDefaults() Options {
	if o.Region == "" {
		o.Region = defaultRegion(o.Host)
	}
	if o.Keys == nil {
		o.Keys = Chain(o.Profile, o.CredentialsFile)
	}
	if o.Stall <= 0 {
		o.Stall = DefaultStall
	}
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
	}
	return o
}

// defaultRegion is never empty: without a region each Store would begin with a request that asks for it.
func defaultRegion(host string) string {
	region := s3utils.GetRegionFromURL(url.URL{Host: host})
	for _, next := range []string{os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), "us-east-1"} {
		if region == "" {
			region = next
		}
	}
	return region
}

func (o *Options) lookup() minio.BucketLookupType {
	switch o.Style {
	case "path":
		return minio.BucketLookupPath
	case "dns":
		return minio.BucketLookupDNS
	}
	return minio.BucketLookupAuto
}

// tlsConfig trusts the system's certificates and those of CAFile.
func (o *Options) tlsConfig() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, remote.WithHint(fmt.Errorf("ca: %w", err), "ca= names a file of certificates in PEM")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a container without certificates
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, remote.WithHint(fmt.Errorf("ca: no certificate in %s", o.CAFile), "ca= names a file of certificates in PEM")
	}
	cfg.RootCAs = pool
	return cfg, nil
}

// transport is HTTP/1.1, because one connection for each request in flight gets through packet loss better than one
// for all. No idle connection is kept longer than the usual NAT remembers it.
func (o *Options) transport() (*http.Transport, error) {
	cfg, err := o.tlsConfig()
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dial,
		TLSClientConfig:       cfg,
		TLSHandshakeTimeout:   dialTime,
		MaxIdleConns:          o.Concurrency + 8,
		MaxIdleConnsPerHost:   o.Concurrency + 8,
		IdleConnTimeout:       30 * time.Second,
		ReadBufferSize:        64 << 10,
		WriteBufferSize:       64 << 10,
		DisableCompression:    true, // what is stored is what is wanted
		ExpectContinueTimeout: time.Second,
	}, nil
}
