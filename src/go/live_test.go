package foreman

// What the package does with the real service.

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestAJobIsSubmittedAndWaitedFor(t *testing.T) {
	c := shared(t)
	s := generation("qwen3:8b", 5, 5, false)
	s.Metadata = map[string]string{"ticket": "47&11 <ü>"}
	s.Timeout, s.ExpiresIn = 90*time.Second, 1500*time.Microsecond+time.Hour
	job := must[*Job](t)(c.Submit(soon(t), s))
	if job.ID == "" || job.Terminal || job.Seq < 1 || job.CreatedAt.IsZero() {
		t.Errorf("submitted: %s", job.Raw)
	}
	job = must[*Job](t)(c.Wait(soon(t), job.ID))
	if job.State != Done || !job.Terminal || job.Err() != nil || job.Model != "qwen3:8b" ||
		job.Endpoint != "/api/chat" || job.Attempts != 1 || job.FinishedAt == nil ||
		job.Usage.CompletionTokens == nil || *job.Usage.CompletionTokens != 5 ||
		job.Timings.Loading < 10*time.Millisecond || job.Webhook != nil ||
		job.Metadata["ticket"] != "47&11 <ü>" {
		t.Errorf("done: %s", job.Raw)
	}
	again := must[*Job](t)(c.Get(soon(t), strings.ToLower(job.ID)))
	if again.ID != job.ID || again.Seq != job.Seq {
		t.Errorf("got %s, waited for %s", again.Raw, job.Raw)
	}
}

func TestARequestIsKeptByteForByte(t *testing.T) {
	c := shared(t)
	raw := json.RawMessage(`{ "model":"qwen3:8b" ,"stream": false,` +
		` "messages":[{"role":"user","content":"echo <a> & b"}] }`)
	job := must[*Job](t)(c.Run(soon(t), Submission{Request: raw}))
	if text := must[string](t)(c.Text(soon(t), job)); text != "<a> & b" {
		t.Errorf("%q", text)
	}
}

func TestWhatAJobLeftIsReadInEachWay(t *testing.T) {
	c := shared(t)
	inline := must[*Job](t)(c.Run(soon(t), generation("qwen3:8b", 4, 1, false)))
	s := generation("qwen3:8b", 4, 1, false)
	s.Artifact = "fetch"
	fetched := must[*Job](t)(c.Run(soon(t), s))
	if inline.Artifact(Content).Inline == nil || fetched.Artifact(Content).Inline != nil {
		t.Fatalf("%s\n%s", inline.Raw, fetched.Raw)
	}
	a := must[string](t)(c.Text(soon(t), inline))
	b := must[string](t)(c.Text(soon(t), fetched))
	if a == "" || a != b {
		t.Errorf("%q is not %q", a, b)
	}
	for _, job := range []*Job{inline, fetched} {
		var answer struct {
			Done    bool
			Message Message
		}
		if err := c.Decode(soon(t), job, &answer); err != nil || !answer.Done ||
			answer.Message.Content != a {
			t.Errorf("%v: %v", err, answer)
		}
	}
	body := must[*Body](t)(c.Open(soon(t), fetched.ID, Response))
	defer body.Close()
	bytes, err := io.ReadAll(body)
	sum := sha256.Sum256(bytes)
	known := fetched.Artifact(Response)
	if err != nil || body.Bytes != int64(len(bytes)) || !known.Complete ||
		body.SHA256 != hex.EncodeToString(sum[:]) || body.SHA256 != known.SHA256 ||
		body.ContentType != known.ContentType {
		t.Errorf("%+v, %+v, %v", body, known, err)
	}
	if fetched.Artifact("nothing") != nil {
		t.Error("an artifact out of nothing")
	}
}

