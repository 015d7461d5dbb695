package unit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/source"
)

const careful = `
source: shop
schedule: 30 2 * * *
classes: {log: {schedule: TZ=Europe/Berlin 0 4 1 * mon}}
parts:
  - mariadb: {databases: shop, password: {credential: shop-db}}
  - tree: {path: /srv/shop}
  - sqlite: {path: /var/lib/shop/s%s.db}
  - {class: log, tree: {path: /var/log/shop}}
hooks:
  before: [{run: [systemctl, stop, shop], timeout: 2m}]
  finally: [{shell: /bin/systemctl start shop, timeout: 5m}]
`

// risky starts a server in its hooks that is to go on running.
const risky = `
source: cms
parts: [{tree: {path: /srv/cms}}]
hooks:
  before: [{name: stop, run: [/srv/cms/cms.sh, -stop]}]
  finally: [{name: start, run: [/srv/cms/cms.sh, -start]}]
`

func units(t *testing.T, text string, o Options) []Unit {
	t.Helper()
	f, err := source.Parse("x.yaml", []byte(text), source.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := Units(f, o)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestUnits: B15, D6, E15: a run that was missed is made up for once, one that was stopped goes on with the next, and neither crowds out the application.
func TestUnits(t *testing.T) {
	t.Parallel()
	list := units(t, careful, Options{Program: "/usr/bin/cairn", File: "/home/me/my $x 100%.yaml", Archive: []string{"s3://s3.example/bucket"}, WritePath: []string{"/srv/archive"}})
	var names []string
	for _, u := range list {
		names = append(names, u.Name)
	}
	if d := cmp.Diff([]string{"cairn-shop.service", "cairn-shop.timer", "cairn-shop-log.service", "cairn-shop-log.timer"}, names); d != "" {
		t.Fatal(d)
	}
	for i, lines := range [][]string{
		{
			`ExecStart=/usr/bin/cairn source run "/home/me/my $$x 100%%.yaml"`, "Type=oneshot", "SuccessExitStatus=75", "Environment=CAIRN_ARCHIVE=s3://s3.example/bucket",
			"LoadCredentialEncrypted=cairn-key:/etc/credstore.encrypted/cairn-key", "LoadCredentialEncrypted=shop-db:/etc/credstore.encrypted/shop-db",
			"TimeoutStopSec=390", "KillMode=mixed", "ProtectSystem=strict", "ReadWritePaths=-/srv/archive -/var/lib/shop", "PrivateTmp=yes", "StateDirectory=cairn",
		},
		{"OnCalendar=*-*-* 02:30:00", "Persistent=true", "WantedBy=timers.target"},
		{`ExecStart=/usr/bin/cairn source run "/home/me/my $$x 100%%.yaml" --class log`},
		{"OnCalendar=*-*-01 04:00:00 Europe/Berlin", "OnCalendar=Mon *-*-* 04:00:00 Europe/Berlin"},
	} {
		for _, line := range lines {
			if !strings.Contains("\n"+list[i].Text, "\n"+line+"\n") {
				t.Errorf("%s has no line %s:\n%s", list[i].Name, line, list[i].Text)
			}
		}
	}
}

// TestHooksThatStart: a server that a hook starts must not be killed with the service, nor see a read-only world.
func TestHooksThatStart(t *testing.T) {
	t.Parallel()
	list := units(t, risky, Options{Program: "/usr/bin/cairn"})
	if len(list) != 1 {
		t.Fatalf("%d units without a schedule", len(list))
	}
	text := list[0].Text
	if !strings.Contains(text, "KillMode=process\n") || strings.Contains(text, "ProtectSystem") || strings.Contains(text, "PrivateTmp") || !strings.Contains(text, "# The hook stop may start") {
		t.Errorf("%s", text)
	}
	for line, name := range map[string]string{"systemctl stop a": "", "/usr/bin/systemctl start a": "", "systemctl stop a; /a -start": "before-1", "a -start": "before-1", "systemctl stop $(cat x)": "before-1"} {
		f := &source.File{Hooks: source.Hooks{Before: []source.Hook{{Name: "before-1", Shell: line}}}}
		if got := starts(f); got != name {
			t.Errorf("%s: %q", line, got)
		}
	}
}

func TestTmp(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"parts: [{tree: {path: /tmp/x}}]":                              true,
		"parts: [{postgres: {databases: all, host: /tmp}}]":            true,
		"parts: [{tree: {path: /tmpfiles}}]":                           false,
		"parts: [{fedora: {url: http://x/rest, staging: /var/tmp/x}}]": true,
	} {
		if got := !strings.Contains(units(t, text, Options{Program: "/c"})[0].Text, "PrivateTmp=yes"); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	if got := escape("a-b_c.d@e+é"); got != `a-b_c.d\x40e\x2b\xc3\xa9` {
		t.Error(got)
	}
}

// TestSystemd: systemd itself has nothing to say about the units.
func TestSystemd(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze on this machine")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var files []string
	for _, text := range []string{careful, risky} {
		for _, u := range units(t, text, Options{Program: program, Archive: []string{"/srv/a b"}, WritePath: []string{"/srv/a b"}}) {
			name := filepath.Join(dir, u.Name)
			if err := os.WriteFile(name, []byte(u.Text), 0o600); err != nil {
				t.Fatal(err)
			}
			files = append(files, name)
		}
	}
	cmd := exec.Command(tool, append([]string{"verify", "--man=no", "--recursive-errors=no"}, files...)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
	out, err := cmd.CombinedOutput()
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.Contains(line, dir) || strings.Contains(line, "cairn-") {
			t.Errorf("systemd says: %s", line)
		}
	}
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
