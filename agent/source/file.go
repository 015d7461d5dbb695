package source

import (
	"time"

	"cairn/agent/document"
	"cairn/agent/secret"
)

// File is one source.
type File struct {
	Name        string `yaml:"source"`  // default: the file's name without .yaml
	Profile     string `yaml:"profile"` // whose parts, hooks, guards and rules are the defaults of this file
	Description string `yaml:"description"`

	Vars   map[string]any `yaml:"vars"` // text, number, or a list of texts or of maps of texts; ${name} in any text below
	Labels Labels         `yaml:"labels"`
	Series string         `yaml:"series"` // default: HOST/NAME, with a class that has its own schedule HOST/NAME/CLASS
	Tags   []string       `yaml:"tags"`

	Schedule string         `yaml:"schedule"` // cron expression, kept and shown for a scheduler
	Keep     Keep           `yaml:"keep"`
	Classes  map[Class]Rule `yaml:"classes"`

	Parts  []Part `yaml:"parts"`
	Hooks  Hooks  `yaml:"hooks"`
	Guards struct {
		Backup  []Guard `yaml:"backup"`
		Restore []Guard `yaml:"restore"`
	} `yaml:"guards"`

	// Warm reads the trees once while the application runs, so that the pass for which it is stopped finds little to read.
	Warm            bool `yaml:"warm"`
	SkipIfUnchanged bool `yaml:"skip_if_unchanged"`

	Verify  []Verify `yaml:"verify"`
	Restore Restore  `yaml:"restore"`

	Path      string `yaml:"-"` // of the file, when Load or Find read it
	Effective []byte `yaml:"-"` // the file with its profile put in and its variables as they are written, if Parse made it (see Marshal)
}

// Labels say whose data this is; they go into the snapshot.
type Labels struct {
	Host      string `yaml:"host"` // default: this machine's name; `--as-host` overrides
	Role      string `yaml:"role"` // primary, replica, staging…
	Component string `yaml:"component"`
}

// Keep is how many snapshots of a series are kept, in the words of `cairn forget`.
type Keep struct {
	Last      int    `yaml:"last"`
	Hourly    int    `yaml:"hourly"`
	Daily     int    `yaml:"daily"`
	Weekly    int    `yaml:"weekly"`
	Monthly   int    `yaml:"monthly"`
	Quarterly int    `yaml:"quarterly"`
	Yearly    int    `yaml:"yearly"`
	Within    string `yaml:"within"`
}

// Class is what a part is worth.
type Class string

// The classes. Data is the default.
const (
	Config  Class = "config"  // changes when people change it: kept until it changes
	Data    Class = "data"    // what the application is there for
	Log     Class = "log"     // grows and rotates; own retention
	Derived Class = "derived" // can be made again from data: not backed up, not restored unless asked for by name
	Never   Class = "never"   // does harm when it comes back (journals, queues): not backed up, refused by a restore unless forced by name
)

// Rule is what a class has of its own. A class with a Schedule is left out of the ordinary run and makes snapshots of its own.
type Rule struct {
	Schedule string `yaml:"schedule"`
	Keep     Keep   `yaml:"keep"`
	Restore  string `yaml:"restore"` // "yes" (default of config, data, log) or "ask" (only when named)
}

// Part is one thing that is read. Exactly one of the pointers is set.
type Part struct {
	Name     string `yaml:"name"` // default: made from the kind and what it names; unique in the file
	Class    Class  `yaml:"class"`
	Optional bool   `yaml:"optional"` // may be absent; a required part that is absent fails the run
	Each     string `yaml:"each"`     // name of a list variable: the part is repeated with ${item} (or ${item.KEY}) for each of it; empty after Parse

	Tree     *Tree     `yaml:"tree"`
	Command  *Command  `yaml:"command"`
	Postgres *Postgres `yaml:"postgres"`
	MariaDB  *MariaDB  `yaml:"mariadb"`
	SQLite   *SQLite   `yaml:"sqlite"`
	Derby    *Embedded `yaml:"derby"`
	H2       *Embedded `yaml:"h2"`
	Fedora   *Fedora   `yaml:"fedora"`
	Export   *Export   `yaml:"export"`
}

