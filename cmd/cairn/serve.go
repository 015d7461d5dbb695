package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cairn/agent/api/fedora"
	"cairn/agent/secret"
)

// serveCommand is the group of what answers requests.
func serveCommand(e *env) *cli.Command {
	return &cli.Command{
		Name: "serve", Usage: "answer requests of other programs",
		Description: `Answers requests, until it is told to end (Ctrl-C, SIGTERM).

Examples:
  cairn serve fedora --source cms --root /srv/bkup`,
		Subcommands: []*cli.Command{serveFedoraCommand(e)},
	}
}

func serveFedoraCommand(e *env) *cli.Command {
	return sourceGroup(e, &cli.Command{
		Name: "fedora", Usage: "answer as Fedora 4 does to POST fcr:backup and fcr:restore, so that scripts written for it drive cairn",
		Description: `Answers POST /rest/fcr:backup and /rest/fcr:restore with Fedora's statuses and bodies.

A backup runs the sources (as "cairn source run" does), exports their snapshots into the directory that the body names, and answers 200 with its
canonical path. The directory must be below --root, and empty; without a body one is made, which nobody removes. With several sources each has a
directory of its name in it, and /rest/NAME/fcr:backup is about one. The file cairn.json in it names the snapshot.

A restore reads that file in the directory that the body names, and brings the snapshot back (as "cairn source restore --from SNAP --yes
--replace" does) from the archive, not from the directory. It answers 204. It has to be allowed by --allow-restore.

Errors are 500 with what went wrong in the body; 401, 403, 404, 409 (a job is at work: there is one at a time), 413 and 503 besides.

Without a user only this machine may ask. --http-user and --http-password-file, or CAIRN_HTTP_USER and CAIRN_HTTP_PASSWORD, set one (Basic
authentication), which is needed to listen on another address than a loopback one; --tls-cert and --tls-key keep the password private on the way.

Examples:
  cairn serve fedora --source cms --root /srv/bkup
  curl -X POST -d /srv/bkup/today http://127.0.0.1:8080/rest/fcr:backup
  curl -X POST http://127.0.0.1:8080/rest/fcr:backup
  cairn serve fedora --source cms --source shop --root /srv/bkup --listen :8443 --http-user backup \
      --http-password-file /etc/cairn/http --tls-cert cert.pem --tls-key key.pem --allow-restore`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8080", Usage: "answer at `ADDRESS`"},
			&cli.StringSliceFlag{Name: "source", Usage: "back up and restore the source `NAME` (repeat for others)"},
			&cli.StringFlag{Name: "root", Usage: "directories that requests name lie below `DIR`"},
			&cli.StringFlag{Name: "export", Value: "fedora", Usage: "what a backup writes into the directory besides cairn.json: `FORMAT` fedora, tree or none"},
			&cli.BoolFlag{Name: "allow-restore", Usage: "let requests restore: that replaces what there is"},
			&cli.StringFlag{Name: "http-user", Usage: "let in only `USER`, with the password; default $CAIRN_HTTP_USER"},
			&cli.StringFlag{Name: "http-password-file", Usage: "read that user's password from `FILE`; default $CAIRN_HTTP_PASSWORD is the password"},
			&cli.StringFlag{Name: "tls-cert", Usage: "serve HTTPS with the certificate in `FILE`"},
			&cli.StringFlag{Name: "tls-key", Usage: "and its key in `FILE`"},
			&cli.DurationFlag{Name: "grace", Value: time.Minute, Usage: "when told to end, let a job go on for `DURATION` at most"},
		},
		Action: func(c *cli.Context) error { return e.runServeFedora(c) },
	})
}

func (e *env) runServeFedora(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	names := c.StringSlice("source")
	switch {
	case len(names) == 0:
		return usage("serve fedora: name what is backed up with --source")
	case c.String("root") == "":
		return usage("serve fedora: --root DIR is missing: directories in requests lie below it")
	case c.String("export") != "fedora" && c.String("export") != "tree" && c.String("export") != "none":
		return usage("serve fedora: --export is fedora, tree or none, not %q", c.String("export"))
	case (c.String("tls-cert") == "") != (c.String("tls-key") == ""):
		return usage("serve fedora: --tls-cert and --tls-key go together")
	}
	front := &front{env: e, format: c.String("export")}
	front.flags, front.dirs = passedOn(c)
	seen := map[string]bool{}
	for _, name := range names {
		f, err := e.findSource(c, name)
		if err != nil {
			return err
		}
		if seen[f.Name] || f.Name == "fcr:backup" || f.Name == "fcr:restore" {
			return usage("serve fedora: source %s is named twice", f.Name)
		}
		seen[f.Name] = true
		front.sources = append(front.sources, served{f.Name, name})
	}
	o := fedora.Options{Root: c.String("root"), AllowRestore: c.Bool("allow-restore"), Grace: c.Duration("grace"), Log: e.say}
	for _, s := range front.sources {
		o.Sources = append(o.Sources, s.name)
	}
	if err := e.login(c, &o); err != nil {
		return err
	}
	return e.serveFedora(c, front, o)
}

// login reads who may ask, and the certificate.
func (e *env) login(c *cli.Context, o *fedora.Options) error {
	o.User = first(c.String("http-user"), e.getenv("CAIRN_HTTP_USER"))
	var err error
	if name := c.String("http-password-file"); name != "" {
		o.Password, err = secret.Secret{File: name}.Value(c.Context)
	} else {
		o.Password = secret.Hide(e.getenv("CAIRN_HTTP_PASSWORD"))
	}
	switch {
	case err != nil:
		return err
	case o.Password.IsZero() != (o.User == ""):
		return usage("serve fedora: user and password go together: --http-user with --http-password-file or CAIRN_HTTP_PASSWORD")
	}
	if c.String("tls-cert") == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.String("tls-cert"), c.String("tls-key"))
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	o.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	return nil
}

func (e *env) serveFedora(c *cli.Context, b fedora.Backend, o fedora.Options) error {
	s, err := fedora.New(b, o)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(c.Context, "tcp", c.String("listen"))
	if err != nil {
		return hint(err, "--listen chooses another address")
	}
	scheme := "http"
	if o.TLS != nil {
		scheme = "https"
	}
	at := scheme + "://" + l.Addr().String() + "/rest"
	if e.json {
		if err := e.printJSON(map[string]any{"type": "serve", "url": at, "root": o.Root, "sources": o.Sources}); err != nil {
			return errors.Join(err, l.Close())
		}
	} else {
		e.print("serving %s at %s", strings.Join(o.Sources, ", "), at)
	}
	if o.User != "" && o.TLS == nil && !isLoopback(l.Addr()) {
		e.warn("the password goes over the network as everybody can read it: use --tls-cert and --tls-key, or a proxy that does")
	}
	return s.Serve(c.Context, l)
}

func isLoopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && t.IP.IsLoopback()
}

// passedOn are the common flags of this command, for the commands that do its jobs, and those that say where source files are.
func passedOn(c *cli.Context) (flags, dirs []string) {
	for _, name := range []string{"archive", "key-file"} {
		for _, v := range values(c, name) {
			flags = append(flags, "--"+name+"="+v)
		}
	}
	for _, name := range []string{"password-file", "password-command", "cache-dir", "limit-upload", "limit-download"} {
		if v := value(c, name); v != "" {
			flags = append(flags, "--"+name+"="+v)
		}
	}
	for _, v := range values(c, "sources") {
		dirs = append(dirs, "--sources="+v)
	}
	return flags, dirs
}
