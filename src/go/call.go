package foreman

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	firstPause = 200 * time.Millisecond // between tries: 0.2 s, 0.4 s, ...
	lastPause  = 5 * time.Second
	answerTime = time.Minute // for an answer that is short, beyond what it waits for
	maxAnswer  = 160 << 20   // a response of 64 MiB inside a job, escaped
)

// call is one request of the service; it may be sent several times.
type call struct {
	method string
	path   string
	body   []byte
	header http.Header
	within time.Duration // answered and read; 0: as long as it takes

	tries int // made so far
}

// get is the call for something short.
func get(path string) *call {
	return &call{method: http.MethodGet, path: path, within: answerTime}
}

// jobPath is the path of a job, whatever stands in id.
func jobPath(id, behind string) string {
	return "/jobs/" + url.PathEscape(id) + behind
}

// stay follows no redirect: it is an answer like others that are no success.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (c *Client) client() *http.Client {
	if c.HTTP == nil {
		return defaultHTTP
	}
	own := *c.HTTP
	own.CheckRedirect = stay
	return &own
}

// base is the service's URL. What is said of a wrong one does not repeat it: there
// may be a password in it.
func (c *Client) base() (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(c.BaseURL, "/"))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" ||
		u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("foreman: BaseURL is no http or https URL")
	}
	return u, nil
}

func (c *Client) request(ctx context.Context, r *call) (*http.Request, error) {
	base, err := c.base()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, r.method, base.String()+r.path,
		bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("foreman: %w", err)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", "foreman-go")
	if c.Token != "" {
		// nothing may end the header's line early
		if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, errors.New("foreman: Token has characters that no token has")
		}
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	return req, nil
}

// once makes one attempt. take is given a good answer, and closes its body if it
// keeps it; what it returns is the attempt's error.
func (c *Client) once(ctx context.Context, r *call,
	take func(*http.Response) error) error {
	patient := ctx
	if r.within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.within)
		defer cancel()
	}
	req, err := c.request(ctx, r)
	if err != nil {
		return err
	}
	res, err := c.client().Do(req)
	if err == nil && res.StatusCode >= 200 && res.StatusCode < 300 {
		err = take(res)
	} else if err == nil {
		defer res.Body.Close()
		return refusal(res)
	} else {
		err = network(err)
	}
	if err != nil && patient.Err() != nil {
		return ended(patient)
	}
	return err
}

// network is an error of the connection, which a second attempt may not have.
func network(err error) error {
	var stranger *tls.CertificateVerificationError
	if errors.As(err, &stranger) {
		return fmt.Errorf("foreman: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

func ended(ctx context.Context) error { return fmt.Errorf("foreman: %w", ctx.Err()) }

// do makes the call until it is answered or the patience is over.
func (c *Client) do(ctx context.Context, r *call,
	take func(*http.Response) error) error {
	end := time.Now().Add(c.Patience)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		r.tries++
		err := c.once(ctx, r, take)
		if !errors.Is(err, ErrBusy) && !errors.Is(err, ErrUnreachable) {
			return err
		}
		wait := pause + rand.N(pause/4) // not all at the same time
		var said *Error
		if errors.As(err, &said) {
			wait = max(wait, said.RetryAfter)
		}
		if time.Now().Add(wait).After(end) {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

// open is do for an answer that is read as it comes; the body is the caller's.
func (c *Client) open(ctx context.Context, r *call) (*http.Response, error) {
	var opened *http.Response
	err := c.do(ctx, r, func(res *http.Response) error {
		opened = res
		return nil
	})
	return opened, err
}

// read is do for an answer that is read whole.
func (c *Client) read(ctx context.Context, r *call) (text []byte, head http.Header,
	err error) {
	err = c.do(ctx, r, func(res *http.Response) error {
		defer res.Body.Close()
		var err error
		head = res.Header
		text, err = whole(res.Body)
		return err
	})
	return text, head, err
}

// whole reads all there is, within bounds.
func whole(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err != nil {
		return nil, network(err)
	}
	if len(text) > maxAnswer {
		return nil, ErrTooLarge
	}
	return text, nil
}

// ask is do for an answer that is a job.
func (c *Client) ask(ctx context.Context, r *call) (*Job, error) {
	text, head, err := c.read(ctx, r)
	if err != nil {
		return nil, err
	}
	job, err := readJob(text)
	if err != nil {
		return nil, err
	}
	job.Replayed = head.Get("Idempotency-Replayed") == "true"
	return job, nil
}

var errNoForeman = errors.New("foreman: what answers there is no foreman")

func readJob(text []byte) (*Job, error) {
	job := new(Job)
	if json.Unmarshal(text, job) != nil || job.ID == "" {
		return nil, errNoForeman
	}
	job.Raw = text
	return job, nil
}