// Tree is a directory or a file.
type Tree struct {
	Path          string   `yaml:"path"` // absolute
	Exclude       []string `yaml:"exclude"`
	Derived       []string `yaml:"derived"` // patterns of what is of that class within the tree
	Never         []string `yaml:"never"`
	OneFileSystem bool     `yaml:"one_file_system"`
}

// Command is a program whose output is the content of one file; only exit status 0 makes it valid.
type Command struct {
	File    string        `yaml:"file"` // name of the stream
	Run     Run           `yaml:"run"`
	Restore Run           `yaml:"restore"` // program that takes the stream back on its standard input; may be empty
	Timeout time.Duration `yaml:"timeout"` // 0: none
}

// Run is a program with its arguments, without a shell.
type Run struct {
	Args []string          `yaml:"args"` // a list may also stand in the place of the map
	Dir  string            `yaml:"dir"`
	Env  map[string]string `yaml:"env"`
	// Secrets are environment variables whose values are secret.
	Secrets map[string]Secret `yaml:"secrets"`
}

// Secret names where a value is; Hidden is the value.
type (
	Secret = secret.Secret
	Hidden = secret.Hidden
)

// ReadNode takes a program with its arguments from a list, or from a map with more.
func (r *Run) ReadNode(n *document.Node, d *document.Decoder) {
	switch {
	case n.Kind == document.List:
		m := document.NewMap()
		m.Place = n.Place
		m.Set(document.Entry{Key: "args", Value: n, Place: n.Place})
		d.Struct(m, r)
	case n.IsScalar():
		d.Problems.Add(n.Place, "want a list: [program, argument, …]; no shell takes a text apart (hooks have `shell:` for that)")
		r.Args = []string{n.Text} // it is given, if in the wrong way
	default:
		d.Struct(n, r)
	}
}

// Server is how a database server is reached. Empty fields are the client program's defaults.
type Server struct {
	Host     string   `yaml:"host"` // name, or directory of a socket
	Port     int      `yaml:"port"`
	User     string   `yaml:"user"`
	Password *Secret  `yaml:"password"`
	Client   []string `yaml:"client"` // put before each client program: [docker, exec, -i, db]
}

// Postgres is databases of one PostgreSQL server: one stream for each, and one for roles and tablespaces.
type Postgres struct {
	Server    `yaml:",inline"`
	Databases []string `yaml:"databases"` // or "all"
	Globals   *bool    `yaml:"globals"`   // default true
	Format    string   `yaml:"format"`    // plain (default) or custom, never compressed
}

// MariaDB is databases of one MariaDB or MySQL server, dumped by one call, so that they are of one moment.
type MariaDB struct {
	Server      `yaml:",inline"`
	Databases   []string `yaml:"databases"`     // or "all"
	IgnoreTable []string `yaml:"ignore_tables"` // DATABASE.TABLE
}

// SQLite is one database file, copied while it is in use.
type SQLite struct {
	Path   string `yaml:"path"`
	Method string `yaml:"method"` // backup (default: a copy made through the online API in a temporary file), dump (SQL text)
}

// Embedded is a database that lives inside another program (Derby, H2): its files are copied, and it must be stopped.
type Embedded struct {
	Path string `yaml:"path"`
}

// Fedora is a Fedora 4 or 5 repository that backs itself up into a directory when asked by HTTP.
type Fedora struct {
	URL      string        `yaml:"url"` // of the repository, without fcr:backup
	User     string        `yaml:"user"`
	Password *Secret       `yaml:"password"`
	Staging  string        `yaml:"staging"`  // directory in which this program makes one for each run, as this program sees it
	PathMap  []PathMap     `yaml:"path_map"` // how the server sees it
	Owner    string        `yaml:"owner"`    // user[:group] that the server runs as, for the directory
	Timeout  time.Duration `yaml:"timeout"`  // 0: none; connecting takes 30 s at most
}

// PathMap says that what is Local here is Remote there.
type PathMap struct {
	Local  string `yaml:"local"`
	Remote string `yaml:"remote"`
}