func TestTheSameKeyIsTheSameJob(t *testing.T) {
	c := shared(t)
	s := generation("qwen3:8b", 2, 1, false)
	s.IdempotencyKey = rand.Text()
	first := must[*Job](t)(c.Submit(soon(t), s))
	second := must[*Job](t)(c.Submit(soon(t), s))
	if first.ID != second.ID || first.Replayed || !second.Replayed {
		t.Errorf("%v %s, %v %s", first.Replayed, first.ID, second.Replayed, second.ID)
	}
	s.Timeout = time.Hour
	_, err := c.Submit(soon(t), s)
	refused(t, err, 422, "idempotency_key_reused", nil)
}

// refused: the service said so; errors.Is finds is, and nothing else of ours.
func refused(t *testing.T, err error, status int, code string, is error) {
	t.Helper()
	var said *Error
	if !errors.As(err, &said) || said.Status != status || said.Code != code ||
		said.Detail == "" {
		t.Errorf("not %d %s: %v", status, code, err)
	}
	for _, one := range []error{ErrNotFound, ErrGone, ErrUnauthorized, ErrBusy,
		ErrUnreachable, ErrInterrupted} {
		if errors.Is(err, one) != (one == is) {
			t.Errorf("%v: is it %v?", err, one)
		}
	}
}

