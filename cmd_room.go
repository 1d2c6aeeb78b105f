package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"astrocyte/federation/remote"
	"astrocyte/homeserver"
	"astrocyte/matrix"
	"astrocyte/roomserver"
)

func roomCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "room",
		Short: "Look after rooms",
	}
	var s settings
	s.flags(cmd.PersistentFlags())
	cmd.AddCommand(roomDoctorCommand(&s))
	return cmd
}

func roomDoctorCommand(s *settings) *cobra.Command {
	var servers []string
	var repair bool
	cmd := &cobra.Command{
		Use:   "doctor ROOM",
		Short: "Compare the state of a room with that of other servers in it",
		Long: "Compare the state of a room with that of other servers in it, and show where they differ. With --repair what is missing here is\n" +
			"fetched, and the state is resolved with theirs by the rules of the room; it is never just taken over.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return controlled(cmd.Context(), s, func(c *control) error {
				q := homeserver.ControlDoctor{Room: matrix.RoomID(args[0]), Repair: repair}
				for _, name := range servers {
					q.Servers = append(q.Servers, matrix.ServerName(name))
				}
				var d remote.Diagnosis
				if err := c.ask("POST", "/rooms/doctor", q, &d); err != nil {
					return err
				}
				return showDiagnosis(cmd.OutOrStdout(), &d)
			})
		},
	}
	cmd.Flags().StringSliceVar(&servers, "server", nil, "a server to compare with; may be given more than once (some of those in the room)")
	cmd.Flags().BoolVar(&repair, "repair", false, "fetch what differs, and resolve the state with theirs")
	return cmd
}

func showDiagnosis(w io.Writer, d *remote.Diagnosis) error {
	fmt.Fprintf(w, "The state of %s before the event %s:\n", d.Room, d.Event)
	for _, o := range d.Opinions {
		switch {
		case o.Failure != "":
			fmt.Fprintf(w, "%s: no answer to compare with: %s\n", o.Server, o.Failure)
		case len(o.Here)+len(o.There) == 0:
			fmt.Fprintf(w, "%s agrees.\n", o.Server)
		default:
			fmt.Fprintf(w, "%s differs:\n", o.Server)
			showHeld(w, "only here ", o.Here)
			showHeld(w, "only there", o.There)
		}
		if o.Repaired > 0 {
			fmt.Fprintf(w, "  repaired: %d places of the state changed\n", o.Repaired)
		}
	}
	if len(d.Opinions) == 0 {
		fmt.Fprintln(w, "No other server is in the room.")
	}
	return nil
}

func showHeld(w io.Writer, where string, events []roomserver.Held) {
	for _, h := range events {
		fmt.Fprintf(w, "  %s  %s  %q %q of %s\n", where, h.Event, h.Type, h.StateKey, h.Sender)
	}
}
