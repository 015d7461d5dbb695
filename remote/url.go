package remote

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// URL is the address of a member. Addresses hold no secrets and may be printed.
type URL struct {
	Scheme string // "file" or "s3"
	Path   string // file: the absolute, clean directory
	Host   string // s3: host or host:port
	Bucket string // s3
	Prefix string // s3: without slashes at its ends; may be empty
	Query  url.Values
}

// String returns the address in the form that ParseURL reads: a plain path for a directory.
func (u URL) String() string {
	if u.Scheme == "file" {
		return u.Path
	}
	v := url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/" + strings.TrimSuffix(u.Bucket+"/"+u.Prefix, "/"), RawQuery: u.Query.Encode()}
	return v.String()
}

const forms = "a member is /abs/dir, ./rel/dir, file:///abs/dir or s3://host[:port]/bucket[/prefix]"

// ParseURL reads the address of a member: a directory (/abs/dir, rel, ./rel, file:///abs/dir), relative ones
// being made absolute, or s3://host[:port]/bucket[/prefix][?region=…]. Whether a scheme can be opened is
// for whoever opens it to say.
func ParseURL(raw string) (URL, error) {
	u, err := parseURL(raw)
	if err != nil {
		return URL{}, WithHint(fmt.Errorf("member %.200q: %w", redact(raw), err), forms)
	}
	return u, nil
}

var errSecret = errors.New("keys and passwords do not belong into the address")

func parseURL(raw string) (URL, error) {
	if raw == "" {
		return URL{}, errors.New("empty address")
	}
	if strings.IndexByte(raw, 0) >= 0 {
		return URL{}, errors.New("NUL byte in the address")
	}
	scheme, rest, ok := cutScheme(raw)
	switch {
	case !ok:
		return directory(raw)
	case !strings.HasPrefix(rest, "//"):
		// restic writes s3:host/bucket; taken for a directory it would silently back up to the wrong place.
		return URL{}, fmt.Errorf("%s: is not followed by // (write ./%s:… for a directory of that name)", scheme, scheme)
	}
	u, err := url.Parse(raw)
	if err != nil {
		if strings.Contains(rest, "@") {
			return URL{}, errSecret // the error might repeat a part of it
		}
		var ue *url.Error // repeats the address
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return URL{}, err
	}
	if u.User != nil {
		return URL{}, errSecret
	}
	if u.Fragment != "" {
		return URL{}, errors.New("# in the address")
	}
	switch scheme {
	case "file":
		return parseFile(u)
	case "s3":
		return parseS3(u)
	}
	return URL{}, fmt.Errorf("unknown scheme %s", scheme)
}

func directory(path string) (URL, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return URL{}, err
	}
	return URL{Scheme: "file", Path: abs}, nil
}

func parseFile(u *url.URL) (URL, error) {
	if u.Host != "" && u.Host != "localhost" {
		return URL{}, fmt.Errorf("file: address with host %s: three slashes begin an absolute path", u.Host)
	}
	if u.RawQuery != "" {
		return URL{}, errors.New("a directory has no options")
	}
	if !strings.HasPrefix(u.Path, "/") {
		return URL{}, errors.New("the path is not absolute")
	}
	if strings.IndexByte(u.Path, 0) >= 0 {
		return URL{}, errors.New("NUL byte in the address")
	}
	return directory(u.Path)
}

func parseS3(u *url.URL) (URL, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return URL{}, err
	}
	bucket, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	switch {
	case u.Hostname() == "":
		return URL{}, errors.New("no host")
	case bucket == "":
		return URL{}, errors.New("no bucket")
	case prefix != "" && ValidName(prefix) != nil:
		return URL{}, ValidName(prefix)
	}
	if len(query) == 0 {
		query = nil
	}
	return URL{Scheme: "s3", Host: u.Host, Bucket: bucket, Prefix: prefix, Query: query}, nil
}

// cutScheme splits "scheme:rest" as RFC 3986 defines a scheme. One letter is a scheme too.
func cutScheme(raw string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(raw, ":")
	if !ok || scheme == "" {
		return "", "", false
	}
	for i, c := range strings.ToLower(scheme) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", c)) {
			return "", "", false
		}
	}
	return strings.ToLower(scheme), rest, true
}

// redact removes what stands before the last @ of an address, for error messages: a secret may contain any
// character, a slash too.
func redact(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return raw
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		return scheme + "://…" + rest[at:]
	}
	return raw
}
