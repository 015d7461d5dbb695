package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"cairn/remote"
)

// composeFile is as much of the Compose specification as docker-compose.yml uses. Unknown keys fail the test: either they are a
// mistake, or they belong here.
type composeFile struct {
	Name     string                    `yaml:"name"`
	Server   map[string]any            `yaml:"x-server"`
	Services map[string]composeService `yaml:"services"`
	Volumes  map[string]any            `yaml:"volumes"`
}

type composeService struct {
	Image string `yaml:"image"`
	Build struct {
		Context string `yaml:"context"`
		Target  string `yaml:"target"`
	} `yaml:"build"`
	Environment map[string]string `yaml:"environment"`
	Healthcheck struct {
		Test     []string `yaml:"test"`
		Interval string   `yaml:"interval"`
		Timeout  string   `yaml:"timeout"`
		Retries  int      `yaml:"retries"`
	} `yaml:"healthcheck"`
	Restart  string   `yaml:"restart"`
	Profiles []string `yaml:"profiles"`
	Volumes  []string `yaml:"volumes"`
}

// TestCompose: the topology that README promises, and nothing that a fresh clone does not have.
func TestCompose(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var c composeFile
	if err := yaml.UnmarshalWithOptions(raw, &c, yaml.Strict()); err != nil {
		t.Fatal(yaml.FormatError(err, false, true))
	}
	targets := dockerStages(t)
	var servers []string
	volumes := map[string]string{}
	for name, s := range c.Services {
		if s.Image == "" || !pinned(s.Image) {
			t.Errorf("service %s: image %q is not pinned", name, s.Image)
		}
		if s.Build.Context != "." || !slices.Contains(targets, s.Build.Target) {
			t.Errorf("service %s: build %+v; the Dockerfile has %q", name, s.Build, targets)
		}
		if s.Build.Target != "s3" {
			continue
		}
		servers = append(servers, name)
		if len(s.Healthcheck.Test) == 0 || s.Environment["ROOT_ACCESS_KEY"] == "" || s.Environment["ROOT_SECRET_KEY"] == "" {
			t.Errorf("service %s: %+v", name, s)
		}
		volume, at, _ := strings.Cut(s.Volumes[0], ":")
		if _, defined := c.Volumes[volume]; !defined || at != "/data" || len(s.Volumes) != 1 {
			t.Errorf("service %s: volumes %q", name, s.Volumes)
		}
		if other, taken := volumes[volume]; taken {
			t.Errorf("services %s and %s share volume %s", name, other, volume)
		}
		volumes[volume] = name
	}
	if len(servers) != 6 {
		t.Errorf("%d S3 servers: %q", len(servers), servers)
	}
	checkComposeCairn(t, c.Services["cairn"], servers, c.Volumes)
	checkVariables(t, string(raw))
}

// checkComposeCairn: the archive has one bucket on each server, and both sides have the same keys.
func checkComposeCairn(t *testing.T, s composeService, servers []string, volumes map[string]any) {
	var hosts []string
	for _, member := range strings.Fields(s.Environment["CAIRN_ARCHIVE"]) {
		u, err := remote.ParseURL(member)
		if err != nil || u.Scheme != "s3" {
			t.Errorf("member %s: %v", member, err)
			continue
		}
		hosts = append(hosts, strings.TrimSuffix(u.Host, ":7070"))
	}
	slices.Sort(hosts)
	slices.Sort(servers)
	if !slices.Equal(hosts, servers) {
		t.Errorf("CAIRN_ARCHIVE names %q, the servers are %q", hosts, servers)
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "CAIRN_PASSWORD"} {
		if s.Environment[name] == "" {
			t.Errorf("service cairn has no %s", name)
		}
	}
	for _, v := range s.Volumes {
		name, _, _ := strings.Cut(v, ":")
		if _, defined := volumes[name]; !defined && !strings.HasPrefix(name, "${") {
			t.Errorf("service cairn: volume %s is not defined", v)
		}
	}
}

// pinned says whether an image names a version, not a moving tag.
func pinned(image string) bool {
	_, tag, ok := strings.Cut(image, ":")
	return ok && tag != "latest" && regexp.MustCompile(`^[0-9]`).MatchString(tag)
}

// checkVariables: each ${VARIABLE} has a default, so that nothing needs to be set.
func checkVariables(t *testing.T, text string) {
	all := regexp.MustCompile(`\$\{?[A-Za-z_][^}\s"]*\}?`).FindAllString(text, -1)
	good := regexp.MustCompile(`^\$\{[A-Z_]+:-[^}]+\}$`)
	for _, v := range all {
		if !good.MatchString(v) {
			t.Errorf("%s has no default", v)
		}
	}
	if len(all) == 0 {
		t.Error("no variables found")
	}
}

// dockerStages checks the Dockerfile's images and returns the names of its stages.
func dockerStages(t *testing.T) []string {
	raw, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var stages []string
	users := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 4 && f[0] == "FROM" && f[2] == "AS":
			if f[1] != "scratch" && !pinned(f[1]) && !slices.Contains(stages, f[1]) {
				t.Errorf("Dockerfile: %s is not pinned", f[1])
			}
			stages = append(stages, f[3])
		case len(f) > 0 && f[0] == "FROM":
			t.Errorf("Dockerfile: %q names no stage", line)
		case len(f) == 2 && f[0] == "USER":
			users[stages[len(stages)-1]] = !strings.HasPrefix(f[1], "0") && f[1] != "root"
		case len(f) > 1 && f[0] == "RUN" && strings.Contains(line, "go build") && !strings.Contains(line, "CGO_ENABLED=0") && !strings.Contains(line, "-extldflags -static"):
			t.Errorf("Dockerfile: %q is not static", line)
		}
	}
	for _, stage := range []string{"s3", "cairn"} {
		if !users[stage] {
			t.Errorf("Dockerfile: stage %s runs as root", stage)
		}
	}
	if stages[len(stages)-1] != "cairn" {
		t.Error("Dockerfile: the last stage, which is built when none is named, is not cairn")
	}
	return stages
}

// TestDockerGo: the image is built with a Go that go.mod accepts, and the server's version is that of its module.
func TestDockerGo(t *testing.T) {
	t.Parallel()
	dockerfile, compose := read(t, "../Dockerfile"), read(t, "../docker-compose.yml")
	var major, minor int
	if _, err := fmt.Sscanf(regexp.MustCompile(`(?m)^go .*`).FindString(read(t, "../go.mod")), "go %d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	for _, image := range regexp.MustCompile(`golang:(\S+)`).FindAllStringSubmatch(dockerfile, -1) {
		if !strings.HasPrefix(image[1], fmt.Sprintf("%d.%d.", major, minor)) {
			t.Errorf("Dockerfile builds with Go %s, go.mod says %d.%d", image[1], major, minor)
		}
	}
	version := regexp.MustCompile(`versity/versitygw v(\S+)`).FindStringSubmatch(read(t, filepath.Join("s3", "go.mod")))
	if version == nil || !strings.Contains(compose, "cairn-s3:"+version[1]) {
		t.Errorf("docker-compose.yml: the image's version is not that of tests/s3/go.mod, %q", version)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
