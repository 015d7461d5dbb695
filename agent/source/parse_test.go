package source

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/document"
)

// everything uses each key once, and some in both of the ways in which they may be written.
const everything = `
source: all-keys
description: Each key of a source file.
vars:
  home: /srv/app
  data: ${home}/data      # variables are made of variables
  port: 8080
  dbs: [one, two]
  contexts:
    - {name: a, base: /srv/tomcat/a}
    - {name: b, base: /srv/tomcat/b}
labels: {host: web1, role: primary, component: server}
series: web1/app
tags: [nightly, app]
schedule: TZ=Europe/Berlin 30 2 * * *
keep: {last: 3, daily: 7, weekly: 5, monthly: 12, yearly: 2, within: 30d}
classes:
  log: {schedule: "0 * * * *", keep: {daily: 14}, restore: ask}
  config: {}
parts:
  - name: pg
    postgres: {databases: all, host: /run/postgresql, user: backup, globals: false, format: custom, client: [docker, exec, -i, pg]}
  - mariadb: {databases: ["${dbs}"], host: db, port: 3307, user: u, password: {file: /etc/cairn/db}, ignore_tables: [one.cache]}
  - tree: {path: "${data}/", exclude: ["*.tmp"], derived: [index/], never: queue, one_file_system: true}
  - name: context ${item.name}
    each: contexts
    class: config
    optional: true
    tree: {path: "${item.base}"}
  - name: log ${item}
    each: dbs
    class: log
    tree: {path: "/var/log/${item}"}
  - command:
      file: packages.txt
      run: [dpkg, --get-selections]
      restore: {args: [dpkg, --set-selections], dir: /, env: {LANG: C}, secrets: {API_TOKEN: {command: [pass, show, api]}}}
      timeout: 5m
  - sqlite: {path: "${home}/app.db", method: dump}
  - derby: {path: "${home}/derby"}
  - h2: {path: "${home}/h2"}
  - fedora: {url: "http://localhost:${port}/rest", user: admin, password: {env: FEDORA_PASSWORD}, staging: /srv/staging,
             path_map: [{local: /srv/staging, remote: /bkup}], owner: "tomcat:tomcat", timeout: 2h}
  - export: {url: "https://app.example/export", method: GET, file: export.json, token: {credential: app-token}, headers: {Accept: application/json}, status: [200, 206], ca: /etc/ssl/app.pem, timeout: 30s}
  - export: {url: "http://localhost/dump", body: "all of ${home}", path: /srv/dump, clean: true}
hooks:
  before:
    - {name: stop, run: [systemctl, stop, app], timeout: 2m}
    - shell: test -e /run/ok || exit 75
  finally: [{name: start, run: {args: [systemctl, start, app], dir: "${home}"}}]
  after: [{http: {url: "http://localhost/done", user: me, password: {credential: done}}}]
  on_error: [{shell: "logger 'backup of $${HOME} failed'"}]
guards:
  backup: [{not_running: seaf-gc}, {lock_file: /run/app.lock}]
  restore: [{port_closed: "${port}"}, {port_open: "db:3306"}, {pid_file: /run/app.pid}, {absent: "${home}/standby"}]
warm: true
skip_if_unchanged: true
verify: [{format: content-tree, path: "${data}/binaries"}]
restore:
  roots: ["${home}"]
  before: [{run: [systemctl, stop, app]}]
  remove: ["${data}/index", "${home}/solr"]
  empty: "${home}/state"
  rewrite:
    - {files: config/app.properties, properties: {server.port: "${port}"}}
    - {files: ["${data}/*/workspace.xml"], xml: {element: param, where: {name: url}, attribute: value, value: "jdbc:x"}}
    - {files: [config/*.conf], regex: {match: "host=(.*)", replace: "host=new-$1"}}
  steps:
    - {text: Ask the editors.}
    - {name: reindex, run: ["${home}/reindex"], timeout: 1d}
  runbook: |
    1. Look at ${home}.
    2. Tell them.
`

