// Package foreman submits jobs to an Ollama behind foreman, and follows them.
//
//	c := foreman.New("http://localhost:8080", "")
//	text, err := c.Chat(ctx, "qwen3:8b", foreman.User("Why is the sky blue?"))
//
// [Client.Chat], [Client.ChatStream] and [Client.Run] do all of it in one call and
// cancel the job when nobody waits for it any more. [Client.Submit] and the methods
// beside it do one thing each, and leave the job alone.
//
// A call blocks until it is answered or its context is done. While the service
// cannot be reached, or has no room, it goes on trying for [Client.Patience], and not
// before the time that the service names. That is safe, because every call of this
// package may be repeated: a submission carries an idempotency key, and so makes one
// job however often it is sent.
//
// An error is an [*Error] for what the service said, a [*JobError] for a job that
// failed, or one of the network's or the context's; [errors.Is] finds [ErrNotFound],
// [ErrGone], [ErrUnauthorized], [ErrBusy], [ErrUnreachable] and [ErrInterrupted].
package foreman

import (
	"net"
	"net/http"
	"os"
	"time"
)

// DefaultURL is where the service is when nothing says otherwise.
const DefaultURL = "http://localhost:8080"

// DefaultPatience is how long a call goes on trying to reach the service.
const DefaultPatience = 30 * time.Second

// Client is a handle on one service. Any number of goroutines may use it at once;
// its fields are not to be changed once it is used.
type Client struct {
	// BaseURL is the service's http or https URL; a path prefix is allowed.
	BaseURL string
	// Token goes with every request as a bearer token; "" sends none.
	Token string
	// HTTP carries the requests. It should have no Timeout, which would cut streams;
	// redirects are never followed. nil: one that all clients without their own
	// share, which connects within 10 s and uses no proxy.
	HTTP *http.Client
	// Patience is how long a call goes on trying while the service cannot be
	// reached or has no room; 0: not at all.
	Patience time.Duration
}

var defaultHTTP = &http.Client{
	CheckRedirect: stay,
	Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     30 * time.Second, // before the service's 2 minutes
		TLSHandshakeTimeout: 10 * time.Second,
	},
}

// New returns a client of the service at baseURL; "" means FOREMAN_URL of the
// environment, or [DefaultURL]. An empty token means FOREMAN_API_TOKEN, or none.
// Nothing is sent yet: a URL or token that is none is the first call's error.
func New(baseURL, token string) *Client {
	if baseURL == "" {
		baseURL = os.Getenv("FOREMAN_URL")
	}
	if baseURL == "" {
		baseURL = DefaultURL
	}
	if token == "" {
		token = os.Getenv("FOREMAN_API_TOKEN")
	}
	return &Client{BaseURL: baseURL, Token: token, Patience: DefaultPatience}
}

// String leaves the token out, which else the first log that prints a client had.
func (c Client) String() string {
	u, err := c.base()
	if err != nil {
		return "foreman: no service"
	}
	return "foreman at " + u.Redacted()
}

// GoString is [Client.String], for %#v.
func (c Client) GoString() string { return c.String() }
