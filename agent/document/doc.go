// Package document reads YAML files that people write, and tells them all that is wrong with one at a time, each with line and caret.
//
//	text ─ Parse ─▶ *Node ─ Decode ─▶ Go structure        Node.Encode, FromValue ─▶ text
//
// A Node is a map, a list, a scalar or nothing, and knows its place in the file that it came from; so nodes of several files may be merged, and a
// mistake is still shown where it was made. Of YAML only what such files need is understood: one document, no tags, anchors, aliases or merge keys
// (a text of a few lines must not stand for a gigabyte), and no key twice.
//
// Invariants
//   - Parse does not panic, and its result is not deeper than maxDepth, whatever the text is. Texts larger than MaxSize are refused unread.
//   - What Encode writes Parse reads back as an equal Node, places and comments aside.
//   - Excerpts and messages do not show what stands behind the name of a secret (see Place.excerpt): people write passwords in the wrong place, and errors
//     go to logs.
//
// Nodes may be shared for reading. The package does no I/O.
package document
