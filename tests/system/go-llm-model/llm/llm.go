// Package llm is a small model of go-llm, to compile and run deploy/go-llm against:
// only what docs/go-llm.md assumes of it, no more.
package llm

import (
	"context"
	"iter"
	"net/http"
)

// Message is one of a conversation.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// UserMessage is what the user says.
func UserMessage(text string) Message { return Message{Role: "user", Content: text} }

// provider is one API.
type provider interface {
	complete(ctx context.Context, model string, messages []Message) (string, error)
	stream(ctx context.Context, model string, messages []Message) iter.Seq2[string, error]
}

// Client is a provider with what its constructor was told.
type Client struct{ provider provider }

type config struct {
	baseURL string
	apiKey  string
	http    *http.Client
}

// ClientOption changes what a constructor would do by itself.
type ClientOption func(*config)

// WithBaseURL names another server.
func WithBaseURL(url string) ClientOption { return func(c *config) { c.baseURL = url } }

// WithHTTPClient makes the requests with a client of the caller's.
func WithHTTPClient(h *http.Client) ClientOption { return func(c *config) { c.http = h } }

// Model is one of the client's.
func (c *Client) Model(name string) *Model { return &Model{c, name} }

// Model is what a conversation is had with.
type Model struct {
	client *Client
	name   string
}

// Complete gives the whole answer.
func (m *Model) Complete(ctx context.Context, messages ...Message) (string, error) {
	return m.client.provider.complete(ctx, m.name, messages)
}

// Stream gives the answer piece by piece.
func (m *Model) Stream(ctx context.Context, messages ...Message) iter.Seq2[string, error] {
	return m.client.provider.stream(ctx, m.name, messages)
}
