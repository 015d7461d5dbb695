package tests

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/tests/servers"
)

// cluster is a machine with an archive over S3 servers, each of which can be killed, damaged, and made to misbehave by
// the proxy in front of it.
type cluster struct {
	*machine
	servers []*servers.Server
	proxies []*servers.Proxy // nil: the program talks to the servers
}

// newCluster makes an archive of k data and p parity members over as many servers.
func newCluster(t testing.TB, k, p int, proxied bool) *cluster {
	t.Helper()
	return newClusterWith(t, k, p, proxied, servers.Options{})
}

// newClusterWith is newCluster on servers of some kind, with more flags for init.
func newClusterWith(t testing.TB, k, p int, proxied bool, o servers.Options, flags ...string) *cluster {
	t.Helper()
	c := &cluster{machine: newMachine(t), servers: servers.StartWith(t, k+p, o)}
	c.env = append(c.env, c.servers[0].Env()...)
	if proxied {
		c.proxies = servers.NewProxies(t, c.servers, 1)
	}
	flags = append([]string{"init", "--data", fmt.Sprint(k), "--parity", fmt.Sprint(p), "--new-key-file", c.path("key")}, flags...)
	c.ok(append(flags, c.urls()...)...)
	c.use(c.path("key"), c.urls()...)
	return c
}

func (c *cluster) urls() (list []string) {
	for i, s := range c.servers {
		if c.proxies != nil {
			list = append(list, c.proxies[i].URL())
		} else {
			list = append(list, s.URL())
		}
	}
	return list
}

// dirs are where the servers keep the objects.
func (c *cluster) dirs() (list []string) {
	for _, s := range c.servers {
		list = append(list, s.Dir())
	}
	return list
}

// elsewhere is another machine that knows nothing but the archive and the key.
func (c *cluster) elsewhere() *cluster {
	c.t.Helper()
	other := *c
	other.machine = newMachine(c.t)
	other.env = append(other.env, c.servers[0].Env()...)
	other.use(c.path("key"), c.urls()...)
	return &other
}

// in is the cluster in a subtest.
func (c *cluster) in(t testing.TB) *cluster {
	other, m := *c, *c.machine
	m.t, other.machine = t, &m
	return &other
}

func (c *cluster) kill(list ...int) {
	for _, i := range list {
		c.servers[i].Kill()
	}
}

func (c *cluster) start(list ...int) {
	c.t.Helper()
	for _, i := range list {
		c.servers[i].Start()
	}
}

// host is what messages name a member by, whatever else of its address they show.
func (c *cluster) host(i int) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(c.urls()[i], "s3://"), "/")
	return host
}

// warns demands that the members are named in what was said to a person.
func (c *cluster) warns(r result, list ...int) {
	c.t.Helper()
	for _, i := range list {
		if !strings.Contains(r.stderr, c.host(i)) {
			c.t.Errorf("member %d, %s, is not named by %v", i, c.host(i), r)
		}
	}
	if len(list) > 0 && !strings.Contains(r.stderr, "warning") {
		c.t.Errorf("there is no warning: %v", r)
	}
}

// stored is how many bytes of packs the servers hold.
func (c *cluster) stored() (n int64) {
	for _, dir := range c.dirs() {
		if _, err := os.Stat(filepath.Join(dir, "binaries")); err == nil {
			n += packBytes(c.t, []string{dir})
		}
	}
	return n
}

// during runs cairn, does something in the middle, as soon as isTime says so, and demands that it was the middle: the command was
// still running afterwards. It returns how long the command went on.
func (c *cluster) during(isTime func() bool, do func(), arguments ...string) (r result, after time.Duration) {
	c.t.Helper()
	cmd := c.command(arguments...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // its ProcessState tells
	}()
	running := func(pause time.Duration) bool {
		select {
		case <-ended:
			return false
		case <-time.After(pause):
			return true
		}
	}
	for running(5*time.Millisecond) && !isTime() {
	}
	middle := time.Now()
	do()
	if !running(0) {
		c.t.Errorf("the command had ended before the middle of it: %v", arguments)
	}
	<-ended
	return result{c.t, "cairn " + strings.Join(arguments, " "), stdout.String(), stderr.String(), cmd.ProcessState.ExitCode(), time.Since(start)}, time.Since(middle)
}

// randomTree writes incompressible files of n bytes in all, so that what is stored can be compared with it, beside a few small ones.
func (c *cluster) randomTree(top string, n int) string {
	c.t.Helper()
	const size = 6 << 20
	tree := files{"small/empty": "", "small/link": "-> ../large/0", "small/a": "a", "small/b": string(random(top+"b", 3000))}
	for i := 0; n > 0; i++ {
		tree[fmt.Sprintf("large/%d", i)] = string(random(fmt.Sprint(top, i), min(n, size)))
		n -= size
	}
	return c.write(top, tree)
}

// soaking says whether the long variants of tests are to be run.
func soaking() bool { return os.Getenv("CAIRN_SOAK") != "" }

// soon fails when a command took longer than a person waits for an answer that is no.
func soon(t testing.TB, took time.Duration, r result) {
	t.Helper()
	if took > 60*time.Second {
		t.Errorf("%v passed before it was said: %v", took.Round(time.Second), r)
	}
}
