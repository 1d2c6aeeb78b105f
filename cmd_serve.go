package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"astrocyte/config"
	"astrocyte/homeserver"
)

func serveCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server until it is told to stop (SIGINT, SIGTERM). SIGHUP reads the configuration again.

Without a configuration file it is a server for trying out, which only this machine can reach.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), &s, cmd.ErrOrStderr()) },
	}
	s.flags(cmd.Flags())
	cmd.Flags().StringVar(&s.listen, "listen", "", "the address to listen at (default 127.0.0.1:8008)")
	return cmd
}

func serve(ctx context.Context, s *settings, stderr io.Writer) error {
	c, err := s.read()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	level := new(slog.LevelVar)
	log := homeserver.NewLog(c.Log, stderr, level)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	hs, err := homeserver.New(ctx, homeserver.Options{Config: c, Version: versionText(), Log: log, Level: level, Hangup: hangup, Reread: s.read})
	if err != nil {
		return err
	}
	if s.file == "" {
		welcome(stderr, c, hs.URLs()[0])
	}
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return hs.Run(ctx)
}

// welcome tells somebody who tries the server out what to do next.
func welcome(out io.Writer, c *config.Config, url string) {
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		dir = c.DataDir
	}
	fmt.Fprintf(out, `
  Astrocyte is at %s, and its name is %s.

  Sign in with any Matrix client: choose %s as the homeserver and make an account.
  Only this machine can reach it, so registration is open and nothing is limited.
  Everything is kept in %s; delete that folder to begin anew.

  For a server that others can use, write a configuration file: astrocyte sample-config

`, url, c.ServerName, url, dir)
}
