package profile_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/source"
	"cairn/agent/source/profile"
)

// example is what a person would give, for each profile what it needs and little more.
func example(name string) string {
	switch name {
	case "sophora-primary", "sophora-replica", "sophora-dashboard":
		return "vars: {home: /opt/sophora}"
	case "sophora-staging":
		return "vars: {home: /opt/sophora, contexts: [{name: a, docbase: /srv/a/docs, config: /srv/a/conf, data: /srv/a/data}, {name: b, docbase: /srv/b/docs, config: /srv/b/conf, data: /srv/b/data}]}"
	case "fedora4":
		return "vars: {url: http://localhost:8080/fcrepo/rest, staging: /srv/bkup}"
	case "fedora4-files":
		return "vars: {binaries: /srv/fcrepo/binaries, postgres_databases: [fcrepo]}"
	case "fedora6":
		return "vars: {home: /srv/fcrepo, start_rebuild: systemctl start fedora-rebuild}"
	case "js7-joc":
		return "vars: {base: /var/js7/joc, postgres_databases: [joc]}"
	case "js7-controller":
		return "vars: {data: /var/js7/controller}"
	case "js7-agent":
		return "vars: {data: /var/js7/agent}"
	case "seafile":
		return "vars: {home: /opt/seafile}"
	case "sqlite":
		return "vars: {databases: [/srv/app/app.db], files: [/srv/app]}"
	case "git-server":
		return "vars: {repositories: /srv/git}"
	}
	return "vars: {}"
}

func options() source.ParseOptions {
	return source.ParseOptions{Profiles: profile.Text, ProfileNames: profile.Names()}
}

func parse(t *testing.T, name, text string) *source.File {
	t.Helper()
	f, err := source.Parse(name+".yaml", []byte("profile: "+name+"\n"+text+"\n"), options())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return f
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, name := range profile.Names() {
		t.Run(name, func(t *testing.T) {
			f := parse(t, name, example(name))
			if f.Description == "" || f.Schedule == "" || f.Keep == (source.Keep{}) {
				t.Errorf("%s: description %q, schedule %q, keep %+v", name, f.Description, f.Schedule, f.Keep)
			}
		})
	}
}

var update = flag.Bool("update", false, "write the golden files anew")

// TestEffective: what goes into a snapshot is, for each profile, what was read over when the golden file was made.
func TestEffective(t *testing.T) {
	t.Parallel()
	for _, name := range profile.Names() {
		golden := filepath.Join("testdata", name+".yaml")
		f := parse(t, name, example(name))
		got := source.Marshal(f)
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s: -want +got (go test -update writes it anew)\n%s", golden, d)
		}
		again, err := source.Parse(golden, got, source.ParseOptions{}) // a bare machine may have another program
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(f, again); d != "" {
			t.Errorf("%s read again: -want +got\n%s", golden, d)
		}
	}
	found, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(found) != len(profile.Names()) {
		t.Errorf("%d golden files for %d profiles (%v)", len(found), len(profile.Names()), err)
	}
}

// TestVariables: each variable says what it is for, unless its name does, and no list is asked for as a text.
func TestVariables(t *testing.T) {
	t.Parallel()
	plain := []string{"database_host", "database_user"}
	for _, name := range profile.Names() {
		vars, about, err := source.ProfileVariables(name, options())
		if err != nil || about == "" || len(vars) == 0 {
			t.Fatalf("%s: %q, %d variables, %v", name, about, len(vars), err)
		}
		for _, v := range vars {
			if v.About == "" && !slices.Contains(plain, v.Name) {
				t.Errorf("%s: nothing is said about %s", name, v.Name)
			}
		}
	}
	vars, _, err := source.ProfileVariables("sqlite", options())
	if err != nil || !vars[0].List || !vars[0].Required {
		t.Errorf("databases of sqlite: %+v, %v", vars[0], err)
	}
	if _, ok := profile.Text("../profile"); ok {
		t.Error("a file outside is a profile")
	}
}
