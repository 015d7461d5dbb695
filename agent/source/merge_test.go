package source

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const baseProfile = `
description: An application.
vars:
  home:          # where it is installed
  port: 8080     # of its server
  extra: []
schedule: 0 3 * * *
keep: {daily: 7, weekly: 5}
labels: {role: primary, component: app}
classes: {log: {schedule: 0 * * * *, restore: ask}}
parts:
  - name: db
    postgres: {databases: app, user: backup, host: db}
  - name: t
    tree: {path: "${home}/t", exclude: [a, b]}
  - name: logs
    class: log
    tree: {path: "${home}/logs"}
  - name: more ${item}
    each: extra
    tree: {path: "/more/${item}"}
hooks:
  before: [{name: stop, shell: "stop ${port}"}, {name: wait, shell: sleep 1}]
  finally: [{name: start, shell: start}]
guards: {restore: [{port_closed: "${port}"}]}
restore:
  roots: ["${home}"]
  remove: ["${home}/solr"]
  steps: [{name: check, shell: check}]
  runbook: Read this.
`

func profiles(m map[string]string) Profiles {
	return func(name string) ([]byte, bool) {
		text, ok := m[name]
		return []byte(text), ok
	}
}

func withBase() ParseOptions {
	return ParseOptions{Profiles: profiles(map[string]string{"base": baseProfile, "loop": "profile: loop\n", "upper": "profile: base\nvars: {home: /upper}\nlabels: {role: replica}\n"}),
		ProfileNames: []string{"base", "loop", "upper"}}
}

func TestProfile(t *testing.T) {
	t.Parallel()
	f := mustParse(t, "app.yaml", `
profile: base
vars: {home: /opt/app, extra: [x, y]}
labels: {host: web1, role: staging}
keep: {last: 2}
classes: {log: {schedule: 5 * * * *}}
parts:
  - name: t                 # one key of the tree; the rest stays
    optional: true
    tree: {exclude: [c]}
  - name: db                # another kind
    mariadb: {databases: app}
  - name: mine
    tree: {path: /srv/mine}
  - {name: logs, omit: true}
  - name: logs2
    class: log
    tree: {path: /var/log/app}
hooks:
  before: [{name: stop, run: [systemctl, stop, app]}, {shell: echo more}]
  finally: [{name: start, omit: true}]
guards: {restore: [{port_closed: 1}]}
restore:
  remove: []
  runbook:
`, withBase())
	type short struct{ Name, Kind, Subject string }
	var got []short
	for i := range f.Parts {
		got = append(got, short{f.Parts[i].Name, f.Parts[i].Kind(), f.Parts[i].Subject()})
	}
	want := []short{{"db", "mariadb", "app"}, {"t", "tree", "/opt/app/t"}, {"more x", "tree", "/more/x"}, {"more y", "tree", "/more/y"}, {"mine", "tree", "/srv/mine"}, {"logs2", "tree", "/var/log/app"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	for what, ok := range map[string]bool{
		"profile and name":          f.Profile == "base" && f.Name == "app",
		"keys within a part":        f.Parts[1].Optional && cmp.Equal(f.Parts[1].Tree.Exclude, []string{"c"}),
		"labels by key":             f.Labels == Labels{Host: "web1", Role: "staging", Component: "app"},
		"keep as a whole":           f.Keep == Keep{Last: 2},
		"classes by key":            f.Classes[Log] == Rule{Schedule: "5 * * * *", Restore: "ask"},
		"hooks by name":             len(f.Hooks.Before) == 3 && f.Hooks.Before[0].Shell == "" && f.Hooks.Before[0].Run.Args[0] == "systemctl" && f.Hooks.Before[2].Shell == "echo more",
		"omitted hook":              len(f.Hooks.Finally) == 0,
		"guards as a whole":         len(f.Guards.Restore) == 1 && f.Guards.Restore[0].PortClosed == "1",
		"an empty list is a list":   len(f.Restore.Remove) == 0,
		"a key without value":       f.Restore.Runbook == "Read this.",
		"what the file leaves open": f.Schedule == "0 3 * * *" && len(f.Restore.Steps) == 1 && f.Description == "An application.",
	} {
		if !ok {
			t.Errorf("%s: not merged as documented", what)
		}
	}
	again := mustParse(t, "y.yaml", string(Marshal(f)), ParseOptions{}) // no profiles there
	if d := cmp.Diff(f, again); d != "" {
		t.Errorf("from the snapshot: -want +got\n%s", d)
	}
}

func TestProfileOfProfile(t *testing.T) {
	t.Parallel()
	f := mustParse(t, "app.yaml", "profile: upper\nvars: {port: 1}\n", withBase())
	if f.Labels.Role != "replica" || f.Labels.Component != "app" || f.Parts[1].Tree.Path != "/upper/t" || f.Profile != "upper" {
		t.Errorf("got %+v, %s", f.Labels, f.Parts[1].Tree.Path)
	}
}

func TestProfileProblems(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"profile: bsae\nparts: [{tree: {path: /x}}]":                `1:10: no profile is called "bsae"; did you mean base?`,
		"profile: base\nvars: {port: 1}":                            "2:8: variable home of profile base has no value (where it is installed): set it under vars",
		"profile: base\nvars: {home: /x, prot: 1}":                  "2:18: variable prot is not used; did you mean port?",
		"profile: loop\nparts: [{tree: {path: /x}}]":                "1:10: profile loop stands upon itself, or upon too many",
		"profile: base\nvars: {home: x}":                            `15:18: path "x/t" is not absolute`, // in the profile, where the path is
		"profile: base\nvars: {home: /x}\nparts: {name: t}":         "3:9: want a list, found map",
		"profile: base\nvars: {home: /x}\nhooks: [x]":               "3:8: want a map, found list",
		"profile: base\nvars: {home: [/x]}":                         "is a list: it stands alone",
		"profile: base\nvars: {home: /x}\nparts: [{name: t, x: 1}]": `3:19: unknown key "x"`,
	} {
		got := wrong(t, text, withBase())
		if len(got) == 0 || !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("%q:\ngot %q\nwant %q", text, got, want)
		}
	}
}

func TestProfileVariables(t *testing.T) {
	t.Parallel()
	vars, about, err := ProfileVariables("upper", withBase())
	want := []Variable{{Name: "home", About: "where it is installed", Default: "/upper"}, {Name: "port", About: "of its server", Default: "8080"}, {Name: "extra", List: true, Default: "[]"}}
	if d := cmp.Diff(want, vars); d != "" || err != nil || about != "An application." {
		t.Errorf("%v, %s: -want +got\n%s", err, about, d)
	}
	vars, _, err = ProfileVariables("base", withBase())
	if err != nil || !vars[0].Required {
		t.Errorf("%v, %+v", err, vars)
	}
	text, err := FromProfile("a: b", "base", map[string]string{"home": "/x # y", "extra": "[a, 'b c']"}, withBase())
	if err != nil {
		t.Fatal(err)
	}
	if got := wrong(t, string(text), withBase()); len(got) != 1 || !strings.Contains(got[0], `"a: b": the name of a source has no spaces`) {
		t.Errorf("%s\n%q", text, got)
	}
	if !strings.Contains(string(text), `extra: [a, b c]`) || !strings.Contains(string(text), `home: "/x # y"`) || !strings.Contains(string(text), "  # port: 8080\n") {
		t.Errorf("%s", text)
	}
}
