package modeshape

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"testing"
	"testing/fstest"

	"cairn/agent/format"
)

// C11–C14: whatever a file of documents holds, each line is a document or a problem, and references are SHA-1s.
func FuzzDocuments(f *testing.F) {
	f.Add([]byte(`{"metadata":{"id":"a"},"content":{"x":{"$sha1":"0123456789012345678901234567890123456789","$len":1}}}`+"\n"), false)
	f.Add([]byte("\n\n{\n"), true)
	f.Add([]byte(`{"metadata":{"id":"a"},"content":{"x":"\"$sha1\":"}}`), true)
	f.Fuzz(func(t *testing.T, data []byte, packed bool) {
		name := "documents_000001.bin"
		file := data
		if packed {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, err := z.Write(data)
			if err = errors.Join(err, z.Close()); err != nil {
				t.Fatal(err)
			}
			name, file = name+".gz", b.Bytes()
		}
		r, err := format.Verify(t.Context(), fstest.MapFS{name: {Data: file}}, ".", "modeshape", format.Options{Memory: 1 << 16}, Look)
		if err != nil {
			t.Fatal(err)
		}
		lines := int64(bytes.Count(data, []byte("\n")))
		if got := r.Counts["documents"]; got+r.Kinds["bad-document"] != lines {
			t.Errorf("%d lines, %d documents, %v", lines, got, r.Problems)
		}
		if cut := len(data) > 0 && data[len(data)-1] != '\n'; cut != (r.Kinds["truncated"] > 0) {
			t.Errorf("ends without newline: %v, told: %v", cut, r.Problems)
		}
		for sha1 := range references(data) {
			if !format.IsHex(sha1, 40) {
				t.Errorf("reference %q", sha1)
			}
		}
	})
}

// C13: damaged compressed data never goes unnoticed and never ends the verification.
func FuzzCompressed(f *testing.F) {
	f.Add([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := format.Verify(t.Context(), fstest.MapFS{"documents_000001.bin.gz": {Data: data}}, ".", "modeshape", format.Options{Memory: 1 << 16}, Look)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err == nil {
			_, err = io.Copy(io.Discard, z)
		}
		if err != nil && !r.Damaged() {
			t.Errorf("gzip says %v, and nothing was found", err)
		}
	})
}
