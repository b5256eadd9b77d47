package foreman

// A real service for the tests: fake Ollama, worker, responders and Caddy, in a
// directory and on ports of their own. They come from $FOREMAN_BUILD, from the tree
// if it was built in place, or are built for the occasion.

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const testToken = "a-token-of-the-tests"

// enough is for what must come; generous, for busy machines.
const enough = time.Minute

var programs = []string{"foreman-worker", "foreman-responder",
	"tests/fake-ollama/fake-ollama"}

// why there is no service; nil: there is.
var absent error

// errBroken: there should be one. Everything else is a reason to skip.
var errBroken = errors.New("foreman does not start")

// common serves the tests that do not break it.
var common *service

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	scratch, err := os.MkdirTemp("", "foreman-go-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(scratch)
	if !testing.Short() {
		common, absent = prepare(scratch)
	} else {
		absent = errors.New("-short was given")
	}
	if errors.Is(absent, errBroken) {
		fmt.Println(absent)
		return 1
	}
	if absent != nil {
		fmt.Printf("SKIPPED: what needs the real service, and the examples: %v\n", absent)
		_ = flag.Set("test.skip", "^Example")
	} else {
		defer common.stop()
		os.Setenv("FOREMAN_URL", common.url)
		os.Setenv("FOREMAN_API_TOKEN", testToken)
	}
	return m.Run()
}

// --- the programs -------------------------------------------------------------------

func prepare(scratch string) (*service, error) {
	if _, err := exec.LookPath("caddy"); err != nil {
		return nil, errors.New("there is no caddy")
	}
	top, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(top, "Caddyfile")); err != nil {
		return nil, errors.New("this is not in foreman's source tree")
	}
	build := os.Getenv("FOREMAN_BUILD")
	if build == "" {
		if build, err = built(top, filepath.Join(scratch, "build")); err != nil {
			return nil, err
		}
	}
	return start(filepath.Join(scratch, "common"), build, top)
}

func complete(build string) bool {
	for _, name := range programs {
		if _, err := os.Stat(filepath.Join(build, name)); err != nil {
			return false
		}
	}
	return true
}

// built is where the programs are; they are made from a copy of the tree, which may
// be configured or not.
func built(top, to string) (string, error) {
	if complete(top) {
		return top, nil
	}
	fmt.Println("building foreman; FOREMAN_BUILD=directory spares that")
	if err := copyTree(top, to); err != nil {
		return "", err
	}
	script := "{ test -x configure || autoreconf -fi; } &&" +
		" ./configure CFLAGS=-O1 && make -j2 " + strings.Join(programs, " ")
	made := exec.Command("sh", "-c", script)
	made.Dir = to
	if out, err := made.CombinedOutput(); err != nil {
		last := strings.Split(strings.TrimSpace(string(out)), "\n")
		return "", fmt.Errorf("it cannot be built here: %s", last[len(last)-1])
	}
	return to, nil
}

