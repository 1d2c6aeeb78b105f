package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"astrocyte/homeserver"
	"astrocyte/media"
)

func mediaCommand() *cobra.Command {
	s := new(settings)
	cmd := &cobra.Command{Use: "media", Short: "Move, delete, quarantine and block files"}
	s.flags(cmd.PersistentFlags())
	cmd.AddCommand(mediaMoveCommand(s), mediaDeleteCommand(s), mediaQuarantineCommand(s), mediaBlockCommand(s))
	return cmd
}

func mediaMoveCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "move disk|s3",
		Short: "Move all files to a storage",
		Long: `Move all files to a storage of the configuration. People can have their files all the while. The command can be
interrupted, and goes on from there when it is given again. New files go where media.storage says.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return controlled(ctx, s, func(c *control) error {
				c.client.Timeout = 0 // a single file may take long
				return moveMedia(ctx, c, args[0], cmd.OutOrStdout())
			})
		},
	}
}

// moveMedia asks for step after step, and tells how far it has come.
func moveMedia(ctx context.Context, c *control, to string, out io.Writer) error {
	var files, bytes int64
	for {
		var step media.Moved
		if err := c.ask("POST", "/media/move", map[string]string{"to": to}, &step); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("interrupted; the same command goes on from here")
			}
			return err
		}
		files, bytes = files+step.Files, bytes+step.Bytes
		fmt.Fprintf(out, "moved %d files, %s; left %d files, %s\n", files, megabytes(bytes), step.LeftFiles, megabytes(step.LeftBytes))
		if step.LeftFiles == 0 {
			return nil
		}
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func mediaDeleteCommand(s *settings) *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "delete [mxc://SERVER/ID]",
		Short: "Delete a file, or all files of a user, for everybody and for good",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (user != "") {
				return fmt.Errorf("give a URI or --user")
			}
			q := homeserver.ControlMedia{URI: strings.Join(args, ""), User: user}
			done, err := askMedia(cmd, s, "/media/delete", q)
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%d files are deleted.\n", done.Files)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "all files of this user")
	return cmd
}

func mediaQuarantineCommand(s *settings) *cobra.Command {
	q := homeserver.ControlMedia{}
	cmd := &cobra.Command{
		Use:   "quarantine mxc://SERVER/ID",
		Short: "Give a file to nobody, but keep it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.URI = args[0]
			_, err := askMedia(cmd, s, "/media/quarantine", q)
			return err
		},
	}
	cmd.Flags().BoolVar(&q.Undo, "undo", false, "give it again")
	return cmd
}

func mediaBlockCommand(s *settings) *cobra.Command {
	q := homeserver.ControlMedia{}
	cmd := &cobra.Command{
		Use:   "block mxc://SERVER/ID|SHA256",
		Short: "Accept and give no file of the same bytes, under whatever URI",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.Hash = args[0]; strings.Contains(q.Hash, "/") {
				q.URI, q.Hash = q.Hash, ""
			}
			done, err := askMedia(cmd, s, "/media/block", q)
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), done.Hash)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&q.Undo, "undo", false, "accept it again")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, for whoever asks later")
	return cmd
}

func askMedia(cmd *cobra.Command, s *settings, path string, q homeserver.ControlMedia) (done homeserver.ControlMediaDone, err error) {
	err = controlled(cmd.Context(), s, func(c *control) error { return c.ask("POST", path, q, &done) })
	return done, err
}
