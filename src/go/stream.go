package foreman

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"strconv"
	"time"
)

const (
	maxChunk = 64<<20 + 64<<10 // FOREMAN_MAX_RESPONSE's default, and a frame
	maxMove  = 1 << 20
)

// Stream yields what the target has answered to the job so far, then what it
// answers, to the end: of NDJSON a line each, of server-sent events (where the
// request asks the target for them) the data of each. A chunk is valid until the
// next. It waits for a job that has not started. To leave the loop is to leave the
// stream, not to cancel the job.
//
// An error ends it: the [*JobError] of a job that failed, [ErrInterrupted],
// [ErrUnreachable] when the connection broke. After the latter two the stream may be
// opened again, from its beginning.
func (c *Client) Stream(ctx context.Context, id string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		res, err := c.openStream(ctx, id)
		if err != nil {
			yield(nil, err)
			return
		}
		for chunk, err := range chunks(ctx, id, res) {
			if !yield(chunk, err) {
				return
			}
		}
	}
}

func (c *Client) openStream(ctx context.Context, id string) (*http.Response, error) {
	return c.open(ctx, &call{method: http.MethodGet, path: jobPath(id, "/stream")})
}

// chunks yields what an open stream says, and closes it.
func chunks(ctx context.Context, id string, res *http.Response) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		defer res.Body.Close()
		said := lines
		media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
		if media == "text/event-stream" {
			said = payloads
		}
		for chunk, err := range said(res.Body) {
			if err != nil && ctx.Err() != nil {
				err = ended(ctx)
			} else if err == nil {
				err = lastWords(id, chunk)
			}
			if err != nil {
				chunk = nil
			}
			if !yield(chunk, err) || err != nil {
				return
			}
		}
	}
}

func scanner(body io.Reader, limit int) *bufio.Scanner {
	s := bufio.NewScanner(body)
	s.Buffer(nil, limit)
	return s
}

// failure is why the scanner ended too early.
func failure(s *bufio.Scanner) error {
	switch err := s.Err(); err {
	case nil:
		return nil
	case bufio.ErrTooLong:
		return ErrTooLarge
	default:
		return network(err)
	}
}

// lines skips blanks, which keep the connection alive.
func lines(body io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		s := scanner(body, maxChunk)
		for s.Scan() {
			line := bytes.TrimSpace(s.Bytes())
			if len(line) > 0 && !yield(line, nil) {
				return
			}
		}
		if err := failure(s); err != nil {
			yield(nil, err)
		}
	}
}

func payloads(body io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for e, err := range events(body, maxChunk) {
			if !yield(e.data, err) {
				return
			}
		}
	}
}

// event is one of server-sent events.
type event struct {
	name string
	data []byte // valid until the next
}

// events reads server-sent events; one that is cut is dropped, as it should be.
func events(body io.Reader, limit int) iter.Seq2[event, error] {
	return func(yield func(event, error) bool) {
		var e event
		s := scanner(body, limit)
		for s.Scan() {
			name, value, _ := bytes.Cut(s.Bytes(), []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch {
			case len(s.Bytes()) == 0:
				if len(e.data) > 0 && !yield(e, nil) {
					return
				}
				e = event{data: e.data[:0]}
			case string(name) == "event":
				e.name = string(value)
			case string(name) == "data":
				if len(e.data)+len(value) > limit {
					yield(event{}, ErrTooLarge)
					return
				}
				if len(e.data) > 0 {
					e.data = append(e.data, '\n')
				}
				e.data = append(e.data, value...)
			}
		}
		if err := failure(s); err != nil {
			yield(event{}, err)
		}
	}
}

// lastWords reads a chunk that foreman itself put at the end of a stream: exactly
// {"error":"...","reason":"..."}, or in the form of OpenAI's errors with the reason
// for its code. What the target says has neither.
func lastWords(id string, chunk []byte) error {
	if !bytes.HasPrefix(chunk, []byte(`{"error":`)) {
		return nil
	}
	var line struct {
		Error  string
		Reason Reason
	}
	var data struct {
		Error struct {
			Message string
			Code    Reason
		}
	}
	if json.Unmarshal(chunk, &line) != nil {
		if json.Unmarshal(chunk, &data) != nil || !ours(data.Error.Code) {
			return nil
		}
		line.Error, line.Reason = data.Error.Message, data.Error.Code
	}
	switch line.Reason {
	case "":
		return nil
	case reasonInterrupted:
		return fmt.Errorf("%w: job %s", ErrInterrupted, id)
	}
	return &JobError{ID: id, Reason: line.Reason, Detail: line.Error}
}

// ours tells foreman's codes from the target's.
func ours(r Reason) bool {
	switch r {
	case ReasonCanceled, ReasonExpired, ReasonTimeout, ReasonModelNotFound,
		ReasonInvalidRequest, ReasonUpstreamError, ReasonUpstreamIncomplete,
		ReasonResponseTooLarge, ReasonAttemptsExhausted, ReasonWorkerRestarted,
		ReasonInternal, reasonRemoved, reasonInterrupted:
		return true
	}
	return false
}

// Event is one move of a job.
type Event struct {
	Seq      int64     `json:"seq"` // 1, 2, 3 ... within the job
	State    State     `json:"state"`
	Reason   Reason    `json:"reason"` // why it failed, or went back to the line
	At       time.Time `json:"at"`
	Terminal bool      `json:"terminal"` // the last one
}

// Events yields the job's moves after the one with this number (0: all of them), as
// they are made, to the last. A connection that breaks is opened again where it was.
// An error ends it: [ErrGone] when the job is removed meanwhile.
func (c *Client) Events(ctx context.Context, id string, after int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for pause := firstPause; ; pause = min(2*pause, lastPause) {
			seen := after
			res, err := c.openEvents(ctx, id, after)
			if err != nil {
				yield(Event{}, err)
				return
			}
			if res.StatusCode == http.StatusNoContent { // after was the last
				res.Body.Close()
				return
			}
			if told(res, &after, yield) {
				return
			}
			if after > seen {
				pause = firstPause
			}
			if err := sleep(ctx, pause); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

func (c *Client) openEvents(ctx context.Context, id string,
	after int64) (*http.Response, error) {
	r := &call{method: http.MethodGet, path: jobPath(id, "/events")}
	if after > 0 {
		r.header = http.Header{"Last-Event-Id": {strconv.FormatInt(after, 10)}}
	}
	return c.open(ctx, r)
}

// told hands over what one connection tells; true: that was all.
func told(res *http.Response, after *int64, yield func(Event, error) bool) bool {
	defer res.Body.Close()
	for e, err := range events(res.Body, maxMove) {
		if err != nil {
			return false
		}
		if e.name == "job.removed" {
			yield(Event{}, ErrGone)
			return true
		}
		var move Event
		if json.Unmarshal(e.data, &move) != nil {
			yield(Event{}, errNoForeman)
			return true
		}
		*after = move.Seq
		if !yield(move, nil) || move.Terminal {
			return true
		}
	}
	return false
}
