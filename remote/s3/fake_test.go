package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is an S3 server in memory: path-style requests, signatures looked at but not calculated, all else as the protocol says. hook may
// answer a request in its stead.
type fake struct {
	*httptest.Server
	mu       sync.Mutex
	buckets  map[string]map[string]fakeObject
	requests []*http.Request // headers and URL
	page     int             // keys in a page at most
	hook     func(w http.ResponseWriter, r *http.Request) bool
	keys     map[string]bool // access keys that may come in
	plain    bool            // takes no notice of If-None-Match
	past     *history        // of "bucket"; nil: it keeps no versions
}

type fakeObject struct {
	data []byte
	time time.Time
}

// etag tells versions apart.
func (o fakeObject) etag() string { return fmt.Sprintf(`"%d-%d"`, len(o.data), o.time.UnixNano()) }

func newFake(t testing.TB, hook func(w http.ResponseWriter, r *http.Request) bool) *fake {
	f := &fake{buckets: map[string]map[string]fakeObject{"bucket": {}}, page: 1000, hook: hook, keys: map[string]bool{"key": true}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// open returns a Store in the fake's bucket.
func (f *fake) open(t testing.TB, change ...func(*Options)) *Store {
	t.Helper()
	o := Options{Host: strings.TrimPrefix(f.URL, "http://"), Bucket: "bucket", Prefix: "p/q", Insecure: true, Keys: staticKeys}
	for _, fn := range change {
		fn(&o)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	s.pause = time.Millisecond
	return s
}

func staticKeys(context.Context) (Keys, error) {
	return Keys{AccessKey: "key", SecretKey: "secret"}, nil
}

// log returns what was asked for, as "GET p/q/name range", and forgets it.
func (f *fake) log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for _, r := range f.requests {
		line := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/bucket/")
		if rng := r.Header.Get("Range"); rng != "" {
			line += " " + rng
		}
		lines = append(lines, line)
	}
	f.requests = nil
	return lines
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Amz-Request-Id", "REQ1")
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>because of %s.</Message><Region>%s</Region></Error>", code, code, w.Header().Get("X-Amz-Bucket-Region"))
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r)
	f.mu.Unlock()
	if f.hook != nil && f.hook(w, r) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	auth := r.Header.Get("Authorization")
	credential, _, _ := strings.Cut(auth[min(len(auth), len("AWS4-HMAC-SHA256 Credential=")):], "/")
	sum := sha256.Sum256(body)
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case !strings.HasPrefix(auth, "AWS4-HMAC-SHA256 Credential="):
		refuse(w, http.StatusForbidden, "AccessDenied")
	case !f.keys[credential]:
		refuse(w, http.StatusBadRequest, "ExpiredToken")
	case len(body) == 0 && r.Header.Get("X-Amz-Content-Sha256") == "UNSIGNED-PAYLOAD": // of a question
		f.serveBucket(w, r, bucket, body)
	case r.Header.Get("X-Amz-Content-Sha256") != hex.EncodeToString(sum[:]) || !strings.Contains(auth, "x-amz-content-sha256"):
		refuse(w, http.StatusBadRequest, "XAmzContentSHA256Mismatch")
	case f.buckets[bucket] == nil && !(r.Method == http.MethodPut && key == ""):
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case key == "":
		f.serveBucket(w, r, bucket, body)
	case f.past != nil && f.past.serve(w, r, key, body):
		f.past.settle(f.buckets[bucket], key)
	default:
		f.serveObject(w, r, f.buckets[bucket], key, body)
	}
}

func (f *fake) serveBucket(w http.ResponseWriter, r *http.Request, bucket string, body []byte) {
	q := r.URL.Query()
	switch {
	case f.buckets[bucket] == nil && r.Method != http.MethodPut:
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case f.past != nil && f.past.serveBucket(w, r):
	case r.Method == http.MethodGet && q.Has("versioning"):
		fmt.Fprint(w, "<VersioningConfiguration/>")
	case r.Method == http.MethodGet && q.Has("object-lock"):
		refuse(w, http.StatusNotFound, "ObjectLockConfigurationNotFoundError")
	case r.Method == http.MethodPut && len(q) == 0:
		if f.buckets[bucket] != nil {
			refuse(w, http.StatusConflict, "BucketAlreadyOwnedByYou")
			return
		}
		f.buckets[bucket] = map[string]fakeObject{}
	case r.Method == http.MethodGet && q.Get("list-type") == "2":
		f.list(w, q, f.buckets[bucket])
	case r.Method == http.MethodPost && q.Has("delete"):
		f.deleteMany(w, f.buckets[bucket], body)
	default:
		refuse(w, http.StatusNotImplemented, "NotImplemented")
	}
}

