package source

import (
	"net/url"
	"regexp"
	"strings"

	"cairn/agent/document"
)

var (
	httpToken = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	owner     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]*(:[A-Za-z0-9_][A-Za-z0-9_.@-]*)?$`)
)

func (c checker) url(s *string, outer any) {
	u, err := url.Parse(*s)
	switch {
	case *s == "":
		c.bad(s, outer, "url is missing")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		c.bad(s, outer, "not a URL of http or https") // its text is not repeated: it may hold a password
	case u.User != nil:
		c.bad(s, outer, "no user and password in the URL: there are user: and password:")
	}
}

func (c checker) request(r *Request, outer any) {
	c.url(&r.URL, outer)
	if r.Method != "" && !httpToken.MatchString(r.Method) {
		c.bad(&r.Method, outer, "%q is not an HTTP method", r.Method)
	}
	for name, value := range r.Headers {
		at := document.Key(&r.Headers, name)
		switch {
		case document.SecretName(name):
			c.bad(at, outer, "header %s is a secret, and this file is kept in each snapshot: there are user: with password:, and token:", name)
		case !httpToken.MatchString(name) || strings.ContainsFunc(value, isControl):
			c.bad(at, outer, "not an HTTP header")
		}
	}
	for i := range r.Status {
		if r.Status[i] < 100 || r.Status[i] > 599 {
			c.bad(&r.Status[i], outer, "an HTTP status is a number from 100 to 599")
		}
	}
	if r.CA != "" {
		c.absolute(&r.CA, outer, "ca")
	}
	c.login(&r.User, r.Password, outer)
	if r.Token != nil {
		c.secret(r.Token, outer)
		if r.Password != nil {
			c.bad(r.Token, outer, "either token or user and password")
		}
	}
}

func (c checker) login(user *string, password *Secret, outer any) {
	if password != nil {
		c.secret(password, outer)
	}
	if (*user == "") != (password == nil) {
		c.bad(user, outer, "user and password go together")
	}
	if strings.ContainsRune(*user, ':') || strings.ContainsFunc(*user, isControl) {
		c.bad(user, outer, "a user of HTTP has no colon")
	}
}

func (c checker) export(e *Export) {
	c.request(&e.Request, e)
	switch {
	case (e.File == "") == (e.Path == ""):
		c.bad(e, nil, "an export has either file (the answer is kept) or path (what is there afterwards is kept)")
	case e.File != "":
		c.fileName(&e.File, e)
	default:
		c.absolute(&e.Path, e, "path")
	}
	if e.Clean && e.Path == "" {
		c.bad(&e.Clean, e, "clean removes what is in path, and there is no path")
	}
}

func (c checker) fedora(f *Fedora) {
	c.url(&f.URL, f)
	if strings.Contains(f.URL, "fcr:") {
		c.bad(&f.URL, f, "the URL of the repository, such as http://localhost:8080/rest, without fcr:backup")
	}
	c.login(&f.User, f.Password, f)
	ok := c.absolute(&f.Staging, f, "staging")
	if f.Staging == "/" {
		c.bad(&f.Staging, f, "staging is a directory of its own")
	}
	mapped := len(f.PathMap) == 0
	for i := range f.PathMap {
		m := &f.PathMap[i]
		local := c.absolute(&m.Local, m, "local")
		c.absolute(&m.Remote, m, "remote")
		mapped = mapped || !local || within(f.Staging, m.Local)
	}
	if ok && !mapped {
		c.bad(&f.PathMap, f, "path_map says nothing about staging %s: the server would not find it", f.Staging)
	}
	if f.Owner != "" && !owner.MatchString(f.Owner) {
		c.bad(&f.Owner, f, "owner %q is not USER or USER:GROUP", f.Owner)
	}
}
