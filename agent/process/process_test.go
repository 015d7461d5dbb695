package process

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

func sh(script string) Command { return Command{Args: []string{"sh", "-c", script}} }

func TestOutput(t *testing.T) {
	t.Parallel()
	c := sh(`cat; echo "$X" >&2`)
	var said strings.Builder
	c.Stdin, c.Stderr, c.Env, c.Mask = strings.NewReader("in"), &said, []string{"X=a secret", "PATH=" + os.Getenv("PATH")}, []string{"secret", ""}
	out, err := Output(t.Context(), c, 10)
	if err != nil || string(out) != "in" || said.String() != "a ***\n" {
		t.Errorf("%q %q %v", out, said.String(), err)
	}
	if _, err := Output(t.Context(), sh("yes"), 100); err == nil || !strings.Contains(err.Error(), "more than 100 bytes") {
		t.Error(err)
	}
	if _, err := Output(t.Context(), Command{Args: []string{"/no/such"}}, 1); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A secret that comes in two halves is masked, too, in what is passed on and in the error.
func TestMask(t *testing.T) {
	t.Parallel()
	c := sh(`printf 'it is sec' >&2; sleep 0.1; printf 'ret' >&2; exit 2`)
	var said strings.Builder
	c.Mask, c.Stderr = []string{"secret"}, &said
	_, err := Output(t.Context(), c, 10)
	var failed *Error
	if !errors.As(err, &failed) || failed.ExitCode != 2 || failed.Stderr != "it is ***" || said.String() != "it is ***" {
		t.Errorf("%v, %q", err, said.String())
	}
}

// A source that breaks is not shown to the program as an end: `cat >file` would have taken the half for the whole.
func TestBrokenInput(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	file := t.TempDir() + "/done"
	c := sh("cat >/dev/null; touch " + file)
	c.Stdin = io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken))
	if _, err := Output(t.Context(), c, 10); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the program saw an end of its input")
	}
}

// Nor is a program believed that ends well before it has read all.
func TestUnfed(t *testing.T) {
	t.Parallel()
	c := sh("head -c 10 >/dev/null")
	c.Stdin = io.LimitReader(zeros{}, 10<<20)
	if _, err := Output(t.Context(), c, 10); !errors.Is(err, errUnfed) {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// Who stops reading, or cancels, ends the whole group, also those who do not listen.
func TestEnd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(cancel context.CancelFunc){"unread": func(context.CancelFunc) {}, "cancelled": func(c context.CancelFunc) { c() }} {
		ctx, cancel := context.WithCancel(t.Context())
		p, err := Start(ctx, sh("(trap '' TERM; sleep 100) & echo $!; exec sleep 100"))
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 20)
		n, err := p.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
		if err != nil {
			t.Fatal(err)
		}
		end(cancel)
		begin := time.Now()
		err = p.Wait()
		if want := map[string]error{"unread": errUnread, "cancelled": context.Canceled}[name]; !errors.Is(err, want) || time.Since(begin) > 2*Grace {
			t.Errorf("%s: %v after %v", name, err, time.Since(begin))
		}
		for tries := 0; alive(pid); tries++ {
			if tries == 100 {
				t.Fatalf("%s: process %d is still there", name, pid)
			}
			time.Sleep(20 * time.Millisecond)
		}
		cancel()
	}
}

// alive does not count a dead process that nobody has waited for.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ") && syscall.Kill(pid, 0) == nil
}

// A child that keeps the messages open does not make a success of its parent a failure.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	out, err := Output(t.Context(), sh("(sleep 8 >/dev/null) & echo done"), 10)
	if err != nil || string(out) != "done\n" {
		t.Errorf("%q %v", out, err)
	}
}

// A program that starts a service ends well, at once, and the service goes on: its messages do not break it, during the run and after it.
func TestRunLeaves(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/alive"
	c := sh(`echo begun; (sleep 2; echo late; echo late; sleep 0.2; echo $$ >` + file + `; exec sleep 100) & echo $!; echo warned >&2`)
	begin := time.Now()
	ran, err := Run(t.Context(), c)
	if err != nil || !ran.Left || time.Since(begin) > 2*linger {
		t.Fatalf("%+v %v after %v", ran, err, time.Since(begin))
	}
	words := strings.Fields(ran.Said)
	if len(words) != 3 || words[0] != "begun" || words[2] != "warned" {
		t.Fatalf("%q", ran.Said)
	}
	pid, err := strconv.Atoi(words[1])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	for tries := 0; ; tries++ {
		if _, err := os.Stat(file); err == nil {
			break
		}
		if tries == 200 {
			t.Fatal("the service ended when nobody listened to it")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	c := sh("echo out; echo a secret >&2; exit 75")
	c.Mask = []string{"secret"}
	ran, err := Run(t.Context(), c)
	var failed *Error
	if !errors.As(err, &failed) || failed.ExitCode != 75 || ran.Said != "out\na ***\n" || ran.Left {
		t.Errorf("%+v %v", ran, err)
	}
	if _, err := Run(t.Context(), Command{Args: []string{"/no/such"}}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	// Nothing of one whose time is over lives on.
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errUnread)
	defer cancel()
	ran, err = Run(ctx, sh("(trap '' TERM; sleep 100) & echo $!; sleep 100"))
	if !errors.Is(err, errUnread) {
		t.Error(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(ran.Said))
	if err != nil {
		t.Fatal(err)
	}
	for tries := 0; alive(pid); tries++ {
		if tries == 100 {
			t.Fatalf("process %d is still there", pid)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// What went wrong is said in the words of people, without what a terminal would obey.
func TestMessages(t *testing.T) {
	t.Parallel()
	for text, err := range map[string]error{
		"command psql --sep=a ended with exit status 2: psql: error: connection refused": &Error{Args: []string{"psql", "--sep=a"}, ExitCode: 2,
			Stderr: "psql: error: connection refused\n\tIs the server running?\n"},
		`command x "a\x01b" was ended by killed`:                                  &Error{Args: []string{"x", "a\x01b"}, Signal: "killed"},
		"command " + strings.Repeat("y", maxShown) + "… ended with exit status 1": &Error{Args: []string{strings.Repeat("y", 500)}, ExitCode: 1},
	} {
		if err.Error() != text {
			t.Errorf("%q, not %q", err.Error(), text)
		}
	}
	for _, name := range []string{"/no/such/program", "no-such-program"} {
		_, err := Run(t.Context(), Command{Args: []string{name}})
		if err == nil || !strings.HasPrefix(err.Error(), "command "+name+" could not be started: there is no such program") || strings.Contains(err.Error(), "exec") {
			t.Error(err)
		}
	}
}
