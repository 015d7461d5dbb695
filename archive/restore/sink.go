package restore

import (
	"context"

	"cairn/snapshot"
)

// Sink takes a tree, entry by entry, in the order of the walk: a directory, then what is in it.
type Sink interface {
	// Takes says whether entries of a type are wanted.
	Takes(t snapshot.NodeType) bool
	// Begin is called for each entry. Path has no slash at its begin, and no elements that lead upwards. n is valid during the call.
	Begin(path string, n *snapshot.Node) error
	// Content is called with pieces of the file that began last, in their order, holes as zeros. b is valid during the call.
	Content(b []byte) error
	// Finish is called when all is written, and not after an error.
	Finish() error
}

// Dump streams an entry and all below it into a sink, as DumpTar does; hard links are files of their own.
func Dump(ctx context.Context, src Source, n *snapshot.Node, prefix string, to Sink) error {
	return dumpTree(ctx, src, n, prefix, &adapter{to: to})
}

// adapter makes a treeSink of a Sink.
type adapter struct {
	gaps
	to Sink
}

func (a *adapter) takes(t snapshot.NodeType) bool { return a.to.Takes(t) }
func (a *adapter) links() bool                    { return false }
func (a *adapter) finish() error                  { return a.to.Finish() }

func (a *adapter) begin(path, _ string, n *snapshot.Node) error {
	if err := a.to.Begin(path, n); err != nil || n.Type != snapshot.File {
		return err
	}
	return a.reset(n, contentOf{a.to})
}

type contentOf struct{ to Sink }

func (c contentOf) Write(b []byte) (int, error) { return len(b), c.to.Content(b) }
