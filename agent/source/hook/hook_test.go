package hook

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"cairn/agent/process"
	"cairn/agent/source"
	"cairn/agent/source/paper"
)

// A6, A9: what a hook did is noted: done, skipped, failed, too late; and what it said, without secrets.
func TestRun(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hidden\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func() time.Time { return time.Unix(1, 0) }
	for name, c := range map[string]struct {
		hook source.Hook
		want paper.Hook
		is   error
	}{
		"done":    {source.Hook{Shell: "echo out; echo $TOLD >&2"}, paper.Hook{Outcome: Done, Stderr: "out\nword\n"}, nil},
		"program": {source.Hook{Run: source.Run{Args: []string{"printenv", "A"}, Env: map[string]string{"A": "b c"}}}, paper.Hook{Outcome: Done, Stderr: "b c\n"}, nil},
		"secret": {source.Hook{Run: source.Run{Args: []string{"sh", "-c", "echo $PW; exit 4"}, Secrets: map[string]source.Secret{"PW": {File: secret}}}},
			paper.Hook{Outcome: Failed, ExitCode: 4, Stderr: "***\n", Error: "command sh -c echo $PW; exit 4 ended with exit status 4: ***"}, nil},
		"no secret": {source.Hook{Run: source.Run{Args: []string{"true"}, Secrets: map[string]source.Secret{"PW": {File: secret + "x"}}}},
			paper.Hook{Outcome: Failed, ExitCode: -1, Error: "PW: secret from file " + secret + "x: lstat " + secret + "x: no such file or directory"}, os.ErrNotExist},
		"skipped":    {source.Hook{Shell: "echo not now; exit 75"}, paper.Hook{Outcome: Skipped, ExitCode: 75, Stderr: "not now\n", Error: "ended with exit status 75: skipped: not now"}, ErrSkip},
		"failed":     {source.Hook{Shell: "echo no; exit 1"}, paper.Hook{Outcome: Failed, ExitCode: 1, Stderr: "no\n", Error: "command echo no; exit 1 ended with exit status 1: no"}, nil},
		"no program": {source.Hook{Run: source.Run{Args: []string{"/no/such"}}}, paper.Hook{Outcome: Failed, ExitCode: -1, Error: "command /no/such could not be started: there is no such program, or not the interpreter that its first line names"}, os.ErrNotExist},
		"too late": {source.Hook{Shell: "echo begun; sleep 100 & wait", Timeout: 300 * time.Millisecond},
			paper.Hook{Outcome: TimedOut, ExitCode: -1, Stderr: "begun\n", Error: "did not end within 300ms"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.hook.Name = "h"
			c.want.Stage, c.want.Name, c.want.Began, c.want.Ended = "before", "h", at(), at()
			var said bytes.Buffer
			got, err := Run(t.Context(), "before", &c.hook, Options{Env: []string{"TOLD=word"}, Stderr: &said, Now: at})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			var e *Error
			if (err == nil) != (c.want.Outcome == Done) || err != nil && !errors.As(err, &e) || c.is != nil && !errors.Is(err, c.is) {
				t.Error(err)
			}
			if said.String() != c.want.Stderr {
				t.Errorf("%q", said.String())
			}
		})
	}
}

func TestAll(t *testing.T) {
	t.Parallel()
	hooks := []source.Hook{{Name: "a", Shell: "true"}, {Name: "b", Shell: "exit 1"}, {Name: "c", Shell: "true"}}
	for always, want := range map[bool]string{false: "a done b failed c not run", true: "a done b failed c done"} {
		told := 0
		all, err := All(t.Context(), "finally", hooks, always, Options{}, func(paper.Hook) { told++ })
		var got []string
		for _, h := range all {
			got = append(got, h.Name, h.Outcome)
		}
		if err == nil || strings.Join(got, " ") != want || told != map[bool]int{false: 2, true: 3}[always] {
			t.Errorf("%v %v, told of %d", got, err, told)
		}
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"token": "abc", "password": "p:w"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
		}
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		w.WriteHeader(max(status, 200))
		fmt.Fprintf(w, "%s %s %s %s", r.Method, body, r.Header.Get("Authorization"), r.Header.Get("X-A"))
	}))
	defer server.Close()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	token, password := &source.Secret{File: dir + "/token"}, &source.Secret{File: dir + "/password"}
	for name, c := range map[string]struct {
		r          source.Request
		said, fail string
	}{
		"token":      {source.Request{URL: "/", Token: token, CA: ca}, "POST  Bearer abc ", ""},
		"password":   {source.Request{URL: "/", User: "me", Password: password, CA: ca, Method: "PUT", Body: "x", Headers: map[string]string{"X-A": "1"}}, "PUT x Basic bWU6cDp3 1", ""},
		"status":     {source.Request{URL: "/?status=404", CA: ca, Token: token}, "POST  Bearer *** ", "404 Not Found: POST Bearer ***"},
		"allowed":    {source.Request{URL: "/?status=404", CA: ca, Status: []int{404}}, "POST   ", ""},
		"not":        {source.Request{URL: "/?status=200", CA: ca, Status: []int{204}}, "POST   ", "200 OK"},
		"unknown CA": {source.Request{URL: "/"}, "", "certificate signed by unknown authority"},
		"no CA":      {source.Request{URL: "/", CA: dir + "/token"}, "", "has no certificate"},
		"slow":       {source.Request{URL: "/slow", CA: ca, Timeout: 200 * time.Millisecond}, "", "did not end within 200ms"},
	} {
		c.r.URL = server.URL + c.r.URL
		done, err := Run(t.Context(), "after", &source.Hook{Name: "h", HTTP: &c.r}, Options{})
		if (err == nil) != (c.fail == "") || err != nil && !strings.Contains(err.Error(), c.fail) || done.Stderr != c.said {
			t.Errorf("%s: %q %v", name, done.Stderr, err)
		}
	}
}

