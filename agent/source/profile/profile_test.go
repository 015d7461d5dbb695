package profile_test

import (
	"testing"

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
