package export

import (
	"context"
	"crypto/sha1" // Fedora's own; not for security
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"cairn/archive/restore"
	"cairn/snapshot"
)

// Names in documents.
const (
	nsJCR   = "http://www.jcp.org/jcr/1.0"
	nsCairn = "urn:cairn:node"
)

// blockSize is how many children a document names; more are in documents of their own, as ModeShape splits them.
const blockSize = 10_000

// nodeDoc is the content of a document about a node.
type nodeDoc struct {
	Key        string                    `json:"key"`
	Parent     string                    `json:"parent,omitempty"`
	Properties map[string]map[string]any `json:"properties,omitempty"`
	Children   []childRef                `json:"children,omitempty"`
	Info       *childrenInfo             `json:"childrenInfo,omitempty"`
}

type childRef struct {
	Key  string `json:"key"`
	Name string `json:"name"`
}

type childrenInfo struct {
	Count     int    `json:"count,omitempty"`
	NextBlock string `json:"nextBlock,omitempty"`
}

// level is a directory on the way down. Its document is written when all below it is: only then its children are known.
type level struct {
	path  string
	doc   nodeDoc
	count int
	block nodeDoc // the last, when there are more children than one document names
}

// fedoraSink writes a directory in the format of Fedora's backups.
type fedoraSink struct {
	w      *writer
	docs   *documents
	report *Report
	done   *restore.Progress
	prefix string // of keys: ModeShape's are source and workspace, seven digits each, and then the node
	stack  []*level
	sum    hash.Hash
	size   int64
	file   *nodeDoc // that is being written
	info   repositoryInfo
}

// repositoryInfo is the first document.
type repositoryInfo struct {
	Key            string `json:"key"`
	RepositoryName string `json:"repositoryName"`
	SourceName     string `json:"sourceName"`
	SourceKey      string `json:"sourceKey"`
	Snapshot       string `json:"snapshot"`
	Path           string `json:"path"`
	Series         string `json:"series"`
	Host           string `json:"host"`
	Taken          string `json:"taken"`
	Program        string `json:"program,omitempty"`
}

func fedora(ctx context.Context, src restore.Source, s Subject, root *os.Root, o Options) (*Report, error) {
	source, workspace := hexSum("cairn")[:7], hexSum(s.Snapshot.Series)[:7]
	f := &fedoraSink{w: newWriter(root), docs: newDocuments(root, o.PerFile), report: &Report{}, done: o.Progress, prefix: source + workspace, sum: sha1.New()}
	f.info = repositoryInfo{Key: "repository:info", RepositoryName: "cairn", SourceName: "cairn", SourceKey: source,
		Snapshot: s.Snapshot.ID.String(), Path: "/" + strings.Trim(s.Path, "/"), Series: s.Snapshot.Series, Host: s.Snapshot.Host,
		Taken: date(s.Snapshot.Start), Program: o.Program}
	defer f.w.drop()
	defer f.docs.drop()
	if err := f.docs.add(f.info.Key, f.info); err != nil {
		return f.report, err
	}
	top := &level{doc: nodeDoc{Key: f.prefix + "/", Properties: map[string]map[string]any{nsJCR: {"primaryType": name("mode:root")}}}}
	if s.Node.Type == snapshot.Dir {
		top.doc.Properties[nsCairn] = properties(s.Node)
	}
	f.stack = []*level{top}
	err := restore.Dump(ctx, src, s.Node, "", f)
	f.report.Documents = f.docs.total
	return f.report, err
}

