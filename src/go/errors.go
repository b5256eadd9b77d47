package foreman

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// What [errors.Is] finds in the errors of this package.
var (
	// ErrNotFound: there is no such job or artifact.
	ErrNotFound = errors.New("foreman: no such job or artifact")
	// ErrGone: the job was there, and has been removed.
	ErrGone = errors.New("foreman: the job has been removed")
	// ErrUnauthorized: the token is missing or wrong.
	ErrUnauthorized = errors.New("foreman: the token is missing or wrong")
	// ErrBusy: too much is queued, or there is no room; later it may work.
	ErrBusy = errors.New("foreman: too much is queued, or there is no room")
	// ErrUnreachable: nobody answers, or not to the end, or only a proxy does.
	ErrUnreachable = errors.New("foreman: the service cannot be reached")
	// ErrInterrupted: the run that a [Client.Stream] told of was interrupted; the job
	// will run anew. Open the stream again, and forget what came.
	ErrInterrupted = errors.New("foreman: the run was interrupted")
	// ErrTooLarge: an answer is larger than this package holds in memory.
	ErrTooLarge = errors.New("foreman: the answer is too large to hold")
)

// Error is the service's refusal: a problem as of RFC 9457.
type Error struct {
	Status     int           // of HTTP
	Code       string        // stable: "invalid_request"; "" if another server spoke
	Detail     string        // for people
	Retryable  bool          // the same call may work later
	RetryAfter time.Duration // not before; 0: not told
}

func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("foreman: %s (HTTP %d)", e.Detail, e.Status)
	}
	return fmt.Sprintf("foreman: %s (%s)", e.Detail, e.Code)
}

// Is makes [errors.Is] find the errors above. That something is not there is
// believed only of foreman itself: another server has nothing of ours anyway.
func (e *Error) Is(target error) bool {
	switch e.Status {
	case http.StatusNotFound:
		return target == ErrNotFound && e.Code != ""
	case http.StatusGone:
		return target == ErrGone && e.Code != ""
	case http.StatusUnauthorized, http.StatusForbidden:
		return target == ErrUnauthorized
	case http.StatusTooManyRequests, http.StatusServiceUnavailable,
		http.StatusInsufficientStorage:
		return target == ErrBusy
	case http.StatusBadGateway, http.StatusGatewayTimeout: // a proxy's words
		return target == ErrUnreachable
	}
	return false
}

// JobError tells why a job failed.
type JobError struct {
	ID     string
	Reason Reason
	Detail string // for people; may be ""
}

func (e *JobError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("foreman: job %s failed: %s", e.ID, e.Reason)
	}
	return fmt.Sprintf("foreman: job %s failed: %s: %s", e.ID, e.Reason, e.Detail)
}

// Is makes a job that is removed while it is followed an [ErrGone].
func (e *JobError) Is(target error) bool {
	return target == ErrGone && e.Reason == reasonRemoved
}

const maxProblem = 64 << 10

// refusal reads what is said of a call that failed.
func refusal(res *http.Response) *Error {
	e := &Error{Status: res.StatusCode, Detail: http.StatusText(res.StatusCode)}
	var problem struct {
		Title, Detail, Code string
		Retryable           bool
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	if json.Unmarshal(text, &problem) == nil {
		e.Code, e.Retryable = problem.Code, problem.Retryable
		if problem.Detail != "" {
			e.Detail = problem.Detail
		} else if problem.Title != "" {
			e.Detail = problem.Title
		}
	}
	if e.Detail == "" {
		e.Detail = "refused"
	}
	e.RetryAfter = retryAfter(res.Header.Get("Retry-After"))
	return e
}

// retryAfter reads seconds, or a date.
func retryAfter(text string) time.Duration {
	if s, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
