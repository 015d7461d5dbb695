package fedora

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cairn/agent/source"
	"cairn/remote"
)

const (
	connectTimeout = 30 * time.Second
	maxAnswer      = 1 << 20 // bytes of an answer: a list of problems has a line for each
)

// answer is what the server said.
type answer struct {
	status   int
	body     string
	location string // of a redirect
	html     bool
}

// server is one repository.
type server struct {
	part *source.Fedora
	http *http.Client
}

// newServer makes a client that keeps no connection, so that no request is repeated on another one.
func newServer(part *source.Fedora) *server {
	dialer := &net.Dialer{Timeout: connectTimeout}
	return &server{part, &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: connectTimeout,
			DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// post sends the name of a directory and waits for the end of what the server does with it.
func (s *server) post(ctx context.Context, endpoint, dir string) (*answer, error) {
	at := strings.TrimSuffix(s.part.URL, "/") + "/" + endpoint
	if s.part.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, s.part.Timeout, fmt.Errorf("no answer within %s", s.part.Timeout))
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(dir))
	if err != nil {
		return nil, fmt.Errorf("POST %s: %w", endpoint, err)
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	req.Header.Set("User-Agent", "cairn")
	if s.part.User != "" && s.part.Password != nil {
		password, err := s.part.Password.Value(ctx)
		if err != nil {
			return nil, fmt.Errorf("password of %s: %w", s.part.User, err)
		}
		req.SetBasicAuth(s.part.User, password.Reveal())
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, s.unanswered(ctx, at, err)
	}
	defer resp.Body.Close() // only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, s.unanswered(ctx, at, err)
	}
	a := &answer{status: resp.StatusCode, body: string(body), html: isHTML(resp.Header.Get("Content-Type"), string(body))}
	if to, err := url.Parse(resp.Header.Get("Location")); err == nil && to.Path+to.Host != "" {
		a.location = (&url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}).String() // its query may hold a ticket
	}
	return a, nil
}

// unanswered explains why there is no answer.
func (s *server) unanswered(ctx context.Context, at string, err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	if ctx.Err() != nil {
		return remote.WithHint(fmt.Errorf("POST %s: %w", at, context.Cause(ctx)), "the server goes on until it is through: see its log before the next run")
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return remote.WithHint(fmt.Errorf("POST %s: %w", at, err), "is the repository running, and is this its address?")
	}
	return remote.WithHint(fmt.Errorf("POST %s: the connection broke before the answer came: %w", at, err),
		"a proxy between here and the server may end requests that take long: ask the server itself")
}

// refused makes an error of an answer that is not the one of success.
func (s *server) refused(endpoint string, a *answer) error {
	err := fmt.Errorf("POST %s: status %d%s", endpoint, a.status, quoted(a))
	next := ""
	switch {
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		next = "see user and password of the source file, and that this user may administer the repository"
		if s.part.User == "" {
			next = "the repository wants a user: set user and password in the source file"
		}
	case a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed || a.status == http.StatusGone:
		next = "there is no " + endpoint + " at " + s.part.URL + ": is it the address of the repository itself (…/rest)? Fedora 6 backs up its OCFL root as files: profile fedora6"
	case a.status >= 300 && a.status < 400:
		next = "it leads to " + printable(a.location, 300) + ": put the final address into the source file (redirects are not followed)"
	case a.status == http.StatusRequestTimeout || a.status >= 502 && a.status <= 504:
		next = "a proxy gave up, the repository may be at work still: ask the server itself, without the proxy"
	case strings.Contains(a.body, "does not exist or is not writable"):
		next = "the path is one of the server's: see path_map, and that the user the server runs as may write there (owner)"
	case strings.Contains(a.body, "does not exist"):
		next = "the path is one of the server's: see path_map"
	case a.status == http.StatusInternalServerError:
		next = "the server's log tells more"
	}
	if next == "" {
		return err
	}
	return remote.WithHint(err, next)
}
