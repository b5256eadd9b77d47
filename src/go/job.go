package foreman

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// State is where a job is.
type State string

// The states, in the order in which a job passes them.
const (
	Queued  State = "queued"
	Loading State = "loading"
	Working State = "working"
	Done    State = "done"
	Failed  State = "failed"
)

// Reason is why a job failed, or was sent back to the line.
type Reason string

// The reasons of failed jobs.
const (
	ReasonCanceled           Reason = "canceled"
	ReasonExpired            Reason = "expired" // not started within ExpiresIn
	ReasonTimeout            Reason = "timeout" // ran longer than Timeout
	ReasonModelNotFound      Reason = "model_not_found"
	ReasonInvalidRequest     Reason = "invalid_request" // the target refused it
	ReasonUpstreamError      Reason = "upstream_error"  // the target failed
	ReasonUpstreamIncomplete Reason = "upstream_incomplete"
	ReasonResponseTooLarge   Reason = "response_too_large"
	ReasonAttemptsExhausted  Reason = "attempts_exhausted"
	ReasonWorkerRestarted    Reason = "worker_restarted" // attended jobs only
	ReasonInternal           Reason = "internal"

	reasonRemoved     Reason = "removed"     // a stream's last word
	reasonInterrupted Reason = "interrupted" // another one
)

// Job is a job as it was when it was asked for; it does not change by itself.
type Job struct {
	ID         string            `json:"id"`
	State      State             `json:"state"`
	Terminal   bool              `json:"terminal"` // done or failed
	Reason     Reason            `json:"reason"`   // why it failed
	Error      string            `json:"error"`    // the same for people
	Attended   bool              `json:"attended"` // a client waits for it
	Endpoint   string            `json:"endpoint"`
	Model      string            `json:"model"`
	Position   int64             `json:"position"`   // in line, 1: next; 0: not told
	Estimate   *Estimate         `json:"estimate"`   // nil: not known
	WaitingOn  string            `json:"waiting_on"` // worker, model, target; "": nothing
	Attempts   int               `json:"attempts"`
	Seq        int64             `json:"seq"` // of its latest move; grows
	CreatedAt  time.Time         `json:"created_at"`
	LoadingAt  *time.Time        `json:"loading_at"`
	WorkingAt  *time.Time        `json:"working_at"`
	FinishedAt *time.Time        `json:"finished_at"`
	Timings    Timings           `json:"timings"`
	Usage      Usage             `json:"usage"`
	Artifacts  []Artifact        `json:"artifacts"`
	Webhook    *Owed             `json:"webhook"` // nil: nobody is told
	Metadata   map[string]string `json:"metadata"`

	// Replayed: this answer is of an earlier submission with the same idempotency
	// key, perhaps of an attempt of the same call.
	Replayed bool `json:"-"`
	// Raw is all of it, as the service told it.
	Raw json.RawMessage `json:"-"`
}

// Err is nil, or the [*JobError] of a job that failed.
func (j *Job) Err() error {
	if j.State != Failed {
		return nil
	}
	return &JobError{ID: j.ID, Reason: j.Reason, Detail: j.Error}
}

// Artifact finds what the job left under this name; nil: nothing.
func (j *Job) Artifact(name string) *Artifact {
	for i := range j.Artifacts {
		if j.Artifacts[i].Name == name {
			return &j.Artifacts[i]
		}
	}
	return nil
}

// Estimate is when a job that waits should run, by what has been measured so far.
type Estimate struct {
	StartsAt time.Time `json:"starts_at"`
	EndsAt   time.Time `json:"ends_at"`
}

// Timings are how long the latest run was in each state; they count on.
type Timings struct {
	Queued, Loading, Working time.Duration
}

// UnmarshalJSON reads milliseconds.
func (t *Timings) UnmarshalJSON(text []byte) error {
	var ms struct {
		Queued  int64 `json:"queued_ms"`
		Loading int64 `json:"loading_ms"`
		Working int64 `json:"working_ms"`
	}
	err := json.Unmarshal(text, &ms)
	t.Queued = time.Duration(ms.Queued) * time.Millisecond
	t.Loading = time.Duration(ms.Loading) * time.Millisecond
	t.Working = time.Duration(ms.Working) * time.Millisecond
	return err
}

// Usage is what the target counted; nil where it did not.
type Usage struct {
	PromptTokens     *int64 `json:"prompt_tokens"`
	CompletionTokens *int64 `json:"completion_tokens"`
}

// Owed is how a job's webhooks stand.
type Owed struct {
	URL     string `json:"url"`
	Pending int    `json:"pending"` // still to be delivered
	Dead    int    `json:"dead"`    // given up
}

// Webhook says who is told of a job's moves.
type Webhook struct {
	URL    string  `json:"url"`
	Secret string  `json:"secret,omitempty"` // "whsec_..."
	Events []State `json:"events,omitempty"` // nil: all five
}

// Submission is what is to be done. Request is required; the rest may be left.
type Submission struct {
	// Request is what the target is sent, with a model: anything that encodes as a
	// JSON object, or a [json.RawMessage], which is kept byte for byte. Without a
	// "stream" of its own it is sent with "stream": false.
	Request  any
	Endpoint string   // "": /api/chat
	Webhook  *Webhook // nil: the service's default, if it has one
	Artifact string   // "auto" (as is ""), "inline", "fetch"
	Metadata map[string]string

	ExpiresIn time.Duration // fail if not started by then; 0: never
	Timeout   time.Duration // cut off a longer run; 0: never

	// IdempotencyKey: the same one with the same submission is the same job, also
	// in a later call. "": one is made for this call.
	IdempotencyKey string
}

