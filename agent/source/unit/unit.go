// Package unit writes systemd units that run a source at its times: a service and, when there is a schedule, a timer for the source and for each
// class that has a schedule of its own.
//
// The service is hardened as far as the source allows, and says in comments what it does not harden and why: what a hook starts lives in the
// service's control group, sees the file system as the service does, and must outlive it. Secrets of the kind credential come out of systemd's encrypted
// store. Nothing is read or written here; two calls give equal texts.
package unit

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"cairn/agent/schedule"
	"cairn/agent/source"
)

// Options say what the units are for.
type Options struct {
	Program   string   // path of cairn
	File      string   // path of the source file; "": the name is enough
	Archive   []string // members, or the path of an archive file; none: they are in /etc/cairn/environment
	WritePath []string // what the archive's own directories are, and what hooks write to
}

// Unit is one unit file.
type Unit struct {
	Name string // of the file
	Text string
}

// Units are the units of a source.
func Units(f *source.File, o Options) ([]Unit, error) {
	var units []Unit
	add := func(class source.Class, expression string) error {
		base := "cairn-" + escape(f.Name)
		if class != "" {
			base += "-" + string(class)
		}
		units = append(units, Unit{base + ".service", service(f, o, class)})
		if expression == "" {
			return nil
		}
		s, err := schedule.Parse(expression)
		if err != nil {
			return fmt.Errorf("schedule of %s: %w", base, err)
		}
		units = append(units, Unit{base + ".timer", timer(f, s, class)})
		return nil
	}
	if err := add("", f.Schedule); err != nil {
		return nil, err
	}
	for _, class := range source.Classes() {
		if rule := f.Classes[class]; rule.Schedule != "" {
			if err := add(class, rule.Schedule); err != nil {
				return nil, err
			}
		}
	}
	return units, nil
}

func about(f *source.File, class source.Class) string {
	text := "Cairn backup of " + f.Name
	if class != "" {
		text += ", class " + string(class)
	}
	return strings.ReplaceAll(text, "%", "%%")
}

func timer(f *source.File, s *schedule.Schedule, class source.Class) string {
	var b lines
	b.add("[Unit]", "Description="+about(f, class)+", on time", "")
	b.add("[Timer]", "# "+s.String())
	for _, calendar := range s.Calendar() {
		b.add("OnCalendar=" + calendar)
	}
	b.add("# What was missed while the machine was off is made up for once.", "Persistent=true", "AccuracySec=1min", "", "[Install]", "WantedBy=timers.target")
	return b.String()
}

func service(f *source.File, o Options, class source.Class) string {
	var b lines
	b.add("[Unit]", "Description="+about(f, class), "Wants=network-online.target", "After=network-online.target", "")
	b.add("[Service]", "Type=oneshot", "ExecStart="+commandLine(f, o, class))
	b.add("# 75 is a run that a hook or a guard skipped. 3 (something could not be read) stays a failure: somebody should look.", "SuccessExitStatus=75", "")
	b.add("# CAIRN_ARCHIVE and what else is the same for all sources.", "EnvironmentFile=-/etc/cairn/environment")
	if len(o.Archive) > 0 {
		b.add("Environment=" + quote("CAIRN_ARCHIVE="+strings.Join(o.Archive, ",")))
	}
	b.add("# Made by: systemd-creds encrypt --name=cairn-key KEYFILE /etc/credstore.encrypted/cairn-key")
	b.add(credential("cairn-key"), "Environment=CAIRN_KEY_FILE=%d/cairn-key")
	for _, name := range credentials(f) {
		b.add(credential(name))
	}
	b.add("", "# For notes about services that were stopped, and for the index.", "StateDirectory=cairn", "StateDirectoryMode=0700",
		"CacheDirectory=cairn", "CacheDirectoryMode=0700", "Environment=CAIRN_CACHE_DIR=%C/cairn", "UMask=0077", "")
	b.add("# A first backup takes its time. On a stop the program is told first and starts again what it had stopped.", "TimeoutStartSec=infinity",
		fmt.Sprintf("TimeoutStopSec=%d", int(stopTime(f).Seconds())))
	b.add("Nice=10", "IOSchedulingClass=best-effort", "IOSchedulingPriority=7", "")
	harden(&b, f, o)
	return b.String()
}

func commandLine(f *source.File, o Options, class source.Class) string {
	name := f.Name
	if o.File != "" {
		name = o.File
	}
	words := []string{o.Program, "source", "run", name}
	if class != "" {
		words = append(words, "--class", string(class))
	}
	for i, word := range words {
		words[i] = quote(strings.ReplaceAll(word, "$", "$$"))
	}
	return strings.Join(words, " ")
}