func TestWhatTheServiceRefuses(t *testing.T) {
	c := shared(t)
	ctx := soon(t)
	_, err := c.Get(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
	refused(t, err, 404, "not_found", ErrNotFound)
	_, err = c.Get(ctx, "no/../job?x=#")
	var said *Error
	if !errors.As(err, &said) || said.Status != 400 && said.Status != 404 {
		t.Error(err)
	}
	_, err = c.Submit(ctx, Submission{Request: map[string]any{"messages": 1}})
	refused(t, err, 400, "invalid_request", nil)
	s := forEver()
	s.Webhook = &Webhook{URL: "http://169.254.169.254/", Events: []State{Done}}
	_, err = c.Submit(ctx, s)
	refused(t, err, 422, "webhook_refused", nil)
	for _, err = range c.List(ctx, Filter{State: "lost"}) {
		refused(t, err, 400, "invalid_request", nil)
	}
	for _, err = range c.Stream(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV") {
		refused(t, err, 404, "not_found", ErrNotFound)
	}
	for _, err = range c.Events(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV", 0) {
		refused(t, err, 404, "not_found", ErrNotFound)
	}
	stranger := New(common.url, "another-token")
	_, err = stranger.Get(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
	refused(t, err, 401, "unauthorized", ErrUnauthorized)
}

func TestARemovedJobIsGone(t *testing.T) {
	c := shared(t)
	ctx := soon(t)
	job := must[*Job](t)(c.Submit(ctx, forEver()))
	comesTo(t, c, job.ID, Working)
	if err := c.Remove(ctx, job.ID); err != nil {
		t.Fatal(err)
	}
	_, err := c.Get(ctx, job.ID)
	refused(t, err, 410, "retired", ErrGone)
	refused(t, c.Remove(ctx, job.ID), 410, "retired", ErrGone)
	_, err = c.Open(ctx, job.ID, Response)
	refused(t, err, 410, "retired", ErrGone)
}

func TestAJobRemovedWhileItIsFollowed(t *testing.T) {
	c := shared(t)
	ctx := soon(t)
	job := must[*Job](t)(c.Submit(ctx, forEver()))
	var last error
	for e, err := range c.Events(ctx, job.ID, 0) {
		last = err
		if e.State == Working {
			if err := c.Remove(ctx, job.ID); err != nil {
				t.Error(err)
			}
		}
	}
	if !errors.Is(last, ErrGone) {
		t.Errorf("events end with %v", last)
	}
	job = must[*Job](t)(c.Submit(ctx, forEver()))
	removed := false
	for _, err := range c.Stream(ctx, job.ID) {
		if last = err; err == nil && !removed {
			removed = true
			if err := c.Remove(ctx, job.ID); err != nil {
				t.Error(err)
			}
		}
	}
	if !errors.Is(last, ErrGone) {
		t.Errorf("the stream ends with %v", last)
	}
}

func TestACanceledJobFails(t *testing.T) {
	c := shared(t)
	ctx := soon(t)
	job := must[*Job](t)(c.Submit(ctx, forEver()))
	comesTo(t, c, job.ID, Working)
	must[*Job](t)(c.Cancel(ctx, job.ID))
	job = must[*Job](t)(c.Wait(ctx, job.ID))
	var failed *JobError
	if !errors.As(job.Err(), &failed) || failed.Reason != ReasonCanceled ||
		failed.ID != job.ID {
		t.Errorf("%v: %s", job.Err(), job.Raw)
	}
	if a := job.Artifact(Response); a == nil || a.Complete {
		t.Errorf("what it said is not kept as incomplete: %+v", a)
	}
	again := must[*Job](t)(c.Cancel(ctx, job.ID))
	if again.Seq != job.Seq {
		t.Errorf("canceled twice: %s", again.Raw)
	}
	var last error
	for _, err := range c.Stream(ctx, job.ID) {
		last = err
	}
	if !errors.As(last, &failed) || failed.Reason != ReasonCanceled {
		t.Errorf("its stream ends with %v", last)
	}
}

func TestAFailedJobTellsWhy(t *testing.T) {
	c := shared(t)
	job, err := c.Run(soon(t), Submission{Request: map[string]any{
		"model": "qwen3:8b", "messages": []Message{User("hello")},
		"options": map[string]any{"fake_status": 400, "fake_error": "not this"}}})
	var failed *JobError
	if !errors.As(err, &failed) || failed.Reason != ReasonInvalidRequest ||
		!strings.Contains(err.Error(), "not this") || job == nil || job.State != Failed {
		t.Errorf("%v, %v", job, err)
	}
	for piece, err := range c.ChatStream(soon(t), "no-such-model", User("hello")) {
		if !errors.As(err, &failed) || failed.Reason != ReasonModelNotFound {
			t.Errorf("%v, %v", piece, err)
		}
	}
	s := forEver()
	s.Timeout = 50 * time.Millisecond
	if _, err = c.Run(soon(t), s); !errors.As(err, &failed) ||
		failed.Reason != ReasonTimeout {
		t.Error(err)
	}
}

func TestAStreamTellsAllOfItLiveAndAfterwards(t *testing.T) {
	c := shared(t)
	job := must[*Job](t)(c.Submit(soon(t), generation("qwen3:8b", 20, 5, true)))
	read := func() (all []string) {
		for line, err := range c.Stream(soon(t), job.ID) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(line))
		}
		return all
	}
	live := read()
	if job := must[*Job](t)(c.Wait(soon(t), job.ID)); job.State != Done {
		t.Fatalf("%s", job.Raw)
	}
	if len(live) != 21 || !slices.Equal(live, read()) {
		t.Errorf("%d lines", len(live))
	}
	whole := must[[]byte](t)(c.Fetch(soon(t), job.ID, Response))
	if strings.Join(live, "\n")+"\n" != string(whole) {
		t.Error("the stream is not what the target answered")
	}
}

func TestAStreamOfEventsIsRead(t *testing.T) {
	c := shared(t)
	job := must[*Job](t)(c.Submit(soon(t), Submission{
		Endpoint: "/v1/chat/completions",
		Request: map[string]any{"model": "qwen3:8b", "stream": true,
			"messages": []Message{User("echo hi there")}}}))
	var said string
	var last []byte
	for data, err := range c.Stream(soon(t), job.ID) {
		if err != nil {
			t.Fatal(err)
		}
		var part struct{ Choices []struct{ Delta Message } }
		if json.Unmarshal(data, &part) == nil && len(part.Choices) > 0 {
			said += part.Choices[0].Delta.Content
		}
		last = slices.Clone(data)
	}
	if said != "hi there" || string(last) != "[DONE]" {
		t.Errorf("%q, %q", said, last)
	}
	job = must[*Job](t)(c.Submit(soon(t), Submission{
		Endpoint: "/v1/chat/completions",
		Request: map[string]any{"model": "no-such-model", "stream": true,
			"messages": []Message{User("echo hi there")}}}))
	var failed *JobError
	for data, err := range c.Stream(soon(t), job.ID) {
		if err != nil && (!errors.As(err, &failed) ||
			failed.Reason != ReasonModelNotFound) {
			t.Errorf("%s, %v", data, err)
		}
	}
	if failed == nil {
		t.Error("it did not fail")
	}
}

