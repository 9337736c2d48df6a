package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rollcall/internal/config"
	"rollcall/internal/transfer"
)

type userImportCmd struct {
	configFlag
	Format   string   `default:"auto" enum:"auto,csv,xml" help:"csv, or xml (XEP-0227); auto goes by the names of the files."`
	Existing string   `default:"fail" enum:"fail,skip,update" help:"What becomes of users who exist: fail, skip (leave them alone), update (give them the password)."`
	DryRun   bool     `short:"n" help:"Read and check everything, and change nothing."`
	Paths    []string `arg:"" name:"file" help:"Files, or folders with XML files such as Prosody writes; - is standard input."`
}

// maxProblems is how many users who cannot be imported are shown.
const maxProblems = 50

func (c *userImportCmd) Run(env *environment) error {
	files, err := c.files()
	if err != nil {
		return err
	}
	s, err := openAccounts(env, c.configFlag)
	if err != nil {
		return err
	}
	defer s.close(env)
	shown := 0
	im := transfer.NewImporter(transfer.Options{
		Store: s.Store, Hosts: transferHosts(s.cfg), Existing: transfer.Policy(c.Existing), DryRun: c.DryRun,
		Problem: func(err error) {
			if shown++; shown <= maxProblems {
				report(env.stderr, err)
			}
		},
	})
	for _, f := range files {
		if err = f.read(env.ctx, env, im); err != nil {
			break
		}
	}
	done, err := im.Finish(env.ctx, err)
	if shown > maxProblems {
		fmt.Fprintf(env.stderr, "rollcall: and %d more\n", shown-maxProblems)
	}
	c.tell(env.stdout, done)
	if err == nil && done.Failed > 0 {
		err = fmt.Errorf("%d users could not be imported", done.Failed)
	}
	return err
}

func transferHosts(cfg *config.Config) (hosts []transfer.Host) {
	for _, h := range cfg.Hosts {
		hosts = append(hosts, transfer.Host{Name: h.Name, Accounts: h.Auth.Method == config.AuthAccounts, Iterations: h.Auth.Iterations})
	}
	return hosts
}

// tell says what was done, and of all that was not taken how much there was.
func (c *userImportCmd) tell(w io.Writer, r transfer.Report) {
	if c.DryRun {
		fmt.Fprintln(w, "nothing was changed; an import would do this:")
	}
	fmt.Fprintf(w, "users: %d added, %d updated, %d left alone, %d not imported\n", r.Added, r.Updated, r.Skipped, r.Failed)
	if r.DataOnly > 0 {
		fmt.Fprintf(w, "users whose host does not look at accounts: %d, of whom the data alone was taken\n", r.DataOnly)
	}
	for _, kind := range r.Taken.Kinds() {
		fmt.Fprintf(w, "taken: %d %s\n", r.Taken[kind], kind)
	}
	for _, kind := range r.Left.Kinds() {
		fmt.Fprintf(w, "not taken: %d %s\n", r.Left[kind], printable(kind))
	}
}

// An importedFile is one to be read.
type importedFile struct {
	path string
	csv  bool
}

// files lists what is to be read. Of a folder these are its XML files, but no folders in it.
func (c *userImportCmd) files() (all []importedFile, err error) {
	for _, path := range c.Paths {
		info, err := os.Stat(path)
		switch {
		case path == "-":
			if c.Format == "auto" {
				return nil, usage("say what standard input has: --format csv, or --format xml")
			}
		case err != nil:
			return nil, usageError{err}
		case info.IsDir():
			names, err := filepath.Glob(filepath.Join(escapeGlob(path), "*.xml"))
			if err != nil || len(names) == 0 {
				return nil, usage("the folder %s has no XML files", path)
			}
			slices.Sort(names)
			for _, name := range names {
				all = append(all, importedFile{path: name})
			}
			continue
		}
		f := importedFile{path: path, csv: c.Format == "csv"}
		if c.Format == "auto" {
			switch strings.ToLower(filepath.Ext(path)) {
			case ".csv":
				f.csv = true
			case ".xml":
			default:
				return nil, usage("%s is named neither .csv nor .xml; say --format", path)
			}
		}
		all = append(all, f)
	}
	return all, nil
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func (f importedFile) read(ctx context.Context, env *environment, im *transfer.Importer) error {
	if f.path == "-" {
		if f.csv {
			return im.ImportCSV(ctx, "standard input", env.stdin)
		}
		return im.ImportXMLFrom(ctx, "standard input", env.stdin)
	}
	if !f.csv {
		return im.ImportXML(ctx, f.path)
	}
	in, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer in.Close()
	return im.ImportCSV(ctx, f.path, in)
}

type userExportCmd struct {
	configFlag
	Format string `default:"xml" enum:"csv,xml" help:"xml (XEP-0227) has accounts and what is stored of them; csv has accounts."`
	Output string `short:"o" placeholder:"FILE" help:"A new file, which nobody else may read. Without it: standard output."`
	Host   string `arg:"" optional:"" help:"Only of this host."`
}

func (c *userExportCmd) Run(env *environment) (err error) {
	s, err := openAccounts(env, c.configFlag)
	if err != nil {
		return err
	}
	defer s.close(env)
	var hosts []string
	for _, h := range s.cfg.Hosts {
		hosts = append(hosts, h.Name)
	}
	if c.Host != "" {
		h, err := s.host(c.Host)
		if err != nil {
			return err
		}
		hosts = []string{h.Name}
	}
	out := env.stdout
	if c.Output != "" {
		f, err := os.OpenFile(c.Output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		// A part of an export must not be taken for a whole one.
		defer func() {
			if err = errors.Join(err, f.Close()); err != nil {
				err = errors.Join(err, os.Remove(c.Output))
			}
		}()
		out = f
	}
	buffered := bufio.NewWriter(out)
	n, disabled := 0, 0
	if c.Format == "csv" {
		n, err = transfer.ExportCSV(env.ctx, buffered, s.Store, hosts)
	} else {
		n, disabled, err = transfer.ExportXML(env.ctx, buffered, s.Store, hosts)
	}
	if err = errors.Join(err, buffered.Flush()); err != nil {
		return err
	}
	fmt.Fprintf(env.stderr, "%d accounts; whoever has this file can guess their passwords, so keep it as you keep the database\n", n)
	if disabled > 0 {
		fmt.Fprintf(env.stderr, "%d of them are disabled, which other servers do not read: there they may sign in\n", disabled)
	}
	return nil
}
