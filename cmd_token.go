package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"astrocyte/homeserver"
)

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "registration-token",
		Short: "Make and list the tokens with which people register",
	}
	var s settings
	s.flags(cmd.PersistentFlags())
	cmd.AddCommand(tokenCreateCommand(&s), tokenListCommand(&s))
	return cmd
}

func tokenCreateCommand(s *settings) *cobra.Command {
	var uses int64
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "create [TOKEN]",
		Short: "Make a registration token; without one it is chosen at random",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			want := homeserver.ControlToken{Uses: uses}
			if uses <= 0 {
				want.Uses = -1
			}
			if len(args) > 0 {
				want.Token = args[0]
			}
			if lasts > 0 {
				want.Expires = time.Now().Add(lasts).UnixMilli()
			}
			return controlled(cmd.Context(), s, func(c *control) error {
				var made homeserver.ControlToken
				if err := c.ask("POST", "/registration-tokens", want, &made); err != nil {
					return err
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), made.Token)
				return err
			})
		},
	}
	cmd.Flags().Int64Var(&uses, "uses", 1, "how many people may use it; 0 is any number")
	cmd.Flags().DurationVar(&lasts, "lasts", 0, "how long it may be used, such as 48h; 0 is for ever")
	return cmd
}

func tokenListCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the registration tokens",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return controlled(cmd.Context(), s, func(c *control) error {
				var all struct {
					Tokens []homeserver.ControlToken `json:"tokens"`
				}
				if err := c.ask("GET", "/registration-tokens", nil, &all); err != nil {
					return err
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
				for _, t := range all.Tokens {
					fmt.Fprintf(w, "%s\t%s\t%s\n", t.Token, usesText(t), expiryText(t))
				}
				return w.Flush()
			})
		},
	}
}

func usesText(t homeserver.ControlToken) string {
	if t.Uses < 0 {
		return fmt.Sprintf("used %d times", t.Used)
	}
	return fmt.Sprintf("used %d of %d times", t.Used, t.Uses)
}

func expiryText(t homeserver.ControlToken) string {
	if t.Expires == 0 {
		return "does not expire"
	}
	return "expires " + time.UnixMilli(t.Expires).Format(time.DateTime)
}