func TestEventsResume(t *testing.T) {
	c := shared(t)
	job := must[*Job](t)(c.Run(soon(t), generation("qwen3:8b", 2, 1, false)))
	for after, want := range [][]State{{Queued, Loading, Working, Done},
		{Loading, Working, Done}, {Working, Done}, {Done}, nil} {
		var states []State
		for e, err := range c.Events(soon(t), job.ID, int64(after)) {
			if err != nil || e.At.IsZero() {
				t.Fatal(e, err)
			}
			states = append(states, e.State)
		}
		if !slices.Equal(states, want) {
			t.Errorf("after %d: %v", after, states)
		}
	}
}

func TestAListIsPaged(t *testing.T) {
	c := shared(t)
	list := func(page int) (ids []string) {
		for job, err := range c.List(soon(t), Filter{Model: "other", State: Done, Page: page}) {
			if err != nil || job.Model != "other" || job.Raw == nil {
				t.Fatal(job, err)
			}
			ids = append(ids, job.ID)
		}
		return ids
	}
	want := list(0)
	for range 7 {
		job := must[*Job](t)(c.Run(soon(t), generation("other", 1, 1, false)))
		want = slices.Insert(want, 0, job.ID)
	}
	for page := 1; page <= len(want)+1; page++ {
		if got := list(page); !slices.Equal(got, want) {
			t.Errorf("pages of %d: %v, not %v", page, got, want)
		}
	}
	for job, err := range c.List(soon(t), Filter{Model: "not-there"}) {
		t.Error(job, err)
	}
}

func TestWhoeverLeavesAChatCancelsIt(t *testing.T) {
	c := shared(t)
	endless := forEver().Request.(map[string]any)
	newest := func() *Job {
		for job := range c.List(soon(t), Filter{Page: 1}) {
			return must[*Job](t)(c.Wait(soon(t), job.ID))
		}
		return nil
	}
	t.Run("by its context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_ = until(func() bool { // it runs
				for job := range c.List(soon(t), Filter{State: Working}) {
					return job != nil
				}
				return false
			})
			cancel()
		}()
		if _, err := c.Run(ctx, Submission{Request: endless}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if job := newest(); job.Reason != ReasonCanceled {
			t.Errorf("%s", job.Raw)
		}
	})
	t.Run("by its deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := c.Run(ctx, Submission{Request: endless})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if job := newest(); job.Reason != ReasonCanceled {
			t.Errorf("%s", job.Raw)
		}
	})
	t.Run("by leaving the loop", func(t *testing.T) {
		long := strings.Repeat(" word", 2000)
		for piece, err := range c.ChatStream(soon(t), "qwen3:8b", User("echo"+long)) {
			if err != nil || piece.Text == "" {
				t.Error(piece, err)
			}
			break
		}
		if job := newest(); job.Reason != ReasonCanceled {
			t.Errorf("%s", job.Raw)
		}
	})
	t.Run("by its context, in the loop", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var last error
		long := strings.Repeat(" word", 2000)
		for _, err := range c.ChatStream(ctx, "qwen3:8b", User("echo"+long)) {
			cancel()
			last = err
		}
		if !errors.Is(last, context.Canceled) {
			t.Error(last)
		}
		if job := newest(); job.Reason != ReasonCanceled {
			t.Errorf("%s", job.Raw)
		}
	})
	t.Run("a context that is over submits nothing", func(t *testing.T) {
		before := newest().ID
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Chat(ctx, "qwen3:8b", User("hi")); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if newest().ID != before {
			t.Error("it did")
		}
	})
}