func (s *Submission) body() ([]byte, error) {
	if s.Request == nil {
		return nil, errors.New("foreman: Submission.Request is missing")
	}
	request, err := encode(s.Request)
	if err != nil {
		return nil, err
	}
	terms, err := encode(struct {
		Endpoint  string            `json:"endpoint,omitempty"`
		Webhook   *Webhook          `json:"webhook,omitempty"`
		Artifact  string            `json:"artifact,omitempty"`
		Metadata  map[string]string `json:"metadata,omitempty"`
		ExpiresIn string            `json:"expires_in,omitempty"`
		Timeout   string            `json:"timeout,omitempty"`
	}{s.Endpoint, s.Webhook, s.Artifact, s.Metadata, span(s.ExpiresIn), span(s.Timeout)})
	if err != nil {
		return nil, err
	}
	// put together by hand: encoding/json would write the request anew
	body := append([]byte(`{"request":`), request...)
	if len(terms) > len("{}") {
		body = append(body, ',')
	}
	return append(body, terms[1:]...), nil
}

// encode leaves raw JSON as it is, and <, > and & in texts.
func encode(v any) ([]byte, error) {
	if raw, ok := v.(json.RawMessage); ok {
		if !json.Valid(raw) {
			return nil, errors.New("foreman: Submission.Request is no JSON")
		}
		return raw, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("foreman: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// span is a duration as the service reads it, in whole milliseconds, none lost.
func span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	ms := (d + time.Millisecond - 1) / time.Millisecond
	return strconv.FormatInt(int64(ms), 10) + "ms"
}

// Submit returns when the job is on the service's disk.
func (c *Client) Submit(ctx context.Context, s Submission) (*Job, error) {
	body, err := s.body()
	if err != nil {
		return nil, err
	}
	if s.IdempotencyKey == "" {
		s.IdempotencyKey = rand.Text()
	}
	return c.ask(ctx, &call{
		method: http.MethodPost,
		path:   "/jobs",
		body:   body,
		header: http.Header{
			"Content-Type":    {"application/json"},
			"Idempotency-Key": {s.IdempotencyKey},
		},
		within: answerTime,
	})
}

// Get returns the job as it is.
func (c *Client) Get(ctx context.Context, id string) (*Job, error) {
	return c.ask(ctx, get(jobPath(id, "")))
}

const longPoll = 30 * time.Second // the service allows 60 s

// Wait returns the job when it has ended, done or failed; both are no error, see
// [Job.Err]. Restarts of the service meanwhile cost time only.
func (c *Client) Wait(ctx context.Context, id string) (*Job, error) {
	path := jobPath(id, fmt.Sprintf("?wait=%d", int(longPoll.Seconds())))
	seq, pause := int64(0), firstPause
	for {
		asked := time.Now()
		r := get(path)
		r.within += longPoll
		job, err := c.ask(ctx, r)
		if err != nil || job.Terminal {
			return job, err
		}
		// a service that stops, or has too many who wait, answers at once
		if job.Seq != seq || time.Since(asked) > longPoll/2 {
			seq, pause = job.Seq, firstPause
			continue
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		pause = min(2*pause, lastPause)
	}
}

// Cancel ends the job; one that has ended stays as it is.
func (c *Client) Cancel(ctx context.Context, id string) (*Job, error) {
	return c.ask(ctx, &call{
		method: http.MethodPost,
		path:   jobPath(id, "/cancel"),
		within: answerTime,
	})
}

// Remove cancels the job if need be, and removes all of it.
func (c *Client) Remove(ctx context.Context, id string) error {
	r := &call{
		method: http.MethodDelete,
		path:   jobPath(id, ""),
		within: answerTime,
	}
	_, _, err := c.read(ctx, r)
	if r.tries > 1 && errors.Is(err, ErrGone) {
		return nil // an earlier try did it, and its answer was lost
	}
	return err
}

// Filter says which jobs a list is of.
type Filter struct {
	State State  // "": any
	Model string // any spelling that means the same; "": any
	Page  int    // so many a call, 1 to 200; 0: 50
}

// List yields jobs, the newest first, page by page as they are wanted, with what is
// known of their artifacts but without the bytes. An error ends it.
func (c *Client) List(ctx context.Context, f Filter) iter.Seq2[*Job, error] {
	return func(yield func(*Job, error) bool) {
		for before, more := "", true; more; more = before != "" {
			page, err := c.page(ctx, f, before)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, text := range page.Jobs {
				job, err := readJob(text)
				if !yield(job, err) || err != nil {
					return
				}
			}
			before = page.Next
		}
	}
}

type page struct {
	Jobs []json.RawMessage `json:"jobs"`
	Next string            `json:"next"`
}

func (c *Client) page(ctx context.Context, f Filter, before string) (*page, error) {
	query := url.Values{}
	for name, value := range map[string]string{
		"state": string(f.State), "model": f.Model, "before": before,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if f.Page != 0 {
		query.Set("limit", strconv.Itoa(f.Page))
	}
	text, _, err := c.read(ctx, get("/jobs?"+query.Encode()))
	if err != nil {
		return nil, err
	}
	p := new(page)
	if json.Unmarshal(text, p) != nil || p.Jobs == nil {
		return nil, errNoForeman
	}
	return p, nil
}
