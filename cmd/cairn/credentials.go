package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"cairn/chunk/seal"
)

// credentials gathers what may open the archive: key files and passwords from flags, environment and archive file;
// the default archive's key file; and as a last resort a prompt on the terminal.
func (e *env) credentials(c *cli.Context, p *place) ([]seal.Credential, error) {
	creds, err := e.givenCredentials(c, p)
	if len(creds) > 0 || err != nil {
		return creds, err
	}
	if f, ok := e.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		password, err := e.prompt(f, "password: ")
		return []seal.Credential{{Password: password}}, err
	}
	return nil, seal.ErrNoCredential
}

// givenCredentials is credentials without the prompt: none is no error. The archive that was made by itself has the default key file as its key,
// whatever password is in the environment.
func (e *env) givenCredentials(c *cli.Context, p *place) ([]seal.Credential, error) {
	creds, err := e.keyFiles(c, p)
	if err != nil {
		return nil, err
	}
	password, given, err := e.password(c, p)
	if err != nil {
		return nil, err
	}
	if given {
		creds = append(creds, seal.Credential{Password: password})
	}
	if len(creds) > 0 && !p.isDefault {
		return creds, nil
	}
	name, err := e.defaultKeyFile()
	if err == nil && exists(name) {
		if len(creds) == 0 {
			e.triedDefault = name
		}
		cred, err := readCredential(name)
		if err != nil {
			return nil, err
		}
		return append(creds, cred), nil
	}
	return creds, nil
}

func (e *env) keyFiles(c *cli.Context, p *place) ([]seal.Credential, error) {
	names := values(c, "key-file")
	if len(names) == 0 {
		names = strings.FieldsFunc(e.getenv("CAIRN_KEY_FILE"), func(r rune) bool { return r == ',' })
	}
	if len(names) == 0 && p.file.KeyFile != "" {
		names = []string{p.file.KeyFile}
	}
	var creds []seal.Credential
	for _, name := range names {
		cred, err := readCredential(name)
		if err != nil {
			return nil, err
		}
		creds = append(creds, cred)
	}
	return creds, nil
}

// readCredential reads a key file or a recipient's identity.
func readCredential(name string) (seal.Credential, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return seal.Credential{}, fmt.Errorf("key file: %w", err)
	}
	if key, err := seal.ParseKeyFile(text); err == nil {
		return seal.Credential{KeyFile: &key}, nil
	} else if identity, idErr := seal.ParseIdentity(text); idErr == nil {
		return seal.Credential{Identity: identity}, nil
	} else {
		return seal.Credential{}, &exitError{exitWrongKey, fmt.Errorf("key file %s: %w", name, err)}
	}
}

// password finds a password without asking for one.
func (e *env) password(c *cli.Context, p *place) (password []byte, given bool, err error) {
	file := first(value(c, "password-file"), e.getenv("CAIRN_PASSWORD_FILE"), p.file.PasswordFile)
	command := first(value(c, "password-command"), e.getenv("CAIRN_PASSWORD_COMMAND"), p.file.PasswordCommand)
	switch {
	case value(c, "password-file") == "" && value(c, "password-command") == "" && e.getenv("CAIRN_PASSWORD") != "":
		return []byte(e.getenv("CAIRN_PASSWORD")), true, nil
	case file != "":
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, false, fmt.Errorf("password file: %w", err)
		}
		return firstLine(data), true, nil
	case command != "":
		password, err := passwordFrom(c.Context, command)
		return password, err == nil, err
	}
	return nil, false, nil
}

// passwordFrom runs a command through the shell and takes the first line that it prints.
func passwordFrom(ctx context.Context, command string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("password command: %w", err)
	}
	password := firstLine(out)
	if len(password) == 0 {
		return nil, errors.New("password command printed nothing")
	}
	return password, nil
}

func firstLine(data []byte) []byte {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r"))
}

func first(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

func (e *env) prompt(f *os.File, text string) ([]byte, error) {
	fmt.Fprint(e.stderr, text)
	defer fmt.Fprintln(e.stderr)
	return term.ReadPassword(int(f.Fd()))
}

// newPassword finds or asks for a password that is to protect a new archive.
func (e *env) newPassword(c *cli.Context, p *place) ([]byte, bool, error) {
	password, given, err := e.password(c, p)
	if given || err != nil {
		return password, given, err
	}
	return e.askTwice()
}

// askTwice asks for a new password on the terminal, if there is one.
func (e *env) askTwice() (password []byte, given bool, err error) {
	f, ok := e.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, false, nil
	}
	once, err := e.prompt(f, "new password: ")
	if err != nil {
		return nil, false, err
	}
	again, err := e.prompt(f, "the same again: ")
	if err != nil {
		return nil, false, err
	}
	if !bytes.Equal(once, again) {
		return nil, false, errors.New("the two passwords differ")
	}
	if len(once) == 0 {
		return nil, false, errors.New("an empty password protects nothing")
	}
	return once, true, nil
}