// The answer to a submission is held back: whether there is a job is not known.
func TestALeaverWhoseSubmissionIsNotAnsweredCancelsIt(t *testing.T) {
	c := shared(t)
	ctx, cancel := context.WithCancel(t.Context())
	c.HTTP = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		res, err := http.DefaultTransport.RoundTrip(r)
		if r.URL.Path == "/jobs" && ctx.Err() == nil {
			res.Body.Close()
			cancel()
			return nil, context.Canceled
		}
		return res, err
	})}
	s := forEver()
	s.Metadata = map[string]string{"test": t.Name()}
	if _, err := c.Run(ctx, s); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for job, err := range c.List(soon(t), Filter{Page: 1}) {
		if err != nil || job.Metadata["test"] != t.Name() {
			t.Fatal(job, err)
		}
		if job = must[*Job](t)(c.Wait(soon(t), job.ID)); job.Reason != ReasonCanceled {
			t.Errorf("%s", job.Raw)
		}
		break
	}
}

func TestFiftyGoroutinesShareAClient(t *testing.T) {
	c := shared(t)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			word := fmt.Sprintf("word%d", i)
			if i%2 == 0 {
				text, err := c.Chat(soon(t), "qwen3:8b", User("echo "+word))
				if text != word || err != nil {
					t.Errorf("%q, %v", text, err)
				}
				return
			}
			text := ""
			for piece, err := range c.ChatStream(soon(t), "qwen3:8b", User("echo "+word)) {
				if err != nil || piece.Restart {
					t.Errorf("%v, %v", piece, err)
				}
				text += piece.Text
			}
			if text != word {
				t.Errorf("%q", text)
			}
		})
	}
	all.Wait()
}

func TestNoGoroutineIsLeft(t *testing.T) {
	c := shared(t)
	transport := &http.Transport{}
	c.HTTP = &http.Client{Transport: transport}
	before := runtime.NumGoroutine()
	for range 10 {
		job := must[*Job](t)(c.Submit(soon(t), forEver()))
		for range c.Events(soon(t), job.ID, 0) {
			break
		}
		for range c.Stream(soon(t), job.ID) {
			break
		}
		must[*Job](t)(c.Cancel(soon(t), job.ID))
		must[*Job](t)(c.Wait(soon(t), job.ID))
		body := must[*Body](t)(c.Open(soon(t), job.ID, Response))
		body.Close()
	}
	transport.CloseIdleConnections()
	if until(func() bool { return runtime.NumGoroutine() <= before }) != nil {
		t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	c := shared(t)
	dials := 0
	transport := &http.Transport{}
	dial := defaultHTTP.Transport.(*http.Transport).DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn,
		error) {
		dials++
		return dial(ctx, network, address)
	}
	c.HTTP = &http.Client{Transport: transport}
	defer transport.CloseIdleConnections()
	for range 10 {
		job := must[*Job](t)(c.Run(soon(t), generation("qwen3:8b", 1, 1, true)))
		for _, err := range c.Stream(soon(t), job.ID) {
			if err != nil {
				t.Error(err)
			}
		}
		must[[]byte](t)(c.Fetch(soon(t), job.ID, Response))
		if err := c.Remove(soon(t), job.ID); err != nil {
			t.Error(err)
		}
		if _, err := c.Get(soon(t), job.ID); !errors.Is(err, ErrGone) {
			t.Error(err)
		}
	}
	if dials != 1 {
		t.Errorf("%d connections", dials)
	}
}

