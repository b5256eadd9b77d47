package foreman

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// The names under which a job leaves something.
const (
	Response = "response" // the target's answer, byte for byte
	Content  = "content"  // the assistant's text, of chats and generations
)

// Artifact is what is known of something a job left.
type Artifact struct {
	Name        string `json:"name"`
	ContentType string `json:"content_type"`
	Bytes       int64  `json:"bytes"`
	SHA256      string `json:"sha256"`
	// Complete is false of what a failed run left.
	Complete bool `json:"complete"`
	// Inline holds small ones: JSON as it is, other text as a JSON string. nil:
	// it is fetched by [Client.Open].
	Inline json.RawMessage `json:"inline"`
}

// UnmarshalJSON knows that only what was cut says whether it is complete.
func (a *Artifact) UnmarshalJSON(text []byte) error {
	type plain Artifact
	p := plain{Complete: true}
	err := json.Unmarshal(text, &p)
	if string(p.Inline) == "null" {
		p.Inline = nil
	}
	*a = Artifact(p)
	return err
}

// Body is an artifact's bytes, to be read and closed.
type Body struct {
	io.ReadCloser
	ContentType string
	Bytes       int64  // all of them; -1: not told
	SHA256      string // "": not told
}

// Open opens what a job left, [Response] or [Content], to be read as it comes. A
// connection that breaks is an error of Read. The caller closes it.
func (c *Client) Open(ctx context.Context, id, name string) (*Body, error) {
	res, err := c.open(ctx, &call{
		method: http.MethodGet,
		path:   jobPath(id, "/artifacts/"+url.PathEscape(name)),
	})
	if err != nil {
		return nil, err
	}
	return &Body{
		ReadCloser:  res.Body,
		ContentType: res.Header.Get("Content-Type"),
		Bytes:       res.ContentLength,
		SHA256:      strings.Trim(res.Header.Get("ETag"), `"`),
	}, nil
}

// Fetch is [Client.Open] for what fits into memory: at most 160 MiB, else
// [ErrTooLarge]. A connection that breaks is tried again.
func (c *Client) Fetch(ctx context.Context, id, name string) ([]byte, error) {
	text, _, err := c.read(ctx, &call{
		method: http.MethodGet,
		path:   jobPath(id, "/artifacts/"+url.PathEscape(name)),
	})
	return text, err
}

// Decode reads the job's response as JSON into v, from inside the job if it is
// there. It is an error if the job has none, or one that is not JSON, such as a
// stream of lines.
func (c *Client) Decode(ctx context.Context, job *Job, v any) error {
	text, err := c.bytes(ctx, job, Response)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("foreman: the response of job %s: %w", job.ID, err)
	}
	return nil
}

// Text is the assistant's text that the job left, from inside the job if it is
// there; "" if it left none.
func (c *Client) Text(ctx context.Context, job *Job) (string, error) {
	a := job.Artifact(Content)
	if a == nil {
		return "", nil
	}
	var text string
	if a.Inline != nil && json.Unmarshal(a.Inline, &text) == nil {
		return text, nil
	}
	bytes, err := c.Fetch(ctx, job.ID, Content)
	return string(bytes), err
}

func (c *Client) bytes(ctx context.Context, job *Job, name string) ([]byte, error) {
	if a := job.Artifact(name); a != nil && len(a.Inline) > 0 && a.Inline[0] != '"' {
		return a.Inline, nil
	}
	return c.Fetch(ctx, job.ID, name)
}
