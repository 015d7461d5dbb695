package tests

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/tests/nasty"
	"cairn/tests/treecmp"
)

// TestSoak lives with an archive of 2+1 members for CAIRN_SOAK (`make soak`): it changes a nasty tree, kills a
// backup at a random moment, backs up again, reads everything, restores and compares; from time to time the
// cache disappears or a member stays away. What it did follows from the seed that it prints.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("CAIRN_SOAK"))
	if err != nil {
		t.Skip("runs with CAIRN_SOAK=1h, as `make soak` does")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := newSoak(t, seed)
	end := time.Now().Add(length)
	round := 0
	for ; time.Now().Before(end) && !t.Failed(); round++ {
		s.round(round)
	}
	t.Logf("%d rounds, %d backups killed", round, s.killed)
}

type soak struct {
	t       *testing.T
	rnd     *rand.Rand
	top     string
	cairn   string
	members []string
	took    time.Duration // of the last whole backup
	killed  int
}

func newSoak(t *testing.T, seed uint64) *soak {
	t.Helper()
	s := &soak{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), top: t.TempDir(), took: time.Second}
	s.cairn = s.at("cairn")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", s.cairn, "cairn/cmd/cairn").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if _, err := nasty.Build(s.at("tree"), nasty.Options{Seed: seed, Small: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := nasty.Remove(s.at("tree")); err != nil {
			t.Error(err)
		}
	})
	s.must(os.Mkdir(s.at("tree/changing"), 0o755))
	s.members = []string{s.at("a"), s.at("b"), s.at("c")}
	s.run(append([]string{"init", "--data", "2", "--parity", "1"}, s.members...)...)
	return s
}

func (s *soak) at(name string) string { return filepath.Join(s.top, name) }

func (s *soak) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *soak) command(ctx context.Context, arguments ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, s.cairn, arguments...)
	c.Env = append(os.Environ(), "HOME="+s.top, "CAIRN_CACHE_DIR="+s.at("cache"), "CAIRN_PASSWORD=soak", "CAIRN_ARCHIVE="+strings.Join(s.members, ","))
	return c
}

// run runs cairn to its end; a normal user's exit 3 (unreadable files) is as good as 0.
func (s *soak) run(arguments ...string) {
	s.t.Helper()
	out, err := s.command(context.Background(), arguments...).CombinedOutput()
	if err != nil && (os.Geteuid() == 0 || err.Error() != "exit status 3") {
		s.t.Fatalf("cairn %v: %v\n%s", arguments, err, out)
	}
}

func (s *soak) round(n int) {
	for range 1 + s.rnd.IntN(20) {
		s.change()
	}
	if s.rnd.IntN(4) == 0 {
		s.must(os.RemoveAll(s.at("cache")))
	}
	s.kill()
	began := time.Now()
	s.run("backup", s.at("tree"))
	s.took = time.Since(began)
	away := ""
	if s.rnd.IntN(3) == 0 {
		away = s.members[s.rnd.IntN(len(s.members))]
		s.must(os.Rename(away, away+" away"))
	} else {
		s.run("check", "--read-data")
	}
	target := s.at(fmt.Sprintf("restored-%d", n))
	s.run("restore", "latest", "--to", target)
	o := treecmp.Options{}
	if os.Geteuid() != 0 {
		o = treecmp.Options{IgnoreOwner: true, IgnoreUnreadable: true}
	}
	list, err := treecmp.List(s.at("tree"), filepath.Join(target, s.at("tree")), o)
	s.must(err)
	for _, d := range list {
		s.t.Errorf("round %d: %v", n, d)
	}
	s.must(nasty.Remove(target))
	if away != "" {
		s.must(os.Rename(away+" away", away))
	}
}

// kill ends a backup hard at a random moment of it; that it had finished before is no matter.
func (s *soak) kill() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(s.rnd.Int64N(int64(s.took)+1)))
	defer cancel()
	if err := s.command(ctx, "backup", s.at("tree")).Run(); err != nil && ctx.Err() != nil {
		s.killed++
	}
}

// change does one thing to one of 200 files: written anew, a few bytes inserted, renamed, truncated or removed.
func (s *soak) change() {
	name := s.at(fmt.Sprintf("tree/changing/%d", s.rnd.IntN(200)))
	old, err := os.ReadFile(name)
	if err != nil || s.rnd.IntN(4) == 0 {
		s.must(os.WriteFile(name, s.random(s.rnd.IntN(3<<20)), 0o644))
		return
	}
	switch at := s.rnd.IntN(len(old) + 1); s.rnd.IntN(4) {
	case 0:
		s.must(os.Remove(name))
	case 1:
		s.must(os.Truncate(name, int64(at)))
	case 2:
		s.must(os.Rename(name, s.at(fmt.Sprintf("tree/changing/%d", s.rnd.IntN(200)))))
	default:
		s.must(os.WriteFile(name, append(old[:at:at], append(s.random(7), old[at:]...)...), 0o644))
	}
}

func (s *soak) random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.rnd.Uint32())
	}
	return b
}
