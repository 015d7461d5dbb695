package s3

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// history makes the fake's bucket one with versioning, as Amazon documents it: a PUT adds a version, a DELETE adds a marker, a DELETE of a
// version destroys it unless it is locked.
type history struct {
	lock     bool   // the bucket has object lock
	standard string // its default retention in days; "": none
	mute     bool   // does not say that a lock is why it refuses
	denied   string // what the keys may not do: "delete", "ask" (about the bucket), "versions", joined by spaces
	clock    func() time.Time
	versions map[string][]*fakeVersion // the oldest first
	next     int
}

type fakeVersion struct {
	fakeObject
	id     string
	marker bool
	mode   string
	until  time.Time
}

// keepHistory makes a fake with versions and locks.
func keepHistory(t testing.TB, hook func(w http.ResponseWriter, r *http.Request) bool) (*fake, *history) {
	f := newFake(t, hook)
	f.past = &history{lock: true, clock: time.Now, versions: map[string][]*fakeVersion{}}
	return f, f.past
}

// settle keeps what a plain request sees: the newest version that is no marker.
func (h *history) settle(objects map[string]fakeObject, key string) {
	delete(objects, key)
	if list := h.versions[key]; len(list) > 0 && !list[len(list)-1].marker {
		objects[key] = list[len(list)-1].fakeObject
	}
}

func (h *history) serveBucket(w http.ResponseWriter, r *http.Request) bool {
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodGet && (q.Has("versioning") || q.Has("object-lock")) && strings.Contains(h.denied, "ask"),
		q.Has("versions") && strings.Contains(h.denied, "versions"):
		refuse(w, http.StatusForbidden, "AccessDenied")
	case r.Method == http.MethodGet && q.Has("versioning"):
		fmt.Fprint(w, "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
	case r.Method == http.MethodGet && q.Has("object-lock") && h.lock:
		rule := ""
		if h.standard != "" {
			rule = "<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>" + h.standard + "</Days></DefaultRetention></Rule>"
		}
		fmt.Fprint(w, "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>"+rule+"</ObjectLockConfiguration>")
	case r.Method == http.MethodGet && q.Has("versions"):
		h.list(w, r)
	default:
		return false
	}
	return true
}

func (h *history) serve(w http.ResponseWriter, r *http.Request, key string, body []byte) bool {
	q := r.URL.Query()
	v := h.find(key, q.Get("versionId"))
	switch {
	case r.Method == http.MethodPut && q.Has("retention"):
		h.retain(w, v, body)
	case r.Method == http.MethodGet && q.Has("retention"):
		h.retention(w, v)
	case r.Method == http.MethodPut && r.Header.Get("If-None-Match") == "" || r.Method == http.MethodPut && v == nil:
		h.put(w, r, key, body)
	case r.Method == http.MethodDelete:
		h.delete(w, key, q.Get("versionId"), v)
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && q.Get("versionId") == "" && v != nil && v.marker:
		w.Header().Set("X-Amz-Delete-Marker", "true")
		refuse(w, http.StatusNotFound, "NoSuchKey")
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && q.Get("versionId") != "":
		switch {
		case v == nil:
			refuse(w, http.StatusNotFound, "NoSuchVersion")
		case v.marker:
			refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
		default:
			w.Header().Set("ETag", v.etag())
			w.Header().Set("Last-Modified", v.time.UTC().Format(http.TimeFormat))
			serveRange(w, r, v.data)
		}
	default:
		return false
	}
	return true
}

// find returns a version, without an id the newest.
func (h *history) find(key, id string) *fakeVersion {
	list := h.versions[key]
	if id == "" && len(list) > 0 {
		return list[len(list)-1]
	}
	for _, v := range list {
		if v.id == id {
			return v
		}
	}
	return nil
}

func (h *history) put(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	v := &fakeVersion{mode: r.Header.Get("X-Amz-Object-Lock-Mode")}
	if v.mode != "" {
		v.until, _ = time.Parse(time.RFC3339, r.Header.Get("X-Amz-Object-Lock-Retain-Until-Date"))
	}
	switch {
	case (v.mode != "" || h.standard != "") && r.Header.Get("Content-Md5") == "":
		refuseText(w, http.StatusBadRequest, "InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters")
		return
	case v.mode != "" && !h.lock:
		refuseText(w, http.StatusBadRequest, "InvalidRequest", "Bucket is missing Object Lock Configuration")
		return
	case v.mode != "" && !v.until.After(h.clock()):
		refuse(w, http.StatusBadRequest, "InvalidArgument")
		return
	case v.mode == "" && h.standard != "":
		days, _ := strconv.Atoi(h.standard)
		v.mode, v.until = "GOVERNANCE", h.clock().AddDate(0, 0, days)
	}
	v.data = body
	h.add(key, v)
	w.Header().Set("ETag", v.etag())
	w.Header().Set("X-Amz-Version-Id", v.id)
}

