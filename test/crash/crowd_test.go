package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"astrocyte/testkit"
	"astrocyte/testkit/story"
)

// BenchmarkCrowd has a user join a room of many members by another server, and prints what that costs the server
// that joins: CPU, peak memory, and how long a message in another room of it waited meanwhile. The members are of
// 100 servers, whose keys come from a notary.
func BenchmarkCrowd(b *testing.B) {
	program := buildProgram(b)
	for _, members := range []int{1000, 10_000, 50_000} {
		for name, dsn := range map[string]func(testing.TB) string{"sqlite": testkit.SQLite, "postgres": testkit.Postgres} {
			b.Run(fmt.Sprintf("%d/%s", members, name), func(b *testing.B) {
				f := story.NewForeign(b)
				crowds := make([]*story.Crowd, b.N)
				for i := range crowds {
					crowds[i] = f.HasCrowd(members, 100)
				}
				f.IsNotary(crowds...)
				p := newProcess(b, program, dsn(b))
				p.client.Timeout = 10 * time.Minute
				p.federate(string(f.Name))
				p.start()
				alice, bob := register(b, p, "alice"), register(b, p, "bob")
				aside := bob.must(b.Context(), b, "POST", "/createRoom", map[string]any{}).At("room_id").Text()
				cpu := p.cpu()
				p.forgetPeak()
				b.ResetTimer()
				var waits []time.Duration
				for _, c := range crowds {
					stop := bob.talks(b, aside, &waits)
					alice.must(b.Context(), b, "POST", story.Path("join", string(c.ID))+"?via="+string(f.Name), map[string]any{})
					stop()
				}
				b.StopTimer()
				slices.Sort(waits)
				ms := func(at int) float64 { return float64(waits[at].Microseconds()) / 1000 }
				b.ReportMetric(float64((p.cpu()-cpu).Milliseconds())/float64(b.N), "cpu-ms/op")
				b.ReportMetric(p.peak(), "peak-MB")
				b.ReportMetric(ms(len(waits)-1), "longest-wait-ms")
				b.ReportMetric(ms(len(waits)*99/100), "p99-wait-ms")
			})
		}
	}
}

// talks sends messages one after the other until it is told to stop, and notes how long each took.
func (a *account) talks(t testing.TB, room string, waits *[]time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			began := time.Now()
			path := story.Path("rooms", room, "send", "m.room.message", fmt.Sprintf("%d-%d", len(*waits), n))
			answer, err := a.call(context.WithoutCancel(ctx), "PUT", path, map[string]any{"msgtype": "m.text", "body": "meanwhile"})
			if err != nil || answer.Status != http.StatusOK {
				t.Errorf("a message in another room: %v %v", answer, err)
				return
			}
			*waits = append(*waits, time.Since(began))
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// cpu is how much time of a processor the program has used. Zero where the system does not tell.
func (p *process) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.running.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	ticks := int64(0)
	for _, f := range fields[11:13] { // user and system time, of 10 ms
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// forgetPeak lets the peak of memory be counted from now on.
func (p *process) forgetPeak() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.running.Process.Pid), []byte("5"), 0) // where there is such a thing
}

// peak is the most memory that the program has had, in megabytes.
func (p *process) peak() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.running.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, is := strings.CutPrefix(line, "VmHWM:"); is {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return kb / 1024
		}
	}
	return 0
}

// TestJoinThatIsKilled kills a server again and again while a user of it joins a large room of another server. What
// there is of the room then is seen by nobody; in the end the join is repeated, and the room is there, whole.
func TestJoinThatIsKilled(t *testing.T) {
	t.Parallel()
	program := buildProgram(t)
	rounds := roundsToRun(t)
	testkit.Each(t, func(t *testing.T, dsn string) {
		const members = 3000
		f := story.NewForeign(t)
		crowd := f.HasCrowd(members, 10)
		f.IsNotary(crowd)
		room := string(crowd.ID)
		p := newProcess(t, program, dsn)
		p.client.Timeout = 2 * time.Minute
		p.federate(string(f.Name))
		p.start()
		alice := register(t, p, "alice")
		join := story.Path("join", room) + "?via=" + string(f.Name)
		inside := func() bool {
			rooms := alice.must(t.Context(), t, "GET", "/joined_rooms", nil).At("joined_rooms").Texts()
			return slices.Contains(rooms, room)
		}
		killed := 0
		for n := 0; n < rounds && !inside(); n++ {
			told := crowd.Answers.Load()
			answered := make(chan bool, 1)
			go func() {
				answer, err := alice.call(context.Background(), "POST", join, map[string]any{})
				answered <- err == nil && answer.Status == http.StatusOK
			}()
			for crowd.Answers.Load() == told {
				time.Sleep(5 * time.Millisecond)
			}
			time.Sleep(rand.N(1500 * time.Millisecond)) // so that the kills fall among the parts of the room
			p.kill()
			if <-answered {
				t.Log("the server was quicker")
			} else {
				killed++
			}
			p.start()
			if status := alice.knocks(t, room); inside() != (status == http.StatusOK) {
				t.Errorf("alice is in the room: %v, and asking for its members is answered %d", inside(), status)
			}
		}
		t.Logf("killed %d times while it joined", killed)
		alice.must(t.Context(), t, "POST", join, map[string]any{})
		bob := register(t, p, "bob")
		bob.must(t.Context(), t, "POST", join, map[string]any{})
		for _, u := range []*account{alice, bob} {
			if n := len(u.must(t.Context(), t, "GET", story.Path("rooms", room, "joined_members"), nil).At("joined").Keys()); n != members+3 {
				t.Errorf("%s sees %d members, not %d", u.id, n, members+3)
			}
		}
	})
}

// knocks asks for the members of a room, and gives the status of the answer.
func (a *account) knocks(t *testing.T, room string) int {
	t.Helper()
	answer, err := a.call(t.Context(), "GET", story.Path("rooms", room, "joined_members"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status
}
