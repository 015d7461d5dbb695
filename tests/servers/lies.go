package servers

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memoryMax bounds what a proxy remembers, in bytes of bodies.
const memoryMax = 32 << 20

// memory holds the first answers to reads.
type memory struct {
	answers map[string]answer
	size    int
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) write(w http.ResponseWriter) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that is gone needs none
}

// question is what makes two requests the same.
func question(r *http.Request) string {
	return r.Method + " " + r.URL.RequestURI() + " " + r.Header.Get("Range")
}

func (p *Proxy) remembered(r *http.Request) (answer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.memory == nil {
		return answer{}, false
	}
	a, ok := p.memory.answers[question(r)]
	return a, ok
}

// remember keeps the answer to a request if it is the first. It may read the body, and then replaces it by the copy.
func (p *Proxy) remember(r *http.Request, resp *http.Response) {
	p.mu.Lock()
	m := p.memory
	known := false
	if m != nil {
		_, known = m.answers[question(r)]
		known = known || m.size > memoryMax
	}
	p.mu.Unlock()
	if m == nil || known || length(resp) > 1<<20 {
		return
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
		return
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	p.mu.Lock()
	defer p.mu.Unlock()
	m.answers[question(r)] = answer{resp.StatusCode, resp.Header.Clone(), body}
	m.size += len(body)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// lie changes a good answer as the fault says. Answers without a body, and listings, are left alone.
func (p *Proxy) lie(resp *http.Response, q Request, f Faults) error {
	n := length(resp)
	if q.Method != http.MethodGet || resp.StatusCode/100 != 2 || n <= 0 {
		return nil
	}
	switch f.Do {
	case Flip:
		resp.Body = &flip{resp.Body, p.random(n), byte(1 << p.random(8))}
	case Short:
		resp.Header.Set("Content-Length", strconv.FormatInt(n/2, 10))
		resp.Body = limited{io.LimitReader(resp.Body, n/2), resp.Body}
		if old := resp.Header.Get("Content-Range"); old != "" {
			from, _, _, err := contentRange(old, n)
			if err != nil {
				return err
			}
			resp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+n/2-1, from+n/2))
		}
	case Swap:
		return p.swap(resp, q, n)
	}
	return nil
}

type limited struct {
	io.Reader
	io.Closer
}

// flip changes one bit.
type flip struct {
	io.ReadCloser
	at  int64
	bit byte
}

func (f *flip) Read(b []byte) (int, error) {
	n, err := f.ReadCloser.Read(b)
	if f.at >= 0 && f.at < int64(n) {
		b[f.at] ^= f.bit
	}
	f.at -= int64(n)
	return n, err
}

// contentRange reads "bytes 0-99/1000"; without it, the body is the whole object.
func contentRange(header string, n int64) (from, to, size int64, err error) {
	if header == "" {
		return 0, n - 1, n, nil
	}
	if _, err = fmt.Sscanf(header, "bytes %d-%d/%d", &from, &to, &size); err != nil {
		err = fmt.Errorf("content range %q: %w", header, err)
	}
	return from, to, size, err
}

// swap gives the same range of another object of the same size below the same top directory. If there is none, the answer stays.
func (p *Proxy) swap(resp *http.Response, q Request, n int64) error {
	from, _, size, err := contentRange(resp.Header.Get("Content-Range"), n)
	if err != nil {
		return err
	}
	others, err := Twins(p.server.Dir(), q.Key, size)
	if err != nil || len(others) == 0 {
		return err
	}
	f, err := os.Open(filepath.Join(p.server.Dir(), others[p.random(int64(len(others)))]))
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	resp.Body = limited{io.NewSectionReader(f, from, n), f}
	return nil
}

// Twins are the other objects of an object's kind and size in a server's directory.
func Twins(dir, key string, size int64) (list []string, err error) {
	kind := Request{Key: key}.Kind()
	err = filepath.WalkDir(filepath.Join(dir, kind), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if other := strings.TrimPrefix(filepath.ToSlash(name[len(dir):]), "/"); info.Size() == size && other != key {
			list = append(list, other)
		}
		return nil
	})
	return list, err
}