func (h *history) add(key string, v *fakeVersion) {
	h.next++
	v.id, v.time = fmt.Sprintf("v%d", h.next), h.clock()
	h.versions[key] = append(h.versions[key], v)
}

func refuseText(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, text)
}

func (h *history) delete(w http.ResponseWriter, key, id string, v *fakeVersion) {
	switch {
	case strings.Contains(h.denied, "delete"):
		refuseText(w, http.StatusForbidden, "AccessDenied", "Access Denied")
		return
	case id == "":
		h.add(key, &fakeVersion{marker: true})
		w.Header().Set("X-Amz-Delete-Marker", "true")
	case v == nil: // Amazon takes it for done
	case v.until.After(h.clock()):
		text := "Access Denied because object protected by object lock."
		if h.mute {
			text = "Access Denied"
		}
		refuseText(w, http.StatusForbidden, "AccessDenied", text)
		return
	default:
		h.versions[key] = slices.DeleteFunc(h.versions[key], func(o *fakeVersion) bool { return o == v })
		if len(h.versions[key]) == 0 {
			delete(h.versions, key)
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *history) retain(w http.ResponseWriter, v *fakeVersion, body []byte) {
	var ask struct {
		Mode            string
		RetainUntilDate time.Time
	}
	switch err := xml.Unmarshal(body, &ask); {
	case err != nil:
		refuse(w, http.StatusBadRequest, "MalformedXML")
	case v == nil:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	case v.marker:
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
	case !h.lock:
		refuseText(w, http.StatusBadRequest, "InvalidRequest", "Bucket is missing Object Lock Configuration")
	case v.until.After(h.clock()) && (ask.RetainUntilDate.Before(v.until) || v.mode == "COMPLIANCE" && ask.Mode != v.mode):
		refuseText(w, http.StatusForbidden, "AccessDenied", "Access Denied because object protected by object lock.")
	default:
		v.mode, v.until = ask.Mode, ask.RetainUntilDate
	}
}

func (h *history) retention(w http.ResponseWriter, v *fakeVersion) {
	switch {
	case v == nil:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	case v.marker:
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
	case !h.lock:
		refuseText(w, http.StatusBadRequest, "InvalidRequest", "Bucket is missing Object Lock Configuration")
	case v.mode == "":
		refuse(w, http.StatusNotFound, "NoSuchObjectLockConfiguration")
	default:
		fmt.Fprintf(w, "<Retention><Mode>%s</Mode><RetainUntilDate>%s</RetainUntilDate></Retention>", v.mode, v.until.UTC().Format(time.RFC3339))
	}
}

// list answers ListObjectVersions: keys in order, of each the newest version first.
func (h *history) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, err := strconv.Atoi(q.Get("max-keys"))
	if err != nil || limit > 1000 {
		limit = 1000
	}
	var keys []string
	for key := range h.versions {
		if strings.HasPrefix(key, q.Get("prefix")) && key >= q.Get("key-marker") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var body strings.Builder
	lastKey, lastID, n, truncated := "", "", 0, false
	for _, key := range keys {
		list := slices.Clone(h.versions[key])
		slices.Reverse(list)
		if key == q.Get("key-marker") {
			at := slices.IndexFunc(list, func(v *fakeVersion) bool { return v.id == q.Get("version-id-marker") })
			if at < 0 {
				continue // without a version: behind the key
			}
			list = list[at+1:]
		}
		for i, v := range list {
			if n == limit {
				truncated = true
				break
			}
			kind, size := "Version", fmt.Sprintf("<Size>%d</Size><ETag>%s</ETag>", len(v.data), v.etag())
			if v.marker {
				kind, size = "DeleteMarker", ""
			}
			fmt.Fprintf(&body, "<%s><Key>%s</Key><VersionId>%s</VersionId><IsLatest>%v</IsLatest><LastModified>%s</LastModified>%s</%s>",
				kind, escaped(key), v.id, i == 0, v.time.UTC().Format("2006-01-02T15:04:05.000Z"), size, kind)
			lastKey, lastID = key, v.id
			n++
		}
	}
	fmt.Fprintf(w, "<ListVersionsResult><IsTruncated>%v</IsTruncated>", truncated)
	if truncated {
		fmt.Fprintf(w, "<NextKeyMarker>%s</NextKeyMarker><NextVersionIdMarker>%s</NextVersionIdMarker>", escaped(lastKey), lastID)
	}
	fmt.Fprintf(w, "%s</ListVersionsResult>", body.String())
}

func escaped(key string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(key)) // a strings.Builder takes all
	return b.String()
}