func TestWhatTheServiceDeliversIsBelieved(t *testing.T) {
	c := shared(t)
	secret := "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	type taken struct {
		*Delivery
		err error
	}
	deliveries := make(chan taken, 10)
	receiver := httptest.NewServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			d, err := VerifyWebhook([]string{"whsec_" + strings.Repeat("AAAA", 8), secret},
				r.Header, body, time.Now())
			deliveries <- taken{d, err}
			w.WriteHeader(http.StatusNoContent)
		}))
	defer receiver.Close()
	s := generation("qwen3:8b", 2, 1, false)
	s.Webhook = &Webhook{URL: receiver.URL, Secret: secret, Events: []State{Queued, Done}}
	job := must[*Job](t)(c.Submit(soon(t), s))
	if job.Webhook == nil || job.Webhook.URL != receiver.URL {
		t.Errorf("%s", job.Raw)
	}
	for _, state := range []State{Queued, Done} {
		d := <-deliveries
		if d.err != nil || d.Type != "job."+string(state) || d.Job.ID != job.ID ||
			d.Job.State != state || d.At.IsZero() || !strings.HasPrefix(d.ID, "evt_") {
			t.Errorf("%+v", d)
		}
	}
}

// --- a service that is restarted ------------------------------------------------------

func TestAWaitOutlivesRestarts(t *testing.T) {
	s, c := fresh(t)
	job := must[*Job](t)(c.Submit(soon(t), forEver()))
	comesTo(t, c, job.ID, Working)
	type result struct {
		*Job
		err error
	}
	waited := make(chan result)
	ctx := soon(t)
	go func() {
		job, err := c.Wait(ctx, job.ID)
		waited <- result{job, err}
	}()
	var moves []State
	followed := make(chan error, 1)
	go func() {
		for e, err := range c.Events(ctx, job.ID, 0) {
			if err != nil {
				followed <- err
				return
			}
			moves = append(moves, e.State)
		}
		followed <- nil
	}()
	end(s.responder, syscall.SIGTERM)
	end(s.caddy, syscall.SIGKILL)
	s.startResponder()
	s.caddy = s.spawn("caddy", "caddy", "run", "--adapter", "caddyfile", "--config",
		s.top+"/Caddyfile")
	must[*Job](t)(c.Cancel(ctx, job.ID))
	if got := <-waited; got.err != nil || got.Reason != ReasonCanceled {
		t.Errorf("%+v", got)
	}
	if err := <-followed; err != nil ||
		!slices.Equal(moves, []State{Queued, Loading, Working, Failed}) {
		t.Errorf("%v, %v", moves, err)
	}
}

func TestAChatStreamOutlivesRestarts(t *testing.T) {
	restarts := map[string]func(s *service){
		"of the responders": func(s *service) {
			end(s.responder, syscall.SIGTERM)
			s.startResponder()
		},
		"of Caddy": func(s *service) {
			end(s.caddy, syscall.SIGKILL)
			s.caddy = s.spawn("caddy", "caddy", "run", "--adapter", "caddyfile",
				"--config", s.top+"/Caddyfile")
		},
		"of the worker, which makes the run begin anew": func(s *service) {
			end(s.worker, syscall.SIGKILL)
			s.startWorker()
		},
	}
	long := strings.TrimSpace(strings.Repeat("word and ", 100))
	for name, restart := range restarts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := fresh(t)
			text, done := "", false
			for piece, err := range c.ChatStream(soon(t), "qwen3:8b", User("echo "+long)) {
				if err != nil {
					t.Fatal(err)
				}
				if piece.Restart { // the fake says the same each time
					t.Errorf("restarted with %q", piece.Text)
				}
				text += piece.Text
				if !done && len(text) > 50 {
					done = true
					restart(s)
				}
			}
			if text != long {
				t.Errorf("%q", text)
			}
		})
	}
}

func TestAServiceThatIsAwayIsNotWaitedForInVain(t *testing.T) {
	s, c := fresh(t)
	job := must[*Job](t)(c.Submit(soon(t), generation("qwen3:8b", 1, 1, false)))
	end(s.responder, syscall.SIGTERM)
	c.Patience = 0
	_, err := c.Get(soon(t), job.ID)
	refused(t, err, 502, "responder_unavailable", ErrUnreachable)
	end(s.caddy, syscall.SIGTERM)
	_, err = c.Get(soon(t), job.ID)
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
}
