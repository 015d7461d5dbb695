package fedora

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cairn/remote"
)

// say answers with a text, as Fedora does.
func (s *Server) say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // the client may be gone
}

func (s *Server) hello(w http.ResponseWriter, _ *http.Request) {
	s.say(w, http.StatusOK, "POST fcr:backup or fcr:restore\n")
}

// named reads the directory that a request names. there is false when it has no body at all.
func (s *Server) named(w http.ResponseWriter, r *http.Request) (dir string, there, ok bool) {
	if !s.known(r.PathValue("source")) {
		s.say(w, http.StatusNotFound, "there is no source "+r.PathValue("source")+" here")
		return "", false, false
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // a test's writer has none
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		s.say(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is the path of a directory, in at most %d bytes", maxBody))
		return "", false, false
	case err != nil:
		s.say(w, http.StatusBadRequest, "the body did not come")
		return "", false, false
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // a job takes as long as it takes
	return strings.TrimSpace(string(body)), len(body) > 0 || r.Header.Get("Content-Type") != "", true
}

// problem is a text of Fedora's with the reason that it does not give.
func problem(text, dir, why string) string {
	if why != "" {
		why = "\n" + why
	}
	return text + ": " + dir + why
}

func (s *Server) backup(w http.ResponseWriter, r *http.Request) {
	dir, _, ok := s.named(w, r)
	if !ok {
		return
	}
	made := ""
	if dir != "" {
		canonical, why := s.inside(dir)
		if why == "" {
			why = empty(canonical)
		}
		if why != "" {
			s.say(w, http.StatusInternalServerError, problem("Backup directory does not exist or is not writable", absolute(dir), why))
			return
		}
		dir = canonical
	}
	name := r.PathValue("source")
	s.job(w, r, "backup", func(ctx context.Context) error {
		if dir == "" {
			var err error
			if made, err = os.MkdirTemp(s.root, fmt.Sprint(time.Now().UnixMilli(), "-")); err != nil {
				return err
			}
			dir = made
		}
		err := s.backend.Backup(ctx, name, dir)
		if err != nil && made != "" {
			err = errors.Join(err, os.RemoveAll(made))
		}
		return err
	}, func() { s.say(w, http.StatusOK, dir) })
}

func (s *Server) restore(w http.ResponseWriter, r *http.Request) {
	dir, there, ok := s.named(w, r)
	switch {
	case !ok:
		return
	case !s.o.AllowRestore:
		s.say(w, http.StatusForbidden, "restores are not allowed here: they replace what there is. The server has to be started with --allow-restore")
		return
	case !there:
		s.say(w, http.StatusInternalServerError, "Request body must not be null")
		return
	case dir == "":
		s.say(w, http.StatusInternalServerError, problem("Backup directory does not exist", s.root, ""))
		return
	}
	canonical, why := s.inside(dir)
	if why != "" {
		s.say(w, http.StatusInternalServerError, problem("Backup directory does not exist", absolute(dir), why))
		return
	}
	name := r.PathValue("source")
	s.job(w, r, "restore", func(ctx context.Context) error { return s.backend.Restore(ctx, name, canonical) },
		func() { w.WriteHeader(http.StatusNoContent) })
}

// job runs one, if none is at work, and answers when it has ended.
func (s *Server) job(w http.ResponseWriter, r *http.Request, what string, run func(context.Context) error, done func()) {
	if status, why := s.begin(what); why != "" {
		s.say(w, status, why)
		return
	}
	defer s.leave()
	start := time.Now()
	s.o.Log("%s begins, for %s", what, r.RemoteAddr)
	err := run(s.ctx)
	if err != nil {
		s.o.Log("%s failed after %s: %v", what, time.Since(start).Round(time.Second), err)
		text := err.Error()
		if next := remote.Hint(err); next != "" {
			text += "\nhint: " + next
		}
		s.say(w, http.StatusInternalServerError, text)
		return
	}
	s.o.Log("%s done in %s", what, time.Since(start).Round(time.Second))
	done()
}

func (s *Server) begin(what string) (int, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return http.StatusServiceUnavailable, "the server is about to end"
	case s.busy != "":
		return http.StatusConflict, fmt.Sprintf("a %s is at work since %s", s.busy, s.since.Format(time.RFC3339))
	}
	s.busy, s.since = what, time.Now()
	s.jobs.Add(1)
	return 0, ""
}

func (s *Server) leave() {
	s.mu.Lock()
	s.busy = ""
	s.mu.Unlock()
	s.jobs.Done()
}

func absolute(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// resolve returns the canonical path of a directory.
func resolve(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("no directory is named")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", err
	}
	info, err := os.Stat(abs)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: abs, Err: unix.ENOTDIR}
	}
	return abs, err
}

// inside returns the canonical path of a directory below the root, or why it is none. It does not tell what lies elsewhere.
func (s *Server) inside(dir string) (canonical, why string) {
	outside := "it must lie below " + s.root
	if !filepath.IsAbs(dir) || strings.ContainsRune(dir, 0) {
		return "", "the path is not absolute"
	}
	at, err := resolve(dir)
	if err == nil && at != s.root && strings.HasPrefix(at, strings.TrimSuffix(s.root, "/")+"/") {
		return at, ""
	}
	return "", outside
}

// empty says why a directory cannot take a backup.
func empty(dir string) string {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return err.Error()
	}
	f, err := os.Open(dir)
	if err != nil {
		return err.Error()
	}
	defer f.Close() // only read
	if names, _ := f.Readdirnames(1); len(names) > 0 {
		return "it is not empty: a backup does not replace another one"
	}
	return ""
}
