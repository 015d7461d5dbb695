package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parts makes a file of one part beside what is tested.
func parts(text string) string { return "parts:\n  - " + text + "\n" }

const tree = "parts: [{tree: {path: /srv/app}}]\n"

// TestRules: each rule, by a file that breaks nothing else. The whole list of problems is compared, so nothing is told twice, and no mistake
// brings others with it.
func TestRules(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"no parts":            {"source: x", "1:9: the source has no parts: nothing would be backed up"},
		"not a map":           {"- a", "1:1: want a map of keys such as source, vars, parts; found list"},
		"name":                {"source: ../x\n" + tree, `1:9: "../x": the name of a source begins with a letter`},
		"label":               {"labels: {host: a/b}\n" + tree, `1:16: "a/b": a label begins with`},
		"tag":                 {"tags: ['a,b']\n" + tree, `1:8: "a,b" cannot be a tag`},
		"schedule":            {"schedule: 0 25 * * *\n" + tree, "1:11: schedule: not a cron expression"},
		"schedule never":      {"schedule: 0 0 31 2 *\n" + tree, "is never due"},
		"time zone":           {"schedule: TZ=Europa/Berlin 0 1 * * *\n" + tree, `1:11: schedule: unknown time zone "Europa/Berlin"`},
		"keep":                {"keep: {daily: -1}\n" + tree, "1:8: keep: daily is -1"},
		"keep within":         {"keep: {within: 3x}\n" + tree, "1:8: keep: within: "},
		"class":               {parts("{tree: {path: /x}, class: logs}"), `2:31: unknown class "logs"; did you mean log?`},
		"class of rules":      {"classes: {cache: {}}\n" + tree, `1:11: unknown class "cache"; there are config, data, log, derived, never`},
		"class without parts": {"classes: {log: {}}\n" + tree, "1:11: no part has class log"},
		"class never":         {"classes: {never: {schedule: 0 1 * * *}}\n" + tree, "1:11: class never has no rules"},
		"class restore":       {"classes: {data: {restore: no}}\n" + tree, `1:11: restore of class data is yes or ask, not "no"`},
		"two kinds":           {parts("{tree: {path: /x}, h2: {path: /y}}"), "2:6: a part is exactly one of tree, command, postgres, mariadb, sqlite, derby, h2, fedora, export; this one has 2"},
		"no kind":             {parts("{name: x}"), "this one has 0"},
		"part twice":          {"parts:\n  - {name: a, tree: {path: /a}}\n  - {name: a, tree: {path: /b}}", `3:12: a part called "a" comes twice`},
		"part name":           {parts("{name: a/b, tree: {path: /a}}"), `2:12: "a/b": the name of a part begins`},
		"no path":             {parts("tree: {exclude: [a]}"), "2:12: path is missing"},
		"relative path":       {parts("tree: {path: srv}"), `2:18: path "srv" is not absolute`},
		"path with dots":      {parts("tree: {path: /srv/../etc}"), `2:18: path "/srv/../etc" has elements like . or .. or //: write /etc`},
		"pattern":             {parts(`tree: {path: /srv, exclude: ["[a"]}`), "2:34: pattern"},
		"nested trees":        {"parts:\n  - tree: {path: /srv}\n  - tree: {path: /srv/a}", "3:18: /srv/a is below /srv of part srv"},
		"nested never":        {"parts:\n  - {tree: {path: /srv/a}, class: never}\n  - tree: {path: /srv}", "2:19: /srv/a is below /srv of part srv"},
		"same tree":           {"parts:\n  - {name: a, tree: {path: /srv}}\n  - {name: b, tree: {path: /srv/}}", "is read by part a, too"},
		"everything":          {"parts:\n  - tree: {path: /}\n  - tree: {path: /srv}", "3:18: /srv is below / of part tree"},
		"sqlite in a tree":    {"parts:\n  - tree: {path: /srv}\n  - sqlite: {path: /srv/a.db}", "3:20: /srv/a.db is below the tree /srv of part srv: exclude it there"},
		"sqlite excluded":     {"parts:\n  - tree: {path: /srv, exclude: ['*.db', '*.db-*']}\n  - sqlite: {path: /srv/x/a.db}", ""},
		"sqlite in a subtree": {"parts:\n  - tree: {path: /srv, derived: [x/]}\n  - sqlite: {path: /srv/x/a.db}", ""},
		"sqlite method":       {parts("sqlite: {path: /a.db, method: copy}"), `2:35: unknown method "copy"; there are backup, dump`},
		"stream name":         {parts("command: {file: a/b, run: [x]}"), `2:21: file "a/b": want a file name`},
		"no program":          {parts("command: {file: a}"), "2:15: no program is named to run"},
		"shell line":          {parts("command: {file: a, run: pg_dump a}"), "2:29: want a list: [program, argument, …]; no shell takes a text apart"},
		"password argument":   {parts("command: {file: a, run: [x, --password=hunter2]}"), "2:33: a secret in the arguments can be seen by everybody"},
		"password option":     {parts("command: {file: a, run: [x, --password, hunter2]}"), "2:33: a secret in the arguments can be seen by everybody"},
		"password variable":   {parts("command: {file: a, run: {args: [x], env: {PGPASSWORD: hunter2}}}"), "2:47: PGPASSWORD looks like a secret, and this file is kept in each snapshot: put it into secrets:"},
		"environment name":    {parts("command: {file: a, run: {args: [x], env: {A-B: c}}}"), `2:47: "A-B" cannot be an environment variable`},
		"relative dir":        {parts("command: {file: a, run: {args: [x], dir: srv}}"), `2:46: dir "srv" is not absolute`},
		"plain password":      {parts("postgres: {databases: a, password: hunter2}"), "2:40: a secret is not written in the file"},
		"two secrets":         {parts("postgres: {databases: a, password: {env: A, file: /b}}"), "2:41: a secret is exactly one of credential, file, env, command"},
		"no secret":           {parts("postgres: {databases: a, password: {}}"), "2:40: a secret is exactly one of"},
		"relative secret":     {parts("postgres: {databases: a, password: {file: b}}"), `2:47: file "b" is not absolute`},
		"secret command":      {parts("postgres: {databases: a, password: {command: pass show x}}"), "2:50: want a list"},
		"secret variable":     {"vars: {db_password: hunter2}\n" + tree, "1:21: variable db_password looks like a secret"},
		"no databases":        {parts("postgres: {user: a}"), "2:16: databases is missing: names, or all"},
		"all and more":        {parts("postgres: {databases: [all, a]}"), "2:28: all stands alone"},
		"database twice":      {parts("postgres: {databases: [a, a]}"), "2:31: database a comes twice"},
		"database option":     {parts("postgres: {databases: [--help]}"), `2:28: "--help" cannot be a database`},
		"host option":         {parts("postgres: {databases: a, host: -x}"), `2:36: "-x" cannot be a host or a user`},
		"port":                {parts("postgres: {databases: a, port: 70000}"), "2:36: a port is a number from 1 to 65535"},
		"format of dump":      {parts("postgres: {databases: a, format: tar}"), `2:38: unknown format "tar"; there are plain, custom`},
		"client":              {parts("postgres: {databases: a, client: docker exec db}"), "2:38: want a list"},
		"ignored table":       {parts("mariadb: {databases: a, ignore_tables: [t]}"), `2:45: "t" is not DATABASE.TABLE`},
		"ignored elsewhere":   {parts("mariadb: {databases: [a], ignore_tables: [b.t]}"), "2:47: database b is not among the databases of this part"},
		"fedora url":          {parts("fedora: {url: 'http://x/rest/fcr:backup', staging: /s}"), "2:19: the URL of the repository"},
		"fedora map":          {parts("fedora: {url: http://x/rest, staging: /s, path_map: [{local: /t, remote: /b}]}"), "says nothing about staging /s"},
		"fedora owner":        {parts("fedora: {url: http://x/rest, staging: /s, owner: 'a b'}"), `owner "a b" is not USER or USER:GROUP`},
		"user alone":          {parts("fedora: {url: http://x/rest, staging: /s, user: a}"), "2:53: user and password go together"},
		"url with password":   {parts("export: {url: 'http://me:hunter2@x/', file: a}"), "2:19: no user and password in the URL"},
		"not a url":           {parts("export: {url: 'ftp://x', file: a}"), "2:19: not a URL of http or https"},
		"file and path":       {parts("export: {url: http://x/, file: a, path: /b}"), "an export has either file"},
		"clean nothing":       {parts("export: {url: http://x/, file: a, clean: true}"), "clean removes what is in path"},
		"header":              {parts("export: {url: http://x/, file: a, headers: {Authorization: Basic hunter2}}"), "2:49: header Authorization is a secret"},
		"status":              {parts("export: {url: http://x/, file: a, status: [20]}"), "an HTTP status is a number from 100 to 599"},
		"two logins":          {parts("export: {url: http://x/, file: a, user: u, password: {env: A}, token: {env: B}}"), "either token or user and password"},
		"hook of nothing":     {tree + "hooks: {before: [{name: a}]}", "2:19: a hook is exactly one of run, shell, http"},
		"hook twice":          {tree + "hooks: {before: [{name: a, shell: b}, {name: a, shell: c}]}", `2:46: a hook called "a" comes twice`},
		"hook time-out":       {tree + "hooks: {before: [{shell: b, timeout: 30}]}", "timeout: a length of time is written like"},
		"hook stage":          {tree + "hooks: {finaly: []}", `2:9: unknown key "finaly"; did you mean finally?`},
		"guard of two":        {tree + "guards: {backup: [{absent: /a, port_open: 1}]}", "2:20: a guard is exactly one of"},
		"guard port":          {tree + "guards: {backup: [{port_open: http}]}", `"http": a port is a number`},
		"guard address":       {tree + "guards: {backup: [{port_open: 'a:b:1'}]}", "is not PORT or HOST:PORT"},
		"guard process":       {tree + "guards: {backup: [{not_running: /bin/x}]}", "the name of a process, without a path"},
		"guard path":          {tree + "guards: {restore: [{pid_file: x.pid}]}", `path "x.pid" is not absolute`},
		"verify format":       {tree + "verify: [{format: modshape, path: /srv/app}]", `2:19: unknown format "modshape"; did you mean modeshape?`},
		"verify elsewhere":    {tree + "verify: [{format: ocfl, path: /srv/b}]", "2:31: no part has /srv/b: it will not be in a snapshot"},
		"remove elsewhere":    {tree + "restore: {remove: [/srv/app/x, /etc]}", "2:32: /etc is not below the roots of the restore (/srv/app)"},
		"remove a neighbour":  {tree + "restore: {remove: [/srv/app2]}", "/srv/app2 is not below the roots"},
		"remove by ..":        {tree + "restore: {remove: [/srv/app/../../etc]}", "has elements like . or .."},
		"remove a pattern":    {tree + "restore: {empty: ['/srv/app/*']}", "is a path, not a pattern"},
		"everything is root":  {tree + "restore: {roots: [/]}", "2:19: the whole machine is no root"},
		"rewrite of nothing":  {tree + "restore: {rewrite: [{files: a}]}", "2:22: a rewrite is exactly one of properties, xml, regex"},
		"rewrite elsewhere":   {tree + "restore: {rewrite: [{files: '/etc/*', properties: {a: b}}]}", "/etc/* is not below the roots"},
		"rewrite by ..":       {tree + "restore: {rewrite: [{files: a/../../b, properties: {a: b}}]}", "leaves the directory by .."},
		"rewrite no files":    {tree + "restore: {rewrite: [{properties: {a: b}}]}", "files is missing"},
		"xml":                 {tree + "restore: {rewrite: [{files: a, xml: {element: b}}]}", "xml needs an element and an attribute"},
		"regex":               {tree + "restore: {rewrite: [{files: a, regex: {match: '('}}]}", "error parsing regexp"},
		"regex group":         {tree + "restore: {rewrite: [{files: a, regex: {match: a(b), replace: $2}}]}", "match has no group 2"},
		"step of two":         {tree + "restore: {steps: [{text: a, shell: b}]}", "a step is exactly one of text, run, shell, http"},
		"each of no list":     {"vars: {a: b}\n" + parts("{each: a, tree: {path: '/x/${item}'}}"), "3:12: variable a is not a list"},
		"each of nothing":     {"vars: {apps: [b]}\n" + parts("{each: aps, tree: {path: '/x/${item}'}}"), "each names a list variable; did you mean apps?"},
		"each with one name":  {"vars: {a: [b, c]}\n" + parts("{name: x, each: a, tree: {path: '/x/${item}'}}"), `a part called "x" comes twice`},
		"item outside":        {parts("tree: {path: '/x/${item}'}"), "${item} has a meaning in a part with each only"},
		"unknown variable":    {"vars: {home: /x}\n" + parts("tree: {path: '${home}/${hom}'}"), `3:27: unknown variable "hom"; did you mean home? (write $${ for ${ itself)`},
		"in an empty each":    {"vars: {a: []}\n" + parts("{each: a, tree: {path: '/x/${b}'}}") + "  - tree: {path: /y}", `3:32: unknown variable "b"`},
		"not a variable":      {parts("tree: {path: '/${a-b}'}"), "2:20: ${a-b} is not a variable"},
		"open brace":          {parts("tree: {path: '/${a'}"), "${a is not a variable"},
		"shell variable":      {tree + "hooks:\n  before:\n    - shell: |\n        a\n        echo ${HOME}\n", `6:14: unknown variable "HOME"`},
		"itself":              {"vars: {a: '${b}', b: '${a}'}\n" + parts("tree: {path: '/${a}'}"), "refers to itself"},
		"list in a text":      {"vars: {a: [b]}\n" + parts("tree: {path: '/${a}'}"), "3:20: variable a is a list"},
		"missing key of item": {"vars: {a: [{name: b}]}\n" + parts("{each: a, tree: {path: '/${item.nam}'}}"), `the items of this list have no "nam"; did you mean name?`},
		"key of a text":       {"vars: {a: [b]}\n" + parts("{each: a, tree: {path: '/${item.x}'}}"), "the items of this list are texts"},
		"item is a map":       {"vars: {a: [{name: b}]}\n" + parts("{each: a, tree: {path: '/${item}'}}"), "the items of this list have keys: ${item.KEY}"},
		"map variable":        {"vars: {a: {b: c}}\n" + tree, "variable a is a map"},
		"variable name":       {"vars: {a-b: c}\n" + tree, `1:8: "a-b" cannot be a variable`},
		"unused variable":     {"vars: {a: b}\n" + tree, "1:8: variable a is not used"},
		"variable without":    {"vars: {a: }\n" + parts("tree: {path: '/${a}'}"), "variable a has no value: set it under vars"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := wrong(t, c.text, ParseOptions{})
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("refused: %q", got)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)):
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if _, err := Parse("x.yaml", []byte(c.text), ParseOptions{}); err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a secret:\n%v", err)
			}
		})
	}
}

