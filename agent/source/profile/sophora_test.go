package profile_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cairn/agent/source"
	"cairn/tests/fixture"
)

func sophora(t *testing.T, name, more string) (*source.File, string) {
	t.Helper()
	dir := t.TempDir()
	fixture.Sophora(t, dir)
	return parse(t, name, "vars: {home: "+dir+more+"}"), dir
}

// A2 A7 A10 A20 A21 B8: of the primary's directories the repositories come along with index and database, and the configuration; caches and the queue
// do not, and a restore removes them.
func TestSophoraPrimary(t *testing.T) {
	t.Parallel()
	f, dir := sophora(t, "sophora-primary", "")
	wantKept(t, f, dir, map[string]source.Class{"repository/": source.Data, "repository_archive/": source.Data, "config/": source.Config})
	got := kept(t, f, dir)
	for _, name := range []string{"repository/workspaces/live/index/segments_1", "repository/workspaces/default/db/seg0/c10.dat", "repository/workspaces/default/workspace.xml", "config/keystore.p12"} {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is not kept", name)
		}
	}
	wantClasses(t, f, map[string]source.Class{"queue": source.Never, "data": source.Derived, "solr": source.Derived})
	equal(t, "removed by a restore", []string{dir + "/data", dir + "/solr"}, f.Restore.Remove)
	equal(t, "emptied by a restore", []string{dir + "/activemq-data"}, f.Restore.Empty)
	equal(t, "labels", source.Labels{Role: "primary", Component: "sophora"}, f.Labels)
}

// A4 B9: index and live workspace can be made again: named as derived they are left out.
func TestSophoraDerived(t *testing.T) {
	t.Parallel()
	f, dir := sophora(t, "sophora-primary", ", derived: [workspaces/*/index, workspaces/live]")
	for name := range kept(t, f, dir) {
		if strings.Contains(name, "/index/") || strings.Contains(name, "/live/") {
			t.Errorf("%s is kept", name)
		}
	}
	if _, ok := kept(t, f, dir)["repository/workspaces/default/db/seg0/c10.dat"]; !ok {
		t.Error("the default workspace is not kept")
	}
	equal(t, "derived", []string{"workspaces/*/index", "workspaces/live"}, part(t, f, "repository").Tree.Derived)
}

// A8: a server without archive repository is complete, one without repository is not.
func TestSophoraOptional(t *testing.T) {
	t.Parallel()
	f, dir := sophora(t, "sophora-primary", "")
	if err := os.RemoveAll(filepath.Join(dir, "repository_archive")); err != nil {
		t.Fatal(err)
	}
	wantKept(t, f, dir, map[string]source.Class{"repository/": source.Data, "config/": source.Config})
	equal(t, "optional", []bool{true, false, false}, []bool{part(t, f, "archive").Optional, part(t, f, "repository").Optional, part(t, f, "config").Optional})
}

// A2 A11 A24: databases outside are dumped, one stream each, before the files, with the password somewhere else.
func TestSophoraDatabases(t *testing.T) {
	t.Parallel()
	f := parse(t, "sophora-primary", "vars: {home: /opt/sophora, postgres_databases: [sophora, sophora_archive], mariadb_databases: [more], database_host: db1}")
	equal(t, "order", []string{"postgres", "postgres", "mariadb", "tree", "tree", "tree"}, order(f))
	p := part(t, f, "postgres sophora_archive").Postgres
	equal(t, "database", []string{"sophora_archive"}, p.Databases)
	equal(t, "server", [2]string{"db1", "sophora"}, [2]string{p.Host, p.User})
	equal(t, "secrets", []source.Secret{{File: "/etc/cairn/secrets/sophora-db"}}, f.Secrets())
}

// A9 A12 A18 A32: stop and start by Sophora's script, the start also after a failure; a warm reading before; no restore into a server that runs;
// then primary, replicas, others.
func TestSophoraHooks(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sophora-primary", "sophora-replica"} {
		f := parse(t, name, "vars: {home: /opt/sophora, script: /opt/sophora/sophora.sh}")
		equal(t, "before", []string{"/opt/sophora/sophora.sh", "-stop"}, f.Hooks.Before[0].Run.Args)
		equal(t, "finally", []string{"/opt/sophora/sophora.sh", "-background_and_wait"}, f.Hooks.Finally[0].Run.Args)
		equal(t, "warm", true, f.Warm)
		equal(t, "guards", []source.Guard{{PIDFile: "/opt/sophora/logs/sophora.pid"}, {PortClosed: "1398"}, {PortClosed: "1399"}}, f.Guards.Restore)
	}
	f := parse(t, "sophora-primary", "vars: {home: /opt/sophora, run_as: [runuser, -u, cms, --]}")
	equal(t, "as another user", []string{"runuser", "-u", "cms", "--", "/opt/sophora/bin/sophora.sh", "-stop"}, f.Hooks.Before[0].Run.Args)
	var steps []string
	for _, s := range f.Restore.Steps {
		steps = append(steps, s.Name)
	}
	equal(t, "steps", []string{"start", "replicas", "others"}, steps)
}

// A5: a replica's backups can stand for the primary.
func TestSophoraReplica(t *testing.T) {
	t.Parallel()
	f := parse(t, "sophora-replica", "vars: {home: /opt/sophora}")
	equal(t, "labels", source.Labels{Role: "replica", Component: "sophora"}, f.Labels)
	f = parse(t, "sophora-replica", "vars: {home: /opt/sophora, as_host: cms1}")
	equal(t, "labels", source.Labels{Host: "cms1", Role: "replica", Component: "sophora"}, f.Labels)
}