// A18: guards hold, or say why not: a process by its name or that of its script, ports, pid files, locks of both kinds, names that must not exist.
func TestGuards(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return name
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := closed.Addr().String()
	_ = closed.Close()
	script := put("cairn-test-gc.sh", "#!/bin/sh\nread x\n")
	for _, cmd := range []*exec.Cmd{exec.Command(script), exec.Command("/bin/sh", script)} {
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = in.Close(); _ = cmd.Wait() }()
	}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	flock, posix := put("flock", ""), put("posix", "")
	for name, take := range map[string]func(fd uintptr) error{
		flock: func(fd uintptr) error { return unix.Flock(int(fd), unix.LOCK_EX) },
		posix: func(fd uintptr) error {
			return unix.FcntlFlock(fd, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 5, Len: 1})
		},
	} {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := take(f.Fd()); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		g   source.Guard
		why string
	}{
		{source.Guard{NotRunning: "cairn-test-gc.sh"}, "cairn-test-gc.sh is running (process"},
		{source.Guard{NotRunning: "cairn-test-other"}, ""},
		{source.Guard{PortClosed: listener.Addr().String()}, "somebody answers at 127.0.0.1:"},
		{source.Guard{PortClosed: free}, ""},
		{source.Guard{PortOpen: listener.Addr().String()}, ""},
		{source.Guard{PortOpen: free}, "nobody answers at"},
		{source.Guard{PortClosed: "no such host.invalid:1"}, "it cannot be told"},
		{source.Guard{PIDFile: put("pid", fmt.Sprintf("%d\n", os.Getpid()))}, fmt.Sprintf("process %d of", os.Getpid())},
		{source.Guard{PIDFile: put("old.pid", fmt.Sprint(ended.Process.Pid))}, ""},
		{source.Guard{PIDFile: put("bad.pid", "x")}, "holds no number"},
		{source.Guard{PIDFile: dir + "/none"}, ""},
		{source.Guard{LockFile: flock}, "is locked"},
		{source.Guard{LockFile: posix}, "is locked"},
		{source.Guard{LockFile: put("unlocked", "")}, ""},
		{source.Guard{LockFile: dir + "/none"}, ""},
		{source.Guard{Absent: posix}, "is there"},
		{source.Guard{Absent: dir + "/none"}, ""},
		{source.Guard{Absent: posix + "/below"}, ""},
	} {
		unmet := Guards(t.Context(), []source.Guard{c.g})
		if (len(unmet) == 0) != (c.why == "") || len(unmet) > 0 && !strings.Contains(unmet[0].Why, c.why) {
			t.Errorf("%+v: %v", c.g, unmet)
		}
	}
}

// The arguments of an error are what the user wrote, and it can be told from others.
func TestErrorsKeepTheirKind(t *testing.T) {
	t.Parallel()
	_, err := Run(t.Context(), "before", &source.Hook{Name: "stop", Shell: "exit 9"}, Options{})
	var failed *process.Error
	if !errors.As(err, &failed) || failed.ExitCode != 9 || err.Error() != "before hook stop: command exit 9 ended with exit status 9" {
		t.Error(err)
	}
	_, err = Run(t.Context(), "before", &source.Hook{Name: "stop", Shell: "sleep 9", Timeout: time.Millisecond}, Options{})
	var late *TimeoutError
	if !errors.As(err, &late) {
		t.Error(err)
	}
}
