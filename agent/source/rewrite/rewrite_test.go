package rewrite

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A22, A23: values in .properties files. Everything else stays as it is, byte by byte.
func TestProperties(t *testing.T) {
	t.Parallel()
	values := map[string]string{"a.port": "2000", "host": "new host", "odd key": "x", "empty": "now", "long": "short", "weird": " ü\\\n😀", "gone": "1"}
	for _, c := range []struct{ name, before, after string }{
		{"equals", "a.port=1000\n", "a.port=2000\n"},
		{"spaces, colon, CR LF", "  a.port : 1000\r\nhost\told\r\n", "  a.port : 2000\r\nhost\tnew host\r\n"},
		{"comments", "#a.port=1\n!host=1\n # host = 1\\\nhost=b", "#a.port=1\n!host=1\n # host = 1\\\nhost=new host"},
		{"escaped key", `odd\ key=1` + "\n" + `od\u0064\u0020key=2` + "\n", `odd\ key=x` + "\n" + `od\u0064\u0020key=x` + "\n"},
		{"no value", "empty\nempty=\n", "empty=now\nempty=now\n"},
		{"continued", "long=a,\\\n   b,\\\r\n\tc\nother=\\\\\nhost=1\n", "long=short\nother=\\\\\nhost=new host\n"},
		{"ASCII only", "weird=1\n", `weird=\ \u00FC\\\n\uD83D\uDE00` + "\n"},
		{"right already", "long=sh\\u006frt\n", "long=sh\\u006frt\n"},
		{"Latin-1 elsewhere", "x=\xe4\nhost=1\n", "x=\xe4\nhost=new host\n"},
		{"not there", "other=1\n", "other=1\n"},
	} {
		got, _, err := Apply(Rule{Properties: values}, []byte(c.before))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.after, string(got)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		again, n, _ := Apply(Rule{Properties: values}, got)
		if !bytes.Equal(again, got) || (n == 0) != (c.name == "not there") {
			t.Errorf("%s: a second time %d places: %q", c.name, n, again)
		}
	}
}

