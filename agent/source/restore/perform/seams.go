package perform

import (
	"context"
	"io"

	"cairn/agent/source"
	"cairn/agent/source/restore"
)

// Databases take streams back.
type Databases interface {
	// Restore brings one stream back and returns warnings. src gives an error when the stream is not whole; then nothing of it may stay.
	Restore(ctx context.Context, j restore.Job, src io.Reader) (warnings []string, err error)
	// Ready says whether the server of a stream can be reached and takes it, with the databases that are in it. It changes nothing.
	Ready(ctx context.Context, j restore.Job, names []string) error
	// Stopped says whether nobody has the files of a Derby or H2 database open.
	Stopped(p source.Part) (warnings []string, err error)
}

// Fedora restores repositories that do it themselves.
type Fedora interface {
	// Restore makes a directory that the repository can see, has it filled, proves that it is whole, and only then asks the repository to
	// replace all that it has.
	Restore(ctx context.Context, r Repository) (warnings []string, err error)
}

// Repository is one to bring back.
type Repository struct {
	Name  string // of source and part
	Part  source.Part
	Bytes uint64 // that Fill will write
	Force bool   // also when what was filled in is damaged
	Fill  func(ctx context.Context, dir string) error
}

// Safety stores what is there before it is changed. It returns how the snapshot is called.
type Safety interface {
	Save(ctx context.Context, p *restore.Plan) (snapshot string, err error)
}

// Tools are what Execute works with. A nil one is an error when the plan needs it.
type Tools struct {
	Databases Databases
	Fedora    Fedora
	Safety    Safety    // nil: no safety snapshot
	Stderr    io.Writer // gets what programs say; may be nil
	// Consent is asked for each step that runs something; nil: none is run.
	Consent func(ctx context.Context, p *restore.Plan, s source.Step) (bool, error)
	// Tell hears what is done; may be nil.
	Tell func(Event)
}

// Event is something that happens during Execute.
type Event struct {
	Source string
	Stage  Stage
	Text   string
	Warn   bool
}

// Stage is a part of the work.
type Stage string

// The stages in their order.
const (
	Guards    Stage = "guards"
	Before    Stage = "before"
	Asking    Stage = "look at the databases that are there"
	SafetyNet Stage = "safety snapshot"
	Wiping    Stage = "remove"
	Files     Stage = "files"
	Streams   Stage = "databases"
	Rewrites  Stage = "rewrites"
	Steps     Stage = "steps"
)