func mustParse(t *testing.T, name, text string, o ParseOptions) *File {
	t.Helper()
	f, err := Parse(name, []byte(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParse(t *testing.T) {
	t.Parallel()
	f := mustParse(t, "x.yaml", everything, ParseOptions{})
	var names []string
	for i := range f.Parts {
		names = append(names, f.Parts[i].Name+" "+f.Parts[i].Kind()+" "+f.Parts[i].Subject())
	}
	want := []string{
		"pg postgres all at /run/postgresql", "mariadb mariadb one two at db", "srv-app-data tree /srv/app/data", "context a tree /srv/tomcat/a", "context b tree /srv/tomcat/b",
		"log one tree /var/log/one", "log two tree /var/log/two", "packages command dpkg > packages.txt", "app.db sqlite /srv/app/app.db",
		"srv-app-derby derby /srv/app/derby", "srv-app-h2 h2 /srv/app/h2", "fedora fedora http://localhost:8080/rest", "export export https://app.example/export", "srv-dump export /srv/dump",
	}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	for what, ok := range map[string]bool{
		"class of a part":       f.Parts[2].Class == Data && f.Parts[3].Class == Config && f.Parts[3].Optional,
		"one text for a list":   cmp.Equal(f.Parts[2].Tree.Never, []string{"queue"}),
		"a list variable":       cmp.Equal(f.Parts[1].MariaDB.Databases, []string{"one", "two"}),
		"globals":               *f.Parts[0].Postgres.Globals == false,
		"an argument list":      cmp.Equal(f.Hooks.Before[0].Run.Args, []string{"systemctl", "stop", "app"}) && f.Hooks.Finally[0].Run.Dir == "/srv/app",
		"time-outs":             f.Hooks.Before[0].Timeout == 2*time.Minute && f.Hooks.Before[1].Timeout == 10*time.Minute && f.Restore.Steps[1].Timeout == 24*time.Hour && f.Restore.Steps[0].Timeout == 0,
		"names of hooks":        f.Hooks.Before[1].Name == "before-2" && f.Restore.Steps[0].Name == "step-1",
		"$${ stands for ${":     f.Hooks.OnError[0].Shell == "logger 'backup of ${HOME} failed'",
		"defaults":              f.Classes[Config].Restore == "yes" && f.Parts[13].Export.Method == "POST" && f.Parts[13].Export.Body == "all of /srv/app",
		"vars":                  f.Vars["data"] == "/srv/app/data" && f.Vars["port"] == "8080",
		"a secret is a place":   f.Parts[1].MariaDB.Password.File == "/etc/cairn/db",
		"secrets of all places": len(f.Secrets()) == 5,
	} {
		if !ok {
			t.Errorf("%s: not as written", what)
		}
	}
}

// TestRoundTrip: what goes into a snapshot is the same source, on a machine without the profile, too.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	f := mustParse(t, "x.yaml", everything, ParseOptions{})
	again := mustParse(t, "elsewhere.yaml", string(Marshal(f)), ParseOptions{})
	if d := cmp.Diff(f, again); d != "" {
		t.Errorf("effective: -want +got\n%s", d)
	}
	if !strings.Contains(string(Marshal(f)), "${home}/data") {
		t.Error("variables are not kept as they are written")
	}
	expanded := mustParse(t, "elsewhere.yaml", string(Expanded(f)), ParseOptions{})
	want := *f
	want.Vars, want.Effective, expanded.Effective = nil, nil, nil
	if d := cmp.Diff(&want, expanded); d != "" {
		t.Errorf("expanded: -want +got\n%s", d)
	}
	// With other values the kept file restores elsewhere.
	moved := mustParse(t, "x.yaml", string(Marshal(f)), ParseOptions{Vars: map[string]string{"home": "/mnt/new"}})
	if got := moved.Parts[2].Tree.Path; got != "/mnt/new/data" {
		t.Errorf("moved to %s", got)
	}
}

// TestMarshalFile: a File that no file said is written with all that it holds.
func TestMarshalFile(t *testing.T) {
	t.Parallel()
	f := &File{Name: "made", Parts: []Part{{Name: "t", Class: Data, Tree: &Tree{Path: "/srv/${x}"}}}, Hooks: Hooks{Before: []Hook{{Name: "h", Shell: "true", Timeout: time.Minute}}}}
	f.Restore.Roots = []string{"/srv"}
	if err := f.Validate(); err != nil {
		t.Fatal(err)
	}
	got := mustParse(t, "x.yaml", string(Marshal(f)), ParseOptions{})
	got.Effective = nil
	if d := cmp.Diff(f, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	f.Parts[0].Tree.Path = "srv"
	if err := f.Validate(); err == nil || err.Error() != `source made: path "srv" is not absolute` {
		t.Errorf("got %v", err)
	}
}

// FuzzParse: no text makes Parse panic, and what it accepts is the same source when it comes back from a snapshot.
func FuzzParse(f *testing.F) {
	f.Add(everything)
	f.Add("parts: [{tree: {path: /x}}]")
	f.Add("profile: base\nvars: {home: /x}\nparts: [{name: t, omit: true}, {tree: {path: '${home}/y'}}]")
	f.Add("vars: {a: '${b}', b: '${a}'}\nparts: [{each: a, tree: {path: '/${item}'}}]")
	f.Fuzz(func(t *testing.T, text string) {
		o := ParseOptions{Profiles: profiles(map[string]string{"base": baseProfile})}
		file, err := Parse("x.yaml", []byte(text), o)
		if err != nil {
			_ = fmt.Sprint(err)
			return
		}
		again, err := Parse("y.yaml", Marshal(file), ParseOptions{})
		if err != nil {
			t.Fatalf("%s\n%v", Marshal(file), err)
		}
		if d := cmp.Diff(file, again); d != "" {
			t.Fatalf("%s\n%s", Marshal(file), d)
		}
		expanded, err := Parse("z.yaml", Expanded(file), ParseOptions{})
		if err != nil {
			t.Fatalf("%s\n%v", Expanded(file), err)
		}
		if d := cmp.Diff(file.Parts, expanded.Parts); d != "" {
			t.Fatalf("%s\n%s", Expanded(file), d)
		}
		if err := file.Validate(); err != nil {
			t.Fatal(err)
		}
	})
}

// wrong returns the problems of a text as LINE:COLUMN: MESSAGE.
func wrong(t *testing.T, text string, o ParseOptions) []string {
	t.Helper()
	_, err := Parse("x.yaml", []byte(text), o)
	if err == nil {
		return nil
	}
	all, ok := err.(*document.Error)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	var got []string
	for _, p := range all.Problems {
		got = append(got, fmt.Sprintf("%d:%d: %s", p.Place.Line, p.Place.Column, p.Message))
	}
	return got
}
