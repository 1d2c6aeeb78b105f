package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"

	"astrocyte/store"
	"astrocyte/testkit"
)

// crashing is the variable that makes the test binary the process that is killed.
const crashing = "ASTROCYTE_TEST_CRASHING"

// A process that is killed in the middle of many commits: what it was told to be committed is there, and
// numbers that are in the database are not given again.
func TestAcknowledgedSurvivesACrash(t *testing.T) {
	if dsn := os.Getenv(crashing); dsn != "" {
		writeUntilKilled(t, dsn)
		return
	}
	testkit.Each(t, func(t *testing.T, dsn string) {
		db := testkit.DB(t, dsn)
		things(t, db)
		if db.Engine() == "sqlite" {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestAcknowledgedSurvivesACrash$")
		cmd.Env = append(os.Environ(), crashing+"="+dsn)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var acknowledged []int64
		for lines := bufio.NewScanner(out); lines.Scan(); {
			id, err := strconv.ParseInt(lines.Text(), 10, 64)
			if err != nil {
				t.Fatalf("the process said %s", lines.Text())
			}
			if acknowledged = append(acknowledged, id); len(acknowledged) == 500 {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		if len(acknowledged) < 500 {
			t.Fatalf("the process ended by itself after %d", len(acknowledged))
		}
		if db.Engine() == "sqlite" {
			db = testkit.DB(t, dsn)
		}
		there := ids(t, db)
		for _, id := range acknowledged {
			if _, found := slices.BinarySearch(there, id); !found {
				t.Errorf("%d was acknowledged and is not there", id)
			}
		}
		first, err := db.Nids(t.Context(), "things", 1)
		if err != nil || first <= there[len(there)-1] {
			t.Errorf("%d is given after %d was used, %v", first, there[len(there)-1], err)
		}
		view(t, db, func(tx *store.Tx) error {
			n, _, err := store.One(tx, scanInt, `SELECT COUNT(*) FROM things`)
			if err != nil {
				return err
			}
			if pos, err := tx.Pos(); err != nil || pos != n {
				t.Errorf("the position is %d with %d things, %v", pos, n, err)
			}
			return nil
		})
	})
}

// writeUntilKilled prints the id of each thing once its commit is acknowledged.
func writeUntilKilled(t *testing.T, dsn string) {
	db, err := store.Open(t.Context(), store.Options{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 100_000 {
				var id int64
				err := db.Update(context.Background(), func(tx *store.Tx) (err error) {
					if id, err = db.Nids(context.Background(), "things", 1); err != nil {
						return err
					}
					if err = add(tx, id); err != nil {
						return err
					}
					_, err = tx.NextPos(1)
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Fprintf(os.Stdout, "%d\n", id)
			}
		})
	}
	wg.Wait()
}