// A22, A23: attributes of XML files.
func TestXML(t *testing.T) {
	t.Parallel()
	rule := XML{Element: "param", Where: map[string]string{"name": "url"}, Attribute: "value", Value: `jdbc:x://new/?a=1&b="2"<`}
	for _, c := range []struct {
		name, before, after string
		places              int
	}{
		{"one of two", `<a><param name="url" value="old"/><param name="user" value="old"/></a>`,
			`<a><param name="url" value="jdbc:x://new/?a=1&amp;b=&quot;2&quot;&lt;"/><param name="user" value="old"/></a>`, 1},
		{"other quotes and order", "<param\n value = 'old'\n name='url' >", "<param\n value = 'jdbc:x://new/?a=1&amp;b=\"2\"&lt;'\n name='url' >", 1},
		{"not in comments, texts, instructions", `<?x <param name="url" value="o"?><!-- <param name="url" value="o"/> --><![CDATA[<param name="url" value="o"/>]]><b>ü > "</b>`,
			`<?x <param name="url" value="o"?><!-- <param name="url" value="o"/> --><![CDATA[<param name="url" value="o"/>]]><b>ü > "</b>`, 0},
		{"behind a DOCTYPE", `<!DOCTYPE r [<!ENTITY e "<!-- > -->"><!-- ' -->]><r><param name="&#117;rl" value=""/></r>`,
			`<!DOCTYPE r [<!ENTITY e "<!-- > -->"><!-- ' -->]><r><param name="&#117;rl" value="jdbc:x://new/?a=1&amp;b=&quot;2&quot;&lt;"/></r>`, 1},
		{"no such attribute", `<param name="url"/>`, `<param name="url"/>`, 0},
		{"other element", `<params name="url" value="x"/><x:param name="url" value="x"/>`, `<params name="url" value="x"/><x:param name="url" value="x"/>`, 0},
	} {
		got, n, err := Apply(Rule{XML: &rule}, []byte(c.before))
		if err != nil || n != c.places {
			t.Errorf("%s: %d places, %v", c.name, n, err)
		}
		if diff := cmp.Diff(c.after, string(got)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	rule.Value = "ü\t😀"
	got, _, _ := Apply(Rule{XML: &rule}, []byte(`<param name="url" value="x"/>`))
	var back struct {
		Value string `xml:"value,attr"`
	}
	if err := xml.Unmarshal(got, &back); err != nil || back.Value != rule.Value {
		t.Errorf("%s is read as %q, %v", got, back.Value, err)
	}
	for _, broken := range []string{"<a", "<a b", "<a b=c>", `<a b="c>`, "<!-- ", "<![CDATA[ ", "<!DOCTYPE x [", "</a", "<>", "<?"} {
		if got, _, err := Apply(Rule{XML: &rule}, []byte("x\n"+broken)); err == nil || got != nil {
			t.Errorf("%q was taken for XML", broken)
		} else if !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v", broken, err)
		}
	}
}

// A22: whatever a regular expression finds, with groups and anchors.
func TestRegex(t *testing.T) {
	t.Parallel()
	got, n, err := Apply(Rule{Regex: &Regex{`(?m)^(port)=\d+$`, "${1}=$$2"}}, []byte("port=1\nxport=2\nport=3\n"))
	if err != nil || n != 2 || string(got) != "port=$2\nxport=2\nport=$2\n" {
		t.Errorf("%q, %d places, %v", got, n, err)
	}
	if _, _, err := Apply(Rule{Regex: &Regex{`(`, ""}}, nil); err == nil {
		t.Error("( was taken for an expression")
	}
}

// What is no text, or too much, is left alone.
func TestRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		r    Rule
		text []byte
	}{
		"binary":    {Rule{Regex: &Regex{"a", "b"}}, []byte("a\x00")},
		"UTF-16":    {Rule{Regex: &Regex{"a", "b"}}, []byte("\xff\xfea")},
		"large":     {Rule{Regex: &Regex{"a", "b"}}, bytes.Repeat([]byte("x"), MaxSize+1)},
		"explosion": {Rule{Regex: &Regex{"(?s)a.*", "$0$0$0$0$0"}}, bytes.Repeat([]byte("a"), MaxSize)},
	} {
		if got, _, err := Apply(c.r, c.text); err == nil || got != nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A23: the preview shows what changes, by line, and no secrets (D3).
func TestDiff(t *testing.T) {
	t.Parallel()
	before := "a=1\nb=2\nc=3\npassword=hunter2\nd=4\n<x url=\"old\" password=\"hunter2\"/>\n<p name=\"dbPassword\" value=\"hunter2\"/>\njdbc://u:hunter2@h\x1b[2J\nz\n"
	after := "a=1\nb=5\nc=3\npassword=hunter3\nd=4\n<x url=\"new\" password=\"hunter2\"/>\n<p name=\"dbPassword\" value=\"hunter3\"/>\njdbc://u:hunter2@g\nz\nnew\n"
	want := `--- f
+++ f
@@ -2 +2 @@
-b=2
+b=5
@@ -4 +4 @@
-password=***
+password=***
@@ -6,3 +6,3 @@
-<x url="old" password=***/>
-<p name="dbPassword" value=***/>
-jdbc://u:***@h` + "\ufffd" + `[2J
+<x url="new" password=***/>
+<p name="dbPassword" value=***/>
+jdbc://u:***@g
@@ -9,0 +10 @@
+new
`
	if diff := cmp.Diff(want, Diff("f", []byte(before), []byte(after))); diff != "" {
		t.Error(diff)
	}
	many := strings.Repeat("x\n", 3000)
	if got := Diff("f", []byte(many), []byte(strings.Repeat("y\n", 3000))); strings.Count(got, "\n") > maxShown+5 {
		t.Errorf("%d lines", strings.Count(got, "\n"))
	}
}

// FuzzXML: what an XML parser reads is the same afterwards, but for the values that were set.
func FuzzXML(f *testing.F) {
	for _, s := range []string{`<a><param name="url" value="old"/></a>`, "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", `<a b='<'/>`, "<a"} {
		f.Add([]byte(s), "new")
	}
	f.Fuzz(func(t *testing.T, text []byte, value string) {
		x := XML{Element: "param", Attribute: "value", Value: value}
		got, n, err := Apply(Rule{XML: &x}, text)
		if err != nil || n > 0 && strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == '\ufffd' || r > 0xfff0 }) {
			return // XML has no way to write such characters
		}
		var a, b []xml.Token
		if a, err = tokens(text); err != nil {
			return
		}
		if b, err = tokens(got); err != nil || len(a) != len(b) {
			t.Fatalf("%q became %q: %v", text, got, err)
		}
		for i := range a {
			s, ok := a[i].(xml.StartElement)
			if !ok {
				continue
			}
			for k := range s.Attr {
				if now := b[i].(xml.StartElement).Attr[k].Value; now != s.Attr[k].Value && now != value {
					t.Errorf("%q became %q", s.Attr[k].Value, now)
				}
			}
		}
	})
}

func tokens(text []byte) (list []xml.Token, err error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		tok, err := d.RawToken()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		list = append(list, xml.CopyToken(tok))
	}
}

// FuzzProperties: no panic, and a second time changes nothing.
func FuzzProperties(f *testing.F) {
	f.Add([]byte("a=1\\\n b\n"), "a", "x")
	f.Add([]byte(`\u00`), "u", " ")
	f.Fuzz(func(t *testing.T, text []byte, key, value string) {
		if strings.ToValidUTF8(value, "") != value {
			return
		}
		r := Rule{Properties: map[string]string{key: value}}
		got, n, err := Apply(r, text)
		if err != nil {
			return
		}
		again, m, err := Apply(r, got)
		if err != nil || m != n || !bytes.Equal(again, got) {
			t.Errorf("%q: %q with %d places, then %q with %d", text, got, n, again, m)
		}
	})
}
