package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The end-to-end tests build the program once and use it as a person would: by its command line, its exit codes, and
// what it leaves on the disk. Each has a HOME, a cache and an archive of its own. They begin here.

// builds is where the programs are built; TestMain removes it.
var builds string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "cairn-tests")
	if err == nil {
		err = os.Chmod(dir, 0o755) // other users run what is in it
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	builds = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// program is cairn; the others are what tests run as another user.
var program, plantProgram, compareProgram = built("cmd/cairn"), built("tests/nasty/cmd/nasty"), built("tests/treecmp/cmd/treecmp")

// built returns a function that builds a command, with build tags, on first use and says where it is.
func built(pkg string, tags ...string) func(testing.TB) string {
	build := sync.OnceValues(func() (string, error) {
		if err := lookAtSources(); err != nil {
			return "", err
		}
		name := filepath.Join(builds, strings.Join(append(tags, filepath.Base(pkg)), "-"))
		out, err := exec.Command("go", "build", "-buildvcs=false", "-tags", strings.Join(tags, ","), "-o", name, "cairn/"+pkg).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
		return name, nil
	})
	return func(t testing.TB) string {
		t.Helper()
		name, err := build()
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
}

// lookAtSources stats every Go file: go test notes which files a test looks at, and runs it again instead of showing
// a cached result when one of them has changed. What `go build` looks at it does not see.
var lookAtSources = sync.OnceValue(func() error {
	return filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(name, ".go") || d.Name() == "go.mod") {
			_, err = os.Stat(name)
		}
		if err == nil && d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		return err
	})
})

// tempDir is t.TempDir for directories that other users may enter too.
func tempDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != filepath.Dir(os.TempDir()) && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// machine is one computer with one user: a HOME with cache and settings, and a key.
type machine struct {
	t    testing.TB
	dir  string // everything of it is below, archives too
	env  []string
	user *syscall.Credential // nil: who runs the tests
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	m := &machine{t: t, dir: tempDir(t)}
	if err := os.Mkdir(m.path("home"), 0o755); err != nil {
		t.Fatal(err)
	}
	return m.with("HOME=" + m.path("home"))
}

// newUser is a machine of a normal user, also when root runs the tests.
func newUser(t testing.TB) *machine {
	t.Helper()
	m := newMachine(t)
	if os.Geteuid() != 0 {
		return m
	}
	m.user = &syscall.Credential{Uid: nobody, Gid: nobody}
	for _, dir := range []string{m.dir, m.path("home")} {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

const nobody = 65534

func (m *machine) path(elements ...string) string {
	return filepath.Join(append([]string{m.dir}, elements...)...)
}

// with is the same machine with other variables.
func (m *machine) with(env ...string) *machine {
	other := *m
	other.env = slices.Concat(m.env, env)
	return &other
}

// init makes an archive of k data and p parity members below the machine's directory and uses it from then on.
func (m *machine) init(k, p int) []string {
	m.t.Helper()
	var members []string
	for i := range k + p {
		members = append(members, m.path(fmt.Sprintf("member%d", i)))
	}
	m.ok(append([]string{"init", "--data", fmt.Sprint(k), "--parity", fmt.Sprint(p), "--new-key-file", m.path("key")}, members...)...)
	m.use(m.path("key"), members...)
	return members
}

// use sets the archive and its key.
func (m *machine) use(key string, members ...string) {
	m.env = append(m.env, "CAIRN_KEY_FILE="+key, "CAIRN_ARCHIVE="+strings.Join(members, ","))
}

// patience ends commands that hang.
const patience = 5 * time.Minute

func (m *machine) command(arguments ...string) *exec.Cmd {
	m.t.Helper()
	return m.other(program(m.t), arguments...)
}

// other is a command that is not cairn, in the same surroundings.
func (m *machine) other(name string, arguments ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	m.t.Cleanup(cancel)
	c := exec.CommandContext(ctx, name, arguments...)
	c.Dir = m.dir
	c.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "CAIRN_") || strings.HasPrefix(v, "XDG_") || strings.HasPrefix(v, "HOME=")
	}), m.env...)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: m.user}
	return c
}

// result is what a command left behind.
type result struct {
	t              testing.TB
	command        string
	stdout, stderr string
	code           int
	took           time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("%s: exit %d after %v\nstdout: %s\nstderr: %s", r.command, r.code, r.took.Round(time.Millisecond), shorten(r.stdout), shorten(r.stderr))
}

func shorten(s string) string {
	if len(s) <= 4000 {
		return s
	}
	return s[:2000] + "\n…\n" + s[len(s)-2000:]
}

// run runs cairn to its end.
func (m *machine) run(arguments ...string) result {
	m.t.Helper()
	return finish(m.t, m.command(arguments...))
}

func finish(t testing.TB, c *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stderr = &stderr
	if c.Stdout == nil {
		c.Stdout = &stdout
	}
	start := time.Now()
	err := c.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{t, "cairn " + strings.Join(c.Args[1:], " "), stdout.String(), stderr.String(), c.ProcessState.ExitCode(), time.Since(start)}
}

// must runs cairn and demands an exit code.
func (m *machine) must(code int, arguments ...string) result {
	m.t.Helper()
	r := m.run(arguments...)
	if r.code != code {
		m.t.Fatalf("exit code %d expected: %v", code, r)
	}
	return r
}

func (m *machine) ok(arguments ...string) result {
	m.t.Helper()
	return m.must(0, arguments...)
}

// object is one line of JSON.
type object map[string]any

func (o object) text(key string) string { s, _ := o[key].(string); return s }

// number is a counter; a missing one is -1, which no counter is.
func (o object) number(key string) int64 {
	if f, ok := o[key].(float64); ok {
		return int64(f)
	}
	return -1
}

// lines are the objects that were printed, one a line.
func (r result) lines() []object {
	r.t.Helper()
	var list []object
	for line := range strings.Lines(r.stdout) {
		var o object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			r.t.Fatalf("not a line of JSON: %v: %q in %v", err, line, r)
		}
		if o.text("type") == "" {
			r.t.Errorf("JSON without a type: %q in %v", line, r)
		}
		list = append(list, o)
	}
	return list
}

// of are the objects of one type.
func (r result) of(kind string) []object {
	r.t.Helper()
	return slices.DeleteFunc(r.lines(), func(o object) bool { return o.text("type") != kind })
}

// one is the only object of its type.
func (r result) one(kind string) object {
	r.t.Helper()
	list := r.of(kind)
	if len(list) != 1 {
		r.t.Fatalf("%d objects of type %s instead of one: %v", len(list), kind, r)
	}
	return list[0]
}

// says demands texts somewhere in what was printed.
func (r result) says(texts ...string) result {
	r.t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.stdout+r.stderr, text) {
			r.t.Errorf("%q is not said by %v", text, r)
		}
	}
	return r
}

// backup backs paths up and returns the report.
func (m *machine) backup(arguments ...string) object {
	m.t.Helper()
	return m.ok(append([]string{"backup", "--json"}, arguments...)...).one("backup")
}

// check demands that everything in the archive is whole.
func (m *machine) check() object {
	m.t.Helper()
	return m.ok("check", "--read-data", "--json").one("check")
}
