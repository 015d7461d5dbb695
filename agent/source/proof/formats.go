package proof

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"cairn/agent/source"
	"cairn/agent/source/paper"
	"cairn/agent/verify"
)

// Format is what became of the verification of one format.
type Format struct {
	Path   string         `json:"path"` // in the snapshot
	Report *verify.Report `json:"report"`
}

// Formats verifies the formats that a source file lists, inside the snapshot. Dumps that a format compares with are found below the streams
// of the same snapshot. o.Found hears each problem of them, if it is set; what concerns a format as a whole is returned.
func Formats(ctx context.Context, fsys fs.FS, f *source.File, run *paper.Run, o verify.Options) ([]Format, []Problem, error) {
	var list []Format
	var problems []Problem
	for _, v := range f.Verify {
		places, err := places(fsys, v.Path, run)
		if err != nil {
			return list, problems, err
		}
		if len(places) == 0 && run.Class == "" { // what a class of its own leaves out is in the snapshots of the others
			problems = append(problems, Problem{Path: v.Path, Kind: KindPath, Severity: verify.Error, Message: "is to be verified as " + v.Format + ", and is not in the snapshot"})
		}
		for _, name := range places {
			r, err := verify.Verify(ctx, fsys, Rel(name), v.Format, o)
			switch {
			case ctx.Err() != nil:
				return list, problems, ctx.Err()
			case err != nil:
				problems = append(problems, Problem{Path: name, Kind: KindPath, Severity: verify.Error, Message: fmt.Sprintf("cannot be verified as %s: %v", v.Format, err)})
			default:
				list = append(list, Format{name, r})
			}
		}
	}
	return list, problems, nil
}

// places finds what is to be verified: the path itself, or what parts left below it, as in a staging directory in which each run makes one
// of its own.
func places(fsys fs.FS, name string, run *paper.Run) ([]string, error) {
	var below []string
	for i := range run.Parts {
		for _, p := range run.Parts[i].Paths {
			if strings.HasPrefix(p, strings.TrimSuffix(name, "/")+"/") {
				below = append(below, p)
			}
		}
	}
	_, err := fs.Stat(fsys, Rel(name))
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("look for %s: %w", name, err)
	case len(below) > 0 && staged(run, below):
		return below, nil
	case err == nil:
		return []string{name}, nil
	}
	return below, nil
}

// staged says whether the paths are all of parts that write into directories of their own.
func staged(run *paper.Run, paths []string) bool {
	own := map[string]bool{}
	for i := range run.Parts {
		for _, p := range run.Parts[i].Paths {
			own[p] = run.Parts[i].Kind == "fedora"
		}
	}
	for _, p := range paths {
		if !own[p] {
			return false
		}
	}
	return true
}