// Export is an HTTP request whose answer is the content of one file, or that makes a program write a directory.
type Export struct {
	Request `yaml:",inline"`
	File    string `yaml:"file"` // name of the stream; or
	Path    string `yaml:"path"` // what is there after the request is backed up as a tree
	Clean   bool   `yaml:"clean"`
}

// Request is an HTTP request. Status 200 to 299 is success, if Status names nothing else.
type Request struct {
	Method   string            `yaml:"method"` // default POST
	URL      string            `yaml:"url"`
	Body     string            `yaml:"body"`
	Headers  map[string]string `yaml:"headers"`
	User     string            `yaml:"user"`
	Password *Secret           `yaml:"password"`
	Token    *Secret           `yaml:"token"` // sent as bearer token
	Status   []int             `yaml:"status"`
	CA       string            `yaml:"ca"`
	Timeout  time.Duration     `yaml:"timeout"`
}

// Hooks are run around the reading. What Before stopped Finally starts: it is run as soon as all parts are read, and also after a failure, an
// interruption, a time-out, and at the next start after this program itself was killed.
type Hooks struct {
	Before  []Hook `yaml:"before"`
	Finally []Hook `yaml:"finally"`
	After   []Hook `yaml:"after"` // the snapshot is stored
	OnError []Hook `yaml:"on_error"`
}

// Hook is a program, a line for the shell, or a request. Exit status 75 of a hook in Before ends the run softly.
type Hook struct {
	Name    string        `yaml:"name"`
	Run     Run           `yaml:"run"`
	Shell   string        `yaml:"shell"` // for /bin/sh -c
	HTTP    *Request      `yaml:"http"`
	Timeout time.Duration `yaml:"timeout"` // default 10 minutes
}

// Guard is a condition that must hold before anything is touched. Exactly one is set.
type Guard struct {
	NotRunning string `yaml:"not_running"` // no process of this name
	PortClosed string `yaml:"port_closed"` // [HOST:]PORT; nobody answers
	PortOpen   string `yaml:"port_open"`
	PIDFile    string `yaml:"pid_file"`  // absent, or its process is gone
	LockFile   string `yaml:"lock_file"` // absent, or not locked by anybody
	Absent     string `yaml:"absent"`    // nothing of this name exists

	Skip bool `yaml:"skip"` // a backup is skipped softly when the condition does not hold, and does not fail
}

// Verify checks the format of what was backed up, in the snapshot.
type Verify struct {
	Format string `yaml:"format"` // modeshape, content-tree, seafile, ocfl, bagit
	Path   string `yaml:"path"`
}

// Restore is what is done beside bringing the files and databases back, in this order: guards, safety snapshot, remove and empty, files,
// databases, rewrites, steps.
type Restore struct {
	Roots   []string  `yaml:"roots"` // remove, empty and rewrite are confined to these; default: the paths of the trees
	Before  []Hook    `yaml:"before"`
	Remove  []string  `yaml:"remove"` // removed with all that is below
	Empty   []string  `yaml:"empty"`  // emptied; the directory itself keeps its owner and mode
	Rewrite []Rewrite `yaml:"rewrite"`
	Steps   []Step    `yaml:"steps"`
	Runbook string    `yaml:"runbook"` // text for the people who do the rest
}

// Rewrite changes text files that were restored. Exactly one of Properties, XML and Regex is set. Nothing is rewritten unless asked for.
type Rewrite struct {
	Files      []string          `yaml:"files"`      // patterns, confined to the roots
	Properties map[string]string `yaml:"properties"` // KEY: VALUE of a .properties file
	XML        *XMLRewrite       `yaml:"xml"`
	Regex      *RegexRewrite     `yaml:"regex"`
}

// XMLRewrite sets an attribute of elements, e.g. element "param", where {name: url}, attribute "value".
type XMLRewrite struct {
	Element   string            `yaml:"element"`
	Where     map[string]string `yaml:"where"`
	Attribute string            `yaml:"attribute"`
	Value     string            `yaml:"value"`
}

// RegexRewrite replaces what matches (RE2), with $1 for groups.
type RegexRewrite struct {
	Match   string `yaml:"match"`
	Replace string `yaml:"replace"`
}

// Step is something to run or something for a person to do after the files are back.
type Step struct {
	Hook `yaml:",inline"`
	Text string `yaml:"text"`
}
