package driver

import (
	"context"
	"errors"
	"fmt"
	"io"

	"cairn/agent/source"
)

// Options are what all drivers need of their caller. The zero value works.
type Options struct {
	// TempDir is where SQLite's copies are made; empty: the system's.
	TempDir string
	// Stderr gets the messages of the programs, masked; may be nil.
	Stderr io.Writer
}

// Stream is one file of a part.
type Stream struct {
	File      string   // its name within the part; made by FileName, so it is a valid name of a file
	Databases []string // that are in it; nil when it is none (roles)
	// Open starts to read. wait must be called once, after the reader's end or when no more is wanted; it ends what was started. Its error
	// decides whether what was read may be kept.
	Open func(ctx context.Context) (src io.Reader, wait func() error, err error)
}

// Set is all streams of a part.
type Set struct {
	Streams  []Stream
	Tools    map[string]string // program → version, as it says it
	Warnings []string
}

// Streams says what a part consists of. It asks the server where the part says "all"; nothing is dumped before Open.
func Streams(ctx context.Context, p source.Part, o Options) (*Set, error) {
	var set *Set
	var err error
	switch {
	case p.Postgres != nil:
		set, err = postgresStreams(ctx, p.Postgres, o)
	case p.MariaDB != nil:
		set, err = mariadbStreams(ctx, p.MariaDB, o)
	case p.SQLite != nil:
		set, err = sqliteStreams(ctx, p.SQLite, o)
	default:
		return nil, errors.New("not a database that can be dumped")
	}
	if err != nil {
		return nil, fmt.Errorf("part %s: %w", p.Name, err)
	}
	for i := range set.Streams {
		set.Streams[i].named()
	}
	return set, nil
}

// named has its errors say which stream of the part it is.
func (s *Stream) named() {
	open := s.Open
	s.Open = func(ctx context.Context) (io.Reader, func() error, error) {
		src, wait, err := open(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("dump %s: %w", s.File, err)
		}
		return src, func() error {
			if err := wait(); err != nil {
				return fmt.Errorf("dump %s: %w", s.File, err)
			}
			return nil
		}, nil
	}
}

// Job is one stream to bring back.
type Job struct {
	Part source.Part // how the server is reached; a caller who restores elsewhere changes a copy of it
	File string      // name of the stream
	// Database is which one of a MariaDB stream is wanted; empty: all. The others hold one database.
	Database string
	// As is another name for it (with MariaDB, Database must be set); for SQLite the path of another file. Empty: its own.
	As string
	// Replace allows to drop what is there.
	Replace bool
}

// Result is what a restore did.
type Result struct {
	Databases []string // as they are called now
	Warnings  []string
}

// ErrNotEmpty means that the database to be restored holds something already.
var ErrNotEmpty = errors.New("holds something already")

// Restore brings one stream back; whoever calls says which in an error. src must give an error when the stream is not whole; then nothing of it is kept.
func Restore(ctx context.Context, j Job, src io.Reader, o Options) (*Result, error) {
	var r *Result
	var err error
	switch {
	case j.Part.Postgres != nil:
		r, err = postgresRestore(ctx, j, src, o)
	case j.Part.MariaDB != nil:
		r, err = mariadbRestore(ctx, j, src, o)
	case j.Part.SQLite != nil:
		r, err = sqliteRestore(ctx, j, src, o)
	default:
		return nil, errors.New("not a database that can be restored")
	}
	return r, err
}
