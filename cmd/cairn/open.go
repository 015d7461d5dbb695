package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/urfave/cli/v2"

	"cairn/archive"
	"cairn/chunk/seal"
	"cairn/index"
)

// open opens the archive with its keys. Missing members are warned about.
func (e *env) open(c *cli.Context) (*archive.Archive, error) {
	p, err := e.where(c)
	if err != nil {
		return nil, err
	}
	return e.openPlace(c, p)
}

func (e *env) openPlace(c *cli.Context, p *place) (*archive.Archive, error) {
	creds, err := e.credentials(c, p)
	if err != nil {
		return nil, err
	}
	return e.openWith(c, p, creds)
}

func (e *env) openWith(c *cli.Context, p *place, creds []seal.Credential) (*archive.Archive, error) {
	members, err := e.openMembers(c, p, p.members)
	if err != nil {
		return nil, err
	}
	a, err := archive.Open(c.Context, members, e.optionsAt(c, p, creds))
	if err != nil {
		return nil, err
	}
	// The memory of key stretching, 64 MiB, is garbage now, and nothing else is there that would have to be marked (1 ms). Left to the collector, it
	// was still there when the first buffers came, in one run of three: 123 MB at the peak of a check instead of 95.
	runtime.GC()
	e.warnMissing(a)
	return a, nil
}

func (e *env) options(c *cli.Context, creds []seal.Credential) archive.Options {
	return e.optionsAt(c, &place{}, creds)
}

// optionsAt are the options of an archive as it is, or as it was: then with nothing in the cache directory, because what is remembered there is of
// now.
func (e *env) optionsAt(c *cli.Context, p *place, creds []seal.Credential) archive.Options {
	base := e.cacheBase(c)
	if !p.asOf.IsZero() {
		return archive.Options{
			Credentials: creds, Notice: func(text string) { e.say("note: %s", text) }, Salvage: e.salvage || c.Bool("salvage"),
			OpenIndex: func(seal.ArchiveID) (archive.Index, error) { return index.NewMap(), nil },
		}
	}
	return archive.Options{
		Credentials: creds,
		OpenIndex:   func(id seal.ArchiveID) (archive.Index, error) { return e.openIndex(base, id) },
		IndexLost: func(err error) bool {
			var broken *index.BrokenError
			return errors.As(err, &broken) || errors.Is(err, index.ErrNoSpace)
		},
		Dir:     func(id seal.ArchiveID) string { return under(base, id) },
		Notice:  func(text string) { e.say("note: %s", text) },
		Salvage: e.salvage || c.Bool("salvage"),
	}
}

// cacheBase is the directory of all archives' caches, or "" when there is no place for one.
func (e *env) cacheBase(c *cli.Context) string {
	if dir := value(c, "cache-dir"); dir != "" {
		abs, err := filepath.Abs(dir)
		if err == nil {
			return abs
		}
	}
	dir, err := e.cacheDir()
	if err != nil {
		return ""
	}
	return dir
}

func under(base string, id seal.ArchiveID) string {
	if base == "" {
		return ""
	}
	return filepath.Join(base, id.String())
}

// openIndex opens the Badger index, or on a machine where no cache can be written, one in memory.
func (e *env) openIndex(base string, id seal.ArchiveID) (archive.Index, error) {
	if base == "" {
		e.warn("no cache directory (HOME is not set): the index is read anew by each command")
		return index.NewMap(), nil
	}
	dir := filepath.Join(base, id.String(), "index")
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		e.warn("no cache (%v): the index is read anew by each command", err)
		return index.NewMap(), nil
	}
	idx, err := index.Open(dir, index.Options{Notice: func(text string) { e.say("note: %s", text) }})
	if err != nil {
		e.warn("no cache (%v): the index is read anew by each command", err)
		return index.NewMap(), nil
	}
	return idx, nil
}

func (e *env) warnMissing(a *archive.Archive) {
	var missing []string
	for _, m := range a.Set().Members() {
		if m.Store == nil {
			missing = append(missing, fmt.Sprintf("%s (%v)", m.Label, m.Err))
		}
	}
	if len(missing) == 0 {
		return
	}
	left := a.Geometry().N() - len(missing)
	e.warn("%d of %d members are missing; %d are needed:", len(missing), a.Geometry().N(), a.Geometry().K)
	for _, m := range missing {
		fmt.Fprintf(e.stderr, "  %s\n", m)
	}
	switch {
	case left < a.Geometry().K && a.Salvages():
		e.warn("only what the others hold can be read, until %s back", more(a.Geometry().K-left))
	case left < a.Geometry().K:
		e.warn("files cannot be read until %s back", more(a.Geometry().K-left))
	}
}

func more(n int) string {
	if n == 1 {
		return "one more is"
	}
	return fmt.Sprintf("%d more are", n)
}

// withArchive opens the archive, runs fn and closes it.
func (e *env) withArchive(c *cli.Context, fn func(ctx context.Context, a *archive.Archive) error) (err error) {
	a, err := e.open(c)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := a.Close(); err == nil && closeErr != nil {
			err = nil // a cache that does not close cleanly is rebuilt; what was asked for is done
		}
	}()
	return e.meanwhile(c.Context, a, fn(c.Context, a))
}

var _ archive.Index = (*index.Map)(nil)
var _ archive.Index = (*index.Index)(nil)