func (f *fake) deleteMany(w http.ResponseWriter, objects map[string]fakeObject, body []byte) {
	var ask struct {
		Object []struct{ Key string }
	}
	if err := xml.Unmarshal(body, &ask); err != nil || len(ask.Object) > 1000 {
		refuse(w, http.StatusBadRequest, "MalformedXML")
		return
	}
	fmt.Fprint(w, "<DeleteResult>")
	for _, o := range ask.Object {
		if strings.Contains(o.Key, "locked") {
			fmt.Fprintf(w, "<Error><Key>%s</Key><Code>AccessDenied</Code><Message>locked</Message></Error>", o.Key)
			continue
		}
		delete(objects, o.Key)
		fmt.Fprintf(w, "<Deleted><Key>%s</Key></Deleted>", o.Key)
	}
	fmt.Fprint(w, "</DeleteResult>")
}

func (f *fake) list(w http.ResponseWriter, q url.Values, objects map[string]fakeObject) {
	type contents struct {
		Key          string
		LastModified string
		Size         int
	}
	type folder struct{ Prefix string }
	result := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		EncodingType          string
		IsTruncated           bool
		NextContinuationToken string
		Contents              []contents
		CommonPrefixes        []folder
	}{EncodingType: "url"}
	limit, err := strconv.Atoi(q.Get("max-keys"))
	if err != nil || limit > f.page {
		limit = f.page
	}
	after := max(q.Get("start-after"), q.Get("continuation-token"))
	var keys []string
	for key := range objects {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	last, n := "", 0
	for _, key := range keys {
		rest, ok := strings.CutPrefix(key, q.Get("prefix"))
		if !ok || key <= after {
			continue
		}
		entry := key
		if d := q.Get("delimiter"); d != "" && strings.Contains(rest, d) {
			rest, _, _ = strings.Cut(rest, d)
			if entry = q.Get("prefix") + rest + d; entry == last || strings.HasPrefix(after, entry) {
				continue
			}
		}
		if n++; n > limit {
			result.IsTruncated, result.NextContinuationToken = true, last
			break
		}
		if last = entry; entry == key {
			o := objects[key]
			result.Contents = append(result.Contents, contents{url.QueryEscape(key), o.time.UTC().Format("2006-01-02T15:04:05.000Z"), len(o.data)})
		} else {
			result.CommonPrefixes = append(result.CommonPrefixes, folder{url.QueryEscape(entry)})
		}
	}
	text, _ := xml.Marshal(result)
	w.Write(text)
}

func (f *fake) serveObject(w http.ResponseWriter, r *http.Request, objects map[string]fakeObject, key string, body []byte) {
	o, ok := objects[key]
	switch r.Method {
	case http.MethodPut:
		if ok && r.Header.Get("If-None-Match") == "*" && !f.plain {
			refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
			return
		}
		objects[key] = fakeObject{body, time.Now()}
		w.Header().Set("ETag", objects[key].etag())
	case http.MethodDelete:
		delete(objects, key)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodGet, http.MethodHead:
		switch {
		case !ok:
			refuse(w, http.StatusNotFound, "NoSuchKey")
		case r.Header.Get("If-Match") != "" && r.Header.Get("If-Match") != o.etag():
			refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		default:
			w.Header().Set("ETag", o.etag())
			w.Header().Set("Last-Modified", o.time.UTC().Format(http.TimeFormat))
			serveRange(w, r, o.data)
		}
	default:
		refuse(w, http.StatusNotImplemented, "NotImplemented")
	}
}

// serveRange answers the three forms of a range. net/http's own ServeContent answers those of an empty object as S3 does not.
func serveRange(w http.ResponseWriter, r *http.Request, data []byte) {
	size := int64(len(data))
	first, last := int64(0), size-1
	spec, ranged := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if ranged {
		from, to, _ := strings.Cut(spec, "-")
		if a, err := strconv.ParseInt(from, 10, 64); err == nil {
			first = a
			if b, err := strconv.ParseInt(to, 10, 64); err == nil {
				last = min(last, b)
			}
		} else if n, err := strconv.ParseInt(to, 10, 64); err == nil {
			first = max(0, size-n)
		}
		if first >= size {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", size))
			refuse(w, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, size))
	}
	w.Header().Set("Content-Length", strconv.FormatInt(last-first+1, 10))
	if ranged {
		w.WriteHeader(http.StatusPartialContent)
	}
	if r.Method == http.MethodGet {
		w.Write(data[first : last+1])
	}
}

func hex4(i int) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[i>>12&15], digits[i>>8&15], digits[i>>4&15], digits[i&15]})
}