func hexSum(text string) string {
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

func date(t snapshot.Time) string { return t.Time().UTC().Format("2006-01-02T15:04:05.000Z") }

func name(n string) map[string]string { return map[string]string{"$name": n} }

func when(t snapshot.Time) map[string]string { return map[string]string{"$date": date(t)} }

// key is the same for the same path in each export of a series.
func (f *fedoraSink) key(path string) string { return f.prefix + hexSum(path) }

func (f *fedoraSink) Takes(snapshot.NodeType) bool { return true }

func (f *fedoraSink) Begin(full string, n *snapshot.Node) error {
	if err := f.end(); err != nil {
		return err
	}
	dir := path.Dir(full)
	if dir == "." {
		dir = ""
	}
	for f.last().path != dir {
		if len(f.stack) == 1 {
			return fmt.Errorf("%s comes without the directory that it is in", full)
		}
		if err := f.leave(); err != nil {
			return err
		}
	}
	doc := nodeDoc{Key: f.key(full), Parent: f.last().doc.Key, Properties: map[string]map[string]any{nsCairn: properties(n)}}
	if err := f.child(doc.Key, n.Name); err != nil {
		return err
	}
	jcr := map[string]any{}
	doc.Properties[nsJCR] = jcr
	switch n.Type {
	case snapshot.Dir:
		jcr["primaryType"], jcr["created"] = name("nt:folder"), when(n.Mtime)
		f.stack = append(f.stack, &level{path: full, doc: doc})
		f.report.Dirs++
		return nil
	case snapshot.File:
		jcr["primaryType"], jcr["created"] = name("nt:file"), when(n.Mtime)
		return f.begin(doc, n)
	}
	jcr["primaryType"] = name("cairn:" + typeName(n.Type))
	return f.docs.add(doc.Key, doc)
}

func (f *fedoraSink) last() *level { return f.stack[len(f.stack)-1] }

// child notes a child of the directory that is being written.
func (f *fedoraSink) child(key, name string) error {
	l := f.last()
	ref := childRef{key, text(name)}
	switch l.count++; {
	case l.count <= blockSize:
		l.doc.Children = append(l.doc.Children, ref)
		return nil
	case l.count%blockSize == 1:
		next := fmt.Sprintf("%s/block%d", l.doc.Key, l.count/blockSize)
		if l.block.Key == "" {
			l.doc.Info = &childrenInfo{NextBlock: next}
		} else {
			l.block.Info = &childrenInfo{NextBlock: next}
			if err := f.docs.add(l.block.Key, l.block); err != nil {
				return err
			}
		}
		l.block = nodeDoc{Key: next, Parent: l.doc.Key, Children: l.block.Children[:0]}
	}
	l.block.Children = append(l.block.Children, ref)
	return nil
}

// leave writes the document of the innermost directory.
func (f *fedoraSink) leave() error {
	l := f.last()
	f.stack = f.stack[:len(f.stack)-1]
	if l.block.Key != "" {
		if err := f.docs.add(l.block.Key, l.block); err != nil {
			return err
		}
	}
	if l.count > 0 {
		if l.doc.Info == nil {
			l.doc.Info = &childrenInfo{}
		}
		l.doc.Info.Count = l.count
	}
	return f.docs.add(l.doc.Key, l.doc)
}

const contentFile = "content" + unfinished

// begin makes a file for a content whose name is not known yet.
func (f *fedoraSink) begin(doc nodeDoc, n *snapshot.Node) error {
	f.file, f.size = &doc, 0
	f.sum.Reset()
	return f.w.begin(contentFile, n.Mtime.Time())
}

func (f *fedoraSink) Content(b []byte) error {
	_, _ = f.sum.Write(b) // never fails
	f.size += int64(len(b))
	f.done.BytesDone.Add(uint64(len(b)))
	_, err := f.w.Write(b)
	return err
}

// end moves the content to where its SHA-1 says, and writes the documents of the file.
func (f *fedoraSink) end() error {
	if f.file == nil {
		return nil
	}
	doc := f.file
	f.file = nil
	if err := f.w.end(); err != nil {
		return err
	}
	digest := hex.EncodeToString(f.sum.Sum(nil))
	if err := f.keep(digest); err != nil {
		return err
	}
	f.report.Files++
	f.report.Bytes += f.size
	f.done.FilesDone.Add(1)
	content := nodeDoc{Key: doc.Key + "/jcr:content", Parent: doc.Key, Properties: map[string]map[string]any{nsJCR: {
		"primaryType": name("nt:resource"), "lastModified": doc.Properties[nsJCR]["created"], "data": map[string]any{"$sha1": digest, "$len": f.size},
	}}}
	doc.Children = []childRef{{content.Key, "jcr:content"}}
	doc.Info = &childrenInfo{Count: 1}
	if err := f.docs.add(doc.Key, doc); err != nil {
		return err
	}
	return f.docs.add(content.Key, content)
}

// keep puts the content under its name, once.
func (f *fedoraSink) keep(digest string) error {
	dir := path.Join("binaries", digest[:2], digest[2:4], digest[4:6])
	file := path.Join(dir, digest+".bin")
	_, err := f.w.root.Lstat(file)
	switch {
	case err == nil:
		return f.w.root.Remove(contentFile)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := f.w.root.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	f.report.Binaries++
	return f.w.root.Rename(contentFile, file)
}

func (f *fedoraSink) Finish() error {
	if err := f.end(); err != nil {
		return err
	}
	for len(f.stack) > 0 {
		if err := f.leave(); err != nil {
			return err
		}
	}
	return f.docs.finish()
}

// properties are what the snapshot recorded of a node.
func properties(n *snapshot.Node) map[string]any {
	p := map[string]any{"type": typeName(n.Type), "name": text(n.Name), "mode": fmt.Sprintf("%04o", n.Mode), "uid": n.UID, "gid": n.GID,
		"modified": n.Mtime.Time().UTC().Format(time.RFC3339Nano)}
	if !utf8.ValidString(n.Name) {
		p["nameHex"] = hex.EncodeToString([]byte(n.Name))
	}
	for k, v := range map[string]string{"user": n.User, "group": n.Group, "target": n.Target} {
		if v != "" {
			p[k] = text(v)
		}
	}
	if n.Type == snapshot.Symlink && !utf8.ValidString(n.Target) {
		p["targetHex"] = hex.EncodeToString([]byte(n.Target))
	}
	if n.Device != nil {
		p["device"] = fmt.Sprintf("%d:%d", n.Device.Major, n.Device.Minor)
	}
	return p
}

func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func typeName(t snapshot.NodeType) string {
	switch t {
	case snapshot.Dir:
		return "directory"
	case snapshot.File:
		return "file"
	case snapshot.Symlink:
		return "symlink"
	case snapshot.Fifo:
		return "fifo"
	case snapshot.Socket:
		return "socket"
	case snapshot.CharDevice:
		return "character-device"
	case snapshot.BlockDevice:
		return "block-device"
	}
	return "unknown"
}