// TestBounded: variables do not make gigabytes of a small file.
func TestBounded(t *testing.T) {
	t.Parallel()
	chain, last := "vars:\n  v0: "+strings.Repeat("x", 64)+"\n", "v0"
	for i := 1; i < 40; i++ {
		next := "v" + strings.Repeat("i", i)
		chain += "  " + next + ": ${" + last + "}${" + last + "}\n"
		last = next
	}
	square := "vars: {l: [" + strings.Repeat("a,", 900) + "a]}\nparts:\n" + strings.Repeat("  - {name: '${item}', each: l, tree: {path: '/${item}', exclude: ['${l}', '${l}']}}\n", 20)
	for name, text := range map[string]string{
		"doubling": chain + parts("tree: {path: '/${"+last+"}'}"),
		"square":   square,
		"long":     "vars: {l: [" + strings.Repeat("a,", 2000) + "a]}\n" + parts("{each: l, tree: {path: '/${item}'}}"),
	} {
		got := strings.Join(wrong(t, text, ParseOptions{}), "\n")
		if !strings.Contains(got, "the file grows too large") && !strings.Contains(got, "1000 are the most") {
			t.Errorf("%s: %.300s", name, got)
		}
	}
}

func TestGivenVariables(t *testing.T) {
	t.Parallel()
	text := "vars: {home: /a, l: [x]}\n" + parts("{each: l, tree: {path: '${home}/${item}'}}")
	for name, want := range map[string]string{"hom": "variable hom is set, but there is none of this name; did you mean home?", "l": "variable l is a list"} {
		if got := wrong(t, text, ParseOptions{Vars: map[string]string{name: "x"}}); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestSplitPort(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"80": "localhost", "db:80": "db", "[::1]:80": "::1"} {
		if host, port, err := SplitPort(text); err != nil || host != want || port != 80 {
			t.Errorf("%s: %s, %d, %v", text, host, port, err)
		}
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	near, far := t.TempDir(), t.TempDir()
	write := func(dir, name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(near, "b.yaml", tree)
	write(near, "bad.yml", "part: []")
	write(near, "other.yaml", "source: named\n"+tree)
	write(near, "again.yaml", "source: b\n"+tree)
	write(near, ".hidden.yaml", tree)
	write(near, "notes.txt", "x")
	write(near, "large.yaml", strings.Repeat("# x\n", 1<<17))
	write(far, "b.yaml", "description: far\n"+tree)
	write(far, "c.yaml", tree)
	dirs := []string{filepath.Join(near, "nothing"), near, far}
	all, err := Load(dirs, ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range all {
		text := l.Name + " " + filepath.Base(l.Path)
		if l.Err != nil {
			text += " " + strings.SplitN(strings.ReplaceAll(l.Err.Error(), near, ""), "\n", 2)[0]
		}
		got = append(got, text)
	}
	want := []string{"b again.yaml", "b b.yaml /b.yaml: source b is in /again.yaml, too", `bad bad.yml /bad.yml:1:1: unknown key "part"; did you mean parts?`, "c c.yaml",
		"large large.yaml /large.yaml:1:1: the file has 262145 bytes; 262144 are the most", "named other.yaml"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	for name, path := range map[string]string{"b": near + "/b.yaml", "named": near + "/other.yaml", "c": far + "/c.yaml", far + "/b.yaml": far + "/b.yaml"} {
		f, err := Find(name, dirs, ParseOptions{})
		if err != nil || f.Path != path {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	if _, err := Find("nmaed", dirs, ParseOptions{}); err == nil || !strings.Contains(err.Error(), "did you mean named?") {
		t.Errorf("got %v", err)
	}
	if _, err := Find("bad", dirs, ParseOptions{}); err == nil || !strings.Contains(err.Error(), "unknown key") {
		t.Errorf("got %v", err)
	}
}
