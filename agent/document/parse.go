package document

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// MaxSize is how large a file may be, in bytes.
	MaxSize = 256 << 10
	// maxDepth is how deep maps and lists may be nested.
	maxDepth = 32
	// maxOpen is how many brackets may be open at a time, and how many items may begin on one line: the parser recurses once for each.
	// Brackets within texts count, too; they come in pairs, mostly.
	maxOpen = 256
)

// Parse reads a text; name is told in errors. An empty text is an empty map. Problems are noted; the node is nil when nothing can be said
// about the rest.
func Parse(name string, data []byte, problems *Problems) *Node {
	file := &File{Name: name}
	at := Place{file, 1, 1}
	if len(data) > MaxSize {
		problems.Add(at, "the file has %d bytes; %d are the most", len(data), MaxSize)
		return nil
	}
	file.lines = strings.Split(string(data), "\n")
	if !checkText(file, problems) {
		return nil
	}
	parsed, err := parseYAML(data)
	if err != nil {
		addSyntax(file, err, problems)
		return nil
	}
	root := &Node{Kind: Map, Place: at}
	r := reader{file, problems}
	found := false
	for _, doc := range parsed.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if found {
			problems.Add(r.place(doc.Body.GetToken()), "a second document in one file")
			break
		}
		found = true
		root = r.node(doc.Body, 0)
	}
	if root.Kind == Null {
		root.Kind = Map
	}
	return root
}

// checkText refuses what would be invisible in an editor, and nesting that is deep enough to be an attack.
func checkText(file *File, problems *Problems) bool {
	open := 0
	for i, line := range file.lines {
		at := Place{file, i + 1, 1}
		if !utf8.ValidString(line) {
			problems.Add(at, "not UTF-8")
			return false
		}
		column := 0
		for _, r := range line {
			column++
			switch {
			case r == '[' || r == '{':
				open++
			case (r == ']' || r == '}') && open > 0:
				open--
			case r < ' ' && r != '\t' && r != '\r', r == 0x7f, r == '\u2028', r == '\u2029', r == '\u0085', r == '\ufeff' && (i > 0 || column > 1):
				problems.Add(Place{file, i + 1, column}, "a control character (%U)", r)
				return false
			}
		}
		if open > maxOpen || indicators(line) > maxDepth {
			problems.Add(at, "nested too deeply")
			return false
		}
	}
	return true
}

// indicators counts what can nest within a line without brackets.
func indicators(line string) (n int) {
	for _, word := range strings.Fields(line) {
		if word == "-" || word == "?" || word == ":" || word[0] == '!' || word[0] == '&' {
			n++
		}
	}
	return n
}

// parseYAML calls the parser. It is somebody else's, and the text may be anything: a panic in it is an error of the text.
func parseYAML(data []byte) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not YAML (%v)", r)
		}
	}()
	return parser.ParseBytes(data, parser.ParseComments)
}

func addSyntax(file *File, err error, problems *Problems) {
	var yamlErr yaml.Error
	if !errors.As(err, &yamlErr) || yamlErr.GetToken() == nil {
		message, _, _ := strings.Cut(err.Error(), "\n")
		problems.Add(Place{file, 1, 1}, "%s", message)
		return
	}
	r := reader{file, problems}
	problems.Add(r.place(yamlErr.GetToken()), "%s", yamlErr.GetMessage())
}

// reader turns the parser's tree into nodes.
type reader struct {
	file     *File
	problems *Problems
}

func (r reader) place(t *token.Token) Place {
	if t == nil || t.Position == nil {
		return Place{r.file, 1, 1}
	}
	return Place{r.file, t.Position.Line, t.Position.Column}
}

func (r reader) node(from ast.Node, depth int) *Node {
	if from == nil {
		return &Node{Place: Place{r.file, 1, 1}}
	}
	n := &Node{Place: r.place(from.GetToken())}
	if depth > maxDepth {
		r.problems.Add(n.Place, "nested too deeply")
		return n
	}
	switch from := from.(type) {
	case *ast.NullNode, *ast.CommentGroupNode:
	case *ast.StringNode:
		n.Kind, n.Text = Text, from.Value
	case *ast.LiteralNode:
		n.Kind, n.Text = Text, from.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		n.Kind, n.Text = Plain, from.GetToken().Value
	case *ast.SequenceNode:
		n.Kind = List
		for _, item := range from.Values {
			n.Items = append(n.Items, r.node(item, depth+1))
		}
	case *ast.MappingNode:
		n.Kind = Map
		for _, value := range from.Values {
			r.entry(n, value, depth)
		}
		if len(n.Entries) > 0 {
			n.Place = n.Entries[0].Place
		}
	case *ast.MappingValueNode:
		n.Kind = Map
		r.entry(n, from, depth)
	case *ast.AnchorNode, *ast.AliasNode:
		r.problems.Add(n.Place, "anchors and aliases are not understood: use variables")
	case *ast.TagNode:
		r.problems.Add(n.Place, "tags are not understood")
	default:
		r.problems.Add(n.Place, "not understood here")
	}
	return n
}

func (r reader) entry(n *Node, from *ast.MappingValueNode, depth int) {
	at := r.place(from.Key.GetToken())
	if from.Key.IsMergeKey() {
		r.problems.Add(at, "merge keys are not understood: use variables")
		return
	}
	var key string
	switch k := from.Key.(type) {
	case *ast.StringNode:
		key = k.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		key = k.GetToken().Value
	default:
		r.problems.Add(at, "not a key")
		return
	}
	if n.Get(key) != nil {
		r.problems.Add(at, "key %q comes twice", key)
		return
	}
	value := r.node(from.Value, depth+1)
	if value.Kind == Null {
		value.Place = at // nothing stands nowhere
	}
	n.Entries = append(n.Entries, Entry{Key: key, Value: value, Place: at, Comment: comment(from)})
}

// comment is what is said about an entry above it or behind its value.
func comment(from *ast.MappingValueNode) string {
	groups := []*ast.CommentGroupNode{from.GetComment()}
	if from.Value != nil {
		if _, isMap := from.Value.(*ast.MappingNode); !isMap {
			groups = append(groups, from.Value.GetComment())
		}
	}
	groups = append(groups, from.Key.GetComment())
	var lines []string
	for _, group := range groups {
		if group == nil {
			continue
		}
		for _, c := range group.Comments {
			lines = append(lines, strings.TrimSpace(c.Token.Value))
		}
	}
	return strings.Join(lines, " ")
}
