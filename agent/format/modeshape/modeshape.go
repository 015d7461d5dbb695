// Package modeshape knows the backup that a ModeShape repository writes of itself, and so Fedora 4: numbered files of documents, one JSON
// text a line, and the binary values that they refer to.
package modeshape

import (
	"cairn/agent/format"
	"crypto/sha1" // the format's own; not for security
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Kinds of problems that whoever restores can mend.
const (
	DuplicateID    = "duplicate-id"
	DoubleMetadata = "double-metadata"
)

// What a damaged ModeShape backup does on restore (org.modeshape.jcr.BackupDocumentReader, RestoreActivity).
var (
	kindGap            = format.Damage("gap", "the restore stops at the gap without a message and answers 204: the repository was emptied before and lacks what comes behind")
	kindNoDocuments    = format.Damage("no-documents", "the restore empties the repository and answers 204")
	kindTruncated      = format.Damage("truncated", "the restore goes on without a message: the documents behind the damage are lost")
	kindBadDocument    = format.Damage("bad-document", "the restore skips it without a message: the document is lost, and what comes behind it in the file may be")
	kindDuplicate      = format.Damage(DuplicateID, "a restore into a relational store aborts (BatchUpdateException) after it has emptied the repository; others keep the later document")
	kindDoubleMetadata = format.Doubt(DoubleMetadata, "known and harmless to the data: the repository's metadata is written twice; a restore into a relational store may refuse it, then remove the later line")
	kindTwice          = format.Doubt("both-variants", "the restore reads the compressed file only")
	kindShort          = format.Doubt("short-file", "no gap follows from it, but a file in the middle should be as long as the first: it may have been cut off between two documents")
	kindFlip           = format.Damage("digest", "the content is not what was stored: a restore brings it back damaged under the right name")
	kindWrongPlace     = format.Damage("wrong-place", "it is not found where its name leads")
	kindStrayBinary    = format.Damage("stray", "the restore takes everything here for a directory and fails on it (NullPointerException)")
	kindForeign        = format.Doubt("foreign", "it is no binary value: the restore may store it under a wrong key")
	kindMissingBinary  = format.Damage("missing-binary", "the document comes back and its content does not")
	kindNoBinaries     = format.Damage("no-binaries", "the backup was made without binaries: contents of more than a few KiB do not come back unless their store is kept elsewhere")
)

var documentsName = regexp.MustCompile(`^documents_([0-9]{6,9})\.bin(\.gz)?$`)

// IsDocuments says whether a file is one of a backup's documents, by its name.
func IsDocuments(name string) bool { return documentsName.MatchString(name) }

type modeshape struct {
	*format.Run
	ids, refs *format.Set
	binaries  bool
	last      atomic.Pointer[string] // the place of a reference, for the message when there are no binaries at all
}

// Look reads the documents, then the binaries.
func Look(r *format.Run) error {
	m := &modeshape{Run: r, ids: format.NewSet(r.Options.Memory / 2), refs: format.NewSet(r.Options.Memory / 2)}
	binaries, changes := path.Join(r.Root, "binaries"), path.Join(r.Root, "changes")
	m.binaries = r.IsDir(binaries)
	if err := m.documents(r.Root, false); err != nil {
		return err
	}
	if r.Exists(changes) { // documents that changed while the backup ran; they are put last
		if err := m.documents(changes, true); err != nil {
			return err
		}
	}
	if m.binaries {
		if err := m.allBinaries(binaries); err != nil {
			return err
		}
	} else if first := m.last.Load(); first != nil {
		r.Found(kindNoBinaries, binaries, "is missing, and documents refer to %d binaries, for example %s", m.refs.Len(), *first)
	}
	r.Incomplete(m.ids, "documents with the same id were not all looked for")
	r.Incomplete(m.refs, "missing binaries may be listed more than once")
	return nil
}

// documents reads all numbered files of a directory.
func (m *modeshape) documents(dir string, changes bool) error {
	files := map[int]string{}
	for _, d := range m.List(dir) {
		match := documentsName.FindStringSubmatch(d.Name())
		if match == nil || !m.Regular(dir, d) {
			continue // the restore does not look at other files
		}
		number, err := strconv.Atoi(match[1])
		if err != nil || number == 0 {
			continue
		}
		if old, there := files[number]; there {
			m.Found(kindTwice, path.Join(dir, d.Name()), "and %s are both there", old)
			if strings.HasSuffix(old, ".gz") {
				continue
			}
		}
		files[number] = d.Name()
	}
	numbers := make([]int, 0, len(files))
	for n := range files {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	counts := make([]int64, len(numbers))
	err := m.Parallel(func(do func(func())) {
		for i, n := range numbers {
			do(func() { counts[i] = m.file(path.Join(dir, files[n]), changes) })
		}
	})
	if err != nil {
		return err
	}
	for i, n := range numbers {
		m.Item(format.Item{Kind: "documents", ID: strings.TrimPrefix(path.Join(dir, files[n]), m.Root+"/"), Path: path.Join(dir, files[n]), Facts: map[string]any{"documents": counts[i]}})
	}
	m.numbering(dir, numbers, counts, changes)
	return nil
}

// numbering looks for gaps, and counts what is behind them.
func (m *modeshape) numbering(dir string, numbers []int, counts []int64, changes bool) {
	if len(numbers) == 0 {
		if !changes {
			m.Found(kindNoDocuments, dir, "there is no documents_000001.bin.gz or documents_000001.bin")
		}
		return
	}
	for i, n := range numbers {
		if n == i+1 {
			continue
		}
		var lost int64
		for _, c := range counts[i:] {
			lost += c
		}
		missing := fmt.Sprintf("documents_%06d", i+1)
		if n > i+2 {
			missing += fmt.Sprintf(" to documents_%06d", n-1)
		}
		m.Found(kindGap, path.Join(dir, fmt.Sprintf("documents_%06d.bin.gz", i+1)),
			"%s missing: the restore ends there, and the %d documents in %d files behind it are lost, too", missing, lost, len(numbers)-i)
		m.Count("documents_behind_gap", lost)
		break
	}
	for i, c := range counts[:len(counts)-1] {
		if c < counts[0] && !changes {
			m.Found(kindShort, path.Join(dir, fmt.Sprintf("documents_%06d", numbers[i])), "has %d documents, the first file has %d", c, counts[0])
		}
	}
}

// allBinaries reads binaries/ab/cd/ef/<sha1>.bin.
func (m *modeshape) allBinaries(top string) error {
	return m.Parallel(func(do func(func())) {
		stray := func(name string, d fs.DirEntry) {
			m.Found(kindStrayBinary, name, "%s where only directories of two hexadecimal digits belong", format.Article(d))
		}
		for dir := range m.HashDirs(top, 3, stray) {
			for _, d := range m.List(dir) {
				name := path.Join(dir, d.Name())
				digest, isBin := strings.CutSuffix(d.Name(), ".bin")
				switch {
				case !m.Regular(dir, d) || !isBin || !format.IsHex(digest, 40):
					m.Found(kindForeign, name, "is not named like a binary value (40 hexadecimal digits and .bin)")
				default:
					m.Place(kindWrongPlace, top, name, digest)
					do(func() { m.binary(name, digest) })
				}
			}
		}
	})
}

func (m *modeshape) binary(name, digest string) {
	if m.Options.Shallow {
		m.Count("binaries", 1)
		return
	}
	got, _, err := m.Digest(name, sha1.New())
	switch {
	case err != nil:
		m.Unreadable(name, err)
		return
	case got != digest:
		m.Found(kindFlip, name, "the SHA-1 of its content is %s", got)
	}
	m.Count("binaries", 1)
}