func copyTree(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "build") &&
			name != "build-aux" || name == "autom4te.cache" {
			continue
		}
		path := filepath.Join(to, name)
		if e.IsDir() {
			err = os.CopyFS(path, os.DirFS(filepath.Join(from, name)))
		} else if e.Type().IsRegular() {
			// cp keeps times and modes, which make and configure look at
			_ = os.MkdirAll(to, 0o755)
			err = exec.Command("cp", "-p", filepath.Join(from, name), path).Run()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// --- the processes ------------------------------------------------------------------

type service struct {
	dir, build, top string
	port            int
	url             string
	target          string // the fake Ollama's URL
	env             []string
	fake            *exec.Cmd
	worker          *exec.Cmd
	responder       *exec.Cmd
	caddy           *exec.Cmd
}

func start(dir, build, top string) (*service, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	s := &service{dir: dir, build: build, top: top, port: freePort()}
	s.url = fmt.Sprintf("http://127.0.0.1:%d", s.port)
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8",
		"XDG_CONFIG_HOME=" + dir, "XDG_DATA_HOME=" + dir,
		"FOREMAN_DB=" + dir + "/foreman.db",
		"FOREMAN_SOCKET=" + dir + "/responder.sock",
		"FOREMAN_RELAY=" + dir + "/relay.sock",
		fmt.Sprintf("FOREMAN_LISTEN=:%d", s.port),
		"FOREMAN_API_TOKEN=" + testToken,
		"FOREMAN_RESPONDERS=2",
		"FOREMAN_POLL_INTERVAL=1s",
		"FOREMAN_WEBHOOK_ALLOW=loopback",
	}
	for _, name := range []string{"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"} {
		if value, ok := os.LookupEnv(name); ok {
			s.env = append(s.env, name+"="+value)
		}
	}
	if err := s.begin(); err != nil {
		s.stop()
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	return s, nil
}

func (s *service) begin() error {
	if !complete(s.build) {
		return fmt.Errorf("%s has not all of %v", s.build, programs)
	}
	s.fake = s.spawn("fake", s.build+"/tests/fake-ollama/fake-ollama",
		"--listen", "127.0.0.1:0", "--model", "qwen3:8b", "--model", "other",
		"--load-ms", "20", "--token-ms", "5")
	listening := regexp.MustCompile(`listening on (\S+)`)
	if err := until(func() bool {
		log, _ := os.ReadFile(s.dir + "/fake.log")
		if m := listening.FindSubmatch(log); m != nil {
			s.target = "http://" + string(m[1])
		}
		return s.target != ""
	}); err != nil {
		return err
	}
	s.env = append(s.env, "FOREMAN_OLLAMA_URL="+s.target)
	s.startWorker()
	s.startResponder()
	s.caddy = s.spawn("caddy", "caddy", "run", "--adapter", "caddyfile", "--config",
		s.top+"/Caddyfile")
	return until(s.ready)
}

func (s *service) startWorker() { s.worker = s.spawn("worker", s.build+"/foreman-worker") }

func (s *service) startResponder() {
	s.responder = s.spawn("responder", s.build+"/foreman-responder")
}

func (s *service) ready() bool {
	req, _ := http.NewRequest("GET", s.url+"/readyz", nil)
	req.Header.Set("Authorization", "Bearer "+testToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == 200
}

func (s *service) spawn(name, program string, args ...string) *exec.Cmd {
	log, err := os.OpenFile(filepath.Join(s.dir, name+".log"),
		os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env, log, log
	// no process outlives the tests, however these end
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := onOneThread(cmd.Start); err != nil {
		panic(err)
	}
	return cmd
}

// onOneThread starts processes from a thread that lives as long as the tests: by its
// end they would be taken to have lost their parent.
func onOneThread(do func() error) error {
	starter.Do(func() {
		go func() {
			runtime.LockOSThread()
			for do := range starts {
				started <- do()
			}
		}()
	})
	startLock.Lock()
	defer startLock.Unlock()
	starts <- do
	return <-started
}

var (
	starter   sync.Once
	startLock sync.Mutex
	starts    = make(chan func() error)
	started   = make(chan error)
)

func (s *service) stop() {
	// the target first: then nothing runs that would have to be drained
	for _, p := range []*exec.Cmd{s.fake, s.worker, s.responder, s.caddy} {
		end(p, syscall.SIGTERM)
	}
}

func end(p *exec.Cmd, how syscall.Signal) {
	if p == nil {
		return
	}
	_ = p.Process.Signal(how)
	late := time.AfterFunc(20*time.Second, func() { _ = p.Process.Kill() })
	_ = p.Wait()
	late.Stop()
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// until waits for an event that has no descriptor.
func until(there func() bool) error {
	for end := time.Now().Add(enough); time.Now().Before(end); {
		if there() {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("not in time")
}

// --- for the tests ------------------------------------------------------------------

// shared is a client of the common service.
func shared(t *testing.T) *Client {
	t.Helper()
	if absent != nil {
		t.Skip(absent)
	}
	return New(common.url, testToken)
}

// fresh is a service of the test's own, to be broken.
func fresh(t *testing.T) (*service, *Client) {
	t.Helper()
	if absent != nil {
		t.Skip(absent)
	}
	// a short path: it holds sockets
	dir, err := os.MkdirTemp("", "foreman-go-")
	if err != nil {
		t.Fatal(err)
	}
	s, err := start(dir, common.build, common.top)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			for _, name := range []string{"worker", "responder", "caddy"} {
				log, _ := os.ReadFile(filepath.Join(dir, name+".log"))
				t.Logf("--- %s\n%s", name, log[max(0, len(log)-4000):])
			}
		}
		os.RemoveAll(dir)
	})
	return s, New(s.url, testToken)
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), enough)
	t.Cleanup(cancel)
	return ctx
}

// generation is a job that says so many words, at this pace.
func generation(model string, words, ms int, stream bool) Submission {
	return Submission{Request: map[string]any{
		"model": model, "stream": stream,
		"messages": []Message{User("hello")},
		"options":  map[string]any{"fake_tokens": words, "fake_token_ms": ms},
	}}
}

// forEver is a job that runs until it is canceled.
func forEver() Submission { return generation("qwen3:8b", 1_000_000, 20, true) }

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// comesTo waits until the job is in the state.
func comesTo(t *testing.T, c *Client, id string, state State) *Job {
	t.Helper()
	for e, err := range c.Events(soon(t), id, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.State == state {
			return must[*Job](t)(c.Get(soon(t), id))
		}
	}
	t.Fatalf("job %s never came to %s", id, state)
	return nil
}
