package hook

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"cairn/agent/source"
	"cairn/remote"
)

const (
	connectTimeout = 30 * time.Second
	maxCA          = 4 << 20
	keptBody       = 4 << 10 // of an answer, for the report
	maxAnswer      = 1 << 20 // of an answer that nobody wants is read
)

// StatusError is an answer that is no success.
type StatusError struct {
	Method, URL, Status string
	Body                string // its beginning
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s: %s", e.Method, e.URL, e.Status)
	if body := strings.Join(strings.Fields(e.Body), " "); body != "" {
		text += ": " + body[:min(len(body), 300)]
	}
	return text
}

// Do makes a request and returns the answer if its status is one of those that the source file takes for success; the caller closes its body.
// Connecting takes 30 s at most; the rest is bounded by ctx alone.
func Do(ctx context.Context, r *source.Request, o Options) (*http.Response, error) {
	req, secrets, err := build(ctx, r)
	if err != nil {
		return nil, err
	}
	client := o.Client
	if client == nil {
		if client, err = newClient(r); err != nil {
			return nil, err
		}
	}
	res, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, explain(err)
	}
	if good(r, res.StatusCode) {
		return res, nil
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, keptBody)) // what there is of it explains the status
	_ = res.Body.Close()
	return nil, &StatusError{req.Method, r.URL, res.Status, mask(string(body), secrets)}
}

// build makes the request; secrets are what must not be shown of it.
func build(ctx context.Context, r *source.Request) (req *http.Request, secrets []string, err error) {
	var body io.Reader
	if r.Body != "" {
		body = strings.NewReader(r.Body)
	}
	if req, err = http.NewRequestWithContext(ctx, cmp.Or(r.Method, http.MethodPost), r.URL, body); err != nil {
		return nil, nil, err
	}
	for name, value := range r.Headers {
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	secret := r.Token
	if secret == nil {
		secret = r.Password
	}
	if secret == nil {
		return req, nil, nil
	}
	value, err := secret.Value(ctx)
	if err != nil {
		return nil, nil, err
	}
	if r.Token != nil {
		req.Header.Set("Authorization", "Bearer "+value.Reveal())
	} else {
		req.SetBasicAuth(r.User, value.Reveal())
	}
	return req, []string{value.Reveal()}, nil
}

func good(r *source.Request, status int) bool {
	if len(r.Status) > 0 {
		return slices.Contains(r.Status, status)
	}
	return status >= 200 && status <= 299
}

func mask(s string, secrets []string) string {
	for _, secret := range secrets {
		s = strings.ReplaceAll(s, secret, "***")
	}
	return s
}

// newClient knows the CA that the request names, beside the system's. Each request has its own: they are few, and nothing stays open.
func newClient(r *source.Request) (*http.Client, error) {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: connectTimeout,
		DisableKeepAlives:   true,
	}
	if r.CA == "" {
		return &http.Client{Transport: t}, nil
	}
	f, err := os.Open(r.CA)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	pem, err := io.ReadAll(io.LimitReader(f, maxCA))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca: %s has no certificate", r.CA)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: t}, nil
}

// explain adds the next step where a certificate is not trusted.
func explain(err error) error {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return remote.WithHint(err, "name the certificate of the authority that signed the server's with `ca:`")
	}
	return err
}

// request runs a hook that is a request. The answer is kept, to its first 4 KiB, as what it said.
func request(ctx context.Context, r *source.Request, o Options) (string, error) {
	res, err := Do(ctx, r, o)
	if err != nil {
		var status *StatusError
		if errors.As(err, &status) {
			return status.Body, err
		}
		return "", err
	}
	body, err := Drain(res)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return body, err
}

// Drain reads an answer of which only the beginning is of interest, to its end if that is near, and closes it.
func Drain(res *http.Response) (begin string, err error) {
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	err = errors.Join(err, res.Body.Close())
	return string(data[:min(len(data), keptBody)]), err
}
