package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"astrocyte/search"
)

func searchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "search",
		Short: "Keep the search index",
	}
	var s settings
	s.flags(cmd.PersistentFlags())
	cmd.AddCommand(searchRebuildCommand(&s))
	return cmd
}

// progressEvery is how often the command tells how far the server has got.
const progressEvery = time.Second

func searchRebuildCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "rebuild",
		Short: "Make the search index anew from the rooms, whether or not the server runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return controlled(cmd.Context(), s, func(c *control) error {
				var p search.Progress
				if err := c.ask("POST", "/search/rebuild", nil, &p); err != nil {
					return err
				}
				for p.Running {
					select {
					case <-cmd.Context().Done():
						return cmd.Context().Err()
					case <-time.After(progressEvery):
					}
					if err := c.ask("GET", "/search/rebuild", nil, &p); err != nil {
						return err
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%d of about %d events\n", p.Done, p.Total)
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "The search index is complete.")
				return err
			})
		},
	}
}