// A14 A15 A16: per Tomcat context three directories, kept apart; the configuration of Tomcat and Apache only when it is there. A1: its role.
func TestSophoraStaging(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.Sophora(t, dir+"/sophora")
	for _, name := range []string{"a/docs/index.jsp", "a/conf/local.properties", "a/var/x", "b/docs/index.jsp", "b/conf/local.properties", "b/var/y", "apache2/site.conf"} {
		fixture.Write(t, filepath.Join(dir, name), []byte(name))
	}
	contexts := strings.ReplaceAll("contexts: [{name: a, docbase: DIR/a/docs, config: DIR/a/conf, data: DIR/a/var}, {name: b, docbase: DIR/b/docs, config: DIR/b/conf, data: DIR/b/var}]", "DIR", dir)
	f := parse(t, "sophora-staging", "vars: {home: "+dir+"/sophora, server_config: ["+dir+"/apache2, "+dir+"/tomcat], "+contexts+"}")
	wantKept(t, f, dir, map[string]source.Class{
		"sophora/repository/": source.Data, "sophora/config/": source.Config,
		"a/docs/": source.Data, "a/conf/": source.Config, "a/var/": source.Data, "b/docs/": source.Data, "b/conf/": source.Config, "b/var/": source.Data,
		"apache2/": source.Config,
	})
	equal(t, "a part of a context", dir+"/b/conf", part(t, f, "context b config").Tree.Path)
	equal(t, "removed by a restore", []string{dir + "/sophora/data", dir + "/sophora/solr"}, f.Restore.Remove)
	equal(t, "role", "staging", f.Labels.Role)
	equal(t, "first out of the delivery, then stopped", []string{"disconnect", "halt"}, []string{f.Hooks.Before[0].Name, f.Hooks.Before[1].Name})
	equal(t, "stop", []string{dir + "/sophora/bin/sophora.sh", "-stop"}, f.Hooks.Before[1].Run.Args)
	equal(t, "start, connect", []string{"start", "connect"}, []string{f.Hooks.Finally[0].Name, f.Hooks.Finally[1].Name})
}

// A17: the dashboard is a component of its own, with its own stop.
func TestSophoraDashboard(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.Write(t, dir+"/data/db", []byte("x"))
	fixture.Write(t, dir+"/logs/log", []byte("x"))
	f := parse(t, "sophora-dashboard", "vars: {home: "+dir+"}")
	wantKept(t, f, dir, map[string]source.Class{"data/": source.Data})
	equal(t, "component", "sophora-dashboard", f.Labels.Component)
	equal(t, "stop", []string{"systemctl", "stop", "sophora-dashboard"}, f.Hooks.Before[0].Run.Args)
	equal(t, "start", []string{"systemctl", "start", "sophora-dashboard"}, f.Hooks.Finally[0].Run.Args)
}

// A22 A23: the rewrites find what stands in the files, and leave alone what no variable speaks of.
func TestSophoraRewrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixture.Sophora(t, dir)
	apply := func(f *source.File, text string) string {
		for _, w := range f.Restore.Rewrite {
			if w.Regex != nil {
				text = regexp.MustCompile(w.Regex.Match).ReplaceAllString(text, w.Regex.Replace)
			}
		}
		return text
	}
	f := parse(t, "sophora-replica", "vars: {home: /new/home, database_host: db2, primary_host: cms1, own_host: cms7}")
	xml := string(fixture.Read(t, dir+"/repository/repository.xml"))
	if got := apply(f, xml); !strings.Contains(got, "jdbc:postgresql://db2:5432/sophora") {
		t.Error(got)
	}
	xml = string(fixture.Read(t, dir+"/repository_archive/workspaces/live/workspace.xml"))
	if got := apply(f, xml); !strings.Contains(got, "jdbc:derby:/new/home/repository_archive/workspaces/live/db;create=true") {
		t.Error(got)
	}
	properties := string(fixture.Read(t, dir+"/config/sophora.properties")) + "sophora.remote.jmsbroker.host = old\n"
	if got := apply(f, properties); !strings.Contains(got, "\nsophora.replication.slaveHostname=cms7\n") || !strings.Contains(got, "\nsophora.remote.jmsbroker.host = cms1\n") {
		t.Error(got)
	}
	f = parse(t, "sophora-replica", "vars: {home: /opt/sophora}")
	equal(t, "without variables", properties, apply(f, properties))
	equal(t, "ports", map[string]string{"sophora.home": "/opt/sophora", "sophora.rmi.servicePort": "1398", "sophora.rmi.registryPort": "1399", "sophora.remote.jmsbroker.port": "1397"}, f.Restore.Rewrite[0].Properties)
}

// A19 A27: what people have to do stands in the plan.
func TestSophoraRunbooks(t *testing.T) {
	t.Parallel()
	for name, words := range map[string][]string{
		"sophora-primary":   {"replica", "Scenario 1", "Scenario 2", "two minutes after the start"},
		"sophora-replica":   {"primary", "--at"},
		"sophora-staging":   {"staging"},
		"sophora-dashboard": {"last"},
	} {
		f := parse(t, name, example(name))
		for _, w := range words {
			if !strings.Contains(f.Restore.Runbook, w) {
				t.Errorf("%s: the runbook says nothing about %q", name, w)
			}
		}
	}
}