// credentials are the names of the source's own.
func credentials(f *source.File) (names []string) {
	for _, s := range f.Secrets() {
		if s.Credential != "" && s.Credential != "cairn-key" && !slices.Contains(names, s.Credential) {
			names = append(names, s.Credential)
		}
	}
	return names
}

func credential(name string) string {
	name = strings.ReplaceAll(name, "%", "%%")
	return "LoadCredentialEncrypted=" + name + ":/etc/credstore.encrypted/" + name
}

// stopTime is what the program may need to end: its finally hooks, one after the other, and a minute and a half for itself.
func stopTime(f *source.File) time.Duration {
	wait := 90 * time.Second
	for _, h := range f.Hooks.Finally {
		wait += h.Timeout
	}
	return min(wait, 24*time.Hour)
}

// harden adds what the source can bear.
func harden(b *lines, f *source.File, o Options) {
	if name := starts(f); name != "" {
		b.add("# The hook "+name+" may start a program that is to go on running: it lives in this service's control group and sees files as this",
			"# service does. So the rest is not killed at the end, and little is hardened. With hooks that only call systemctl more could be.", "KillMode=process")
		b.add("ProtectClock=yes", "ProtectKernelModules=yes", "ProtectKernelLogs=yes", "ProtectHostname=yes", "RestrictRealtime=yes", "SystemCallArchitectures=native")
		return
	}
	b.add("KillMode=mixed", "NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=read-only")
	if paths := writable(f, o); len(paths) > 0 {
		b.add("ReadWritePaths=" + strings.Join(paths, " "))
	}
	b.add("# Add ReadWritePaths= for an archive in a directory of this machine.")
	if !usesTmp(f) {
		b.add("PrivateTmp=yes")
	}
	b.add("PrivateDevices=yes", "ProtectClock=yes", "ProtectHostname=yes", "ProtectKernelTunables=yes", "ProtectKernelModules=yes", "ProtectKernelLogs=yes",
		"ProtectControlGroups=yes", "RestrictNamespaces=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes", "LockPersonality=yes", "SystemCallArchitectures=native",
		"SystemCallFilter=@system-service", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
		"# To read everything, to give staging directories to others, and to become the user of a database.",
		"CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER CAP_SETUID CAP_SETGID")
}

// starts names the first hook, or part, that runs something of which is not known that it leaves nothing behind. A shell line that only calls systemctl is known.
func starts(f *source.File) string {
	for _, hooks := range [][]source.Hook{f.Hooks.Before, f.Hooks.Finally, f.Hooks.After, f.Hooks.OnError} {
		for _, h := range hooks {
			words := h.Run.Args
			if h.Shell != "" {
				if words = strings.Fields(h.Shell); strings.ContainsAny(h.Shell, ";&|\n`$<>()") {
					return h.Name
				}
			}
			if len(words) > 0 && path.Base(words[0]) != "systemctl" {
				return h.Name
			}
		}
	}
	return ""
}

// writable are the directories that a run writes to.
func writable(f *source.File, o Options) []string {
	paths := slices.Clone(o.WritePath)
	for i := range f.Parts {
		switch p := &f.Parts[i]; {
		case p.SQLite != nil:
			paths = append(paths, path.Dir(p.SQLite.Path)) // its journal is beside it
		case p.Fedora != nil:
			paths = append(paths, p.Fedora.Staging)
		case p.Export != nil && p.Export.Clean:
			paths = append(paths, p.Export.Path)
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	for i := range paths {
		paths[i] = quote("-" + paths[i])
	}
	return paths
}

// usesTmp says whether something of the source is in a directory that PrivateTmp would hide.
func usesTmp(f *source.File) bool {
	for i := range f.Parts {
		p := &f.Parts[i]
		names := []string{p.Subject()}
		if p.Postgres != nil {
			names = append(names, p.Postgres.Host)
		}
		if p.MariaDB != nil {
			names = append(names, p.MariaDB.Host)
		}
		if p.Fedora != nil {
			names = append(names, p.Fedora.Staging)
		}
		for _, name := range names {
			if strings.HasPrefix(name+"/", "/tmp/") || strings.HasPrefix(name+"/", "/var/tmp/") {
				return true
			}
		}
	}
	return false
}

// lines is a text that is written line by line.
type lines struct{ strings.Builder }

func (l *lines) add(list ...string) {
	for _, line := range list {
		l.WriteString(line + "\n")
	}
}

// quote writes a word of a line in a unit: as it is, or in quotes, and without the meaning that systemd gives to %.
func quote(word string) string {
	word = strings.ReplaceAll(word, "%", "%%")
	if !strings.ContainsAny(word, " \t\"'\\;") && word != "" {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}

// escape makes a part of a unit's name, as systemd-escape does, but for the dash.
func escape(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == ':' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}
