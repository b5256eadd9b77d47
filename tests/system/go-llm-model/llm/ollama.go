package llm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
)

// Ollama is a client of a local Ollama, without a key.
func Ollama(opts ...ClientOption) *Client {
	return newOllama(config{baseURL: "http://localhost:11434"}, opts)
}

// OllamaCloud is a client of Ollama's own service, with a key.
func OllamaCloud(apiKey string, opts ...ClientOption) *Client {
	return newOllama(config{baseURL: "https://ollama.com", apiKey: apiKey}, opts)
}

func newOllama(c config, opts []ClientOption) *Client {
	c.http = http.DefaultClient
	for _, opt := range opts {
		opt(&c)
	}
	c.baseURL = strings.TrimRight(c.baseURL, "/")
	return &Client{provider: &ollama{c}}
}

// ollama speaks the native API.
type ollama struct{ config }

type part struct {
	Message Message
	Done    bool
	Error   string
}

func (o *ollama) post(ctx context.Context, model string, messages []Message,
	stream bool) (io.ReadCloser, error) {
	body, err := json.Marshal(map[string]any{
		"model": model, "messages": messages, "stream": stream,
	})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.baseURL+"/api/chat",
		bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if o.apiKey != "" {
		req.Header.Set("Authorization", "Bearer "+o.apiKey)
	}
	res, err := o.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		var p part
		_ = json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&p)
		return nil, fmt.Errorf("ollama: %s: %s", res.Status, p.Error)
	}
	return res.Body, nil
}

func (o *ollama) complete(ctx context.Context, model string,
	messages []Message) (string, error) {
	body, err := o.post(ctx, model, messages, false)
	if err != nil {
		return "", err
	}
	defer body.Close()
	var p part
	if err := json.NewDecoder(body).Decode(&p); err != nil {
		return "", err
	}
	if p.Error != "" {
		return "", errors.New("ollama: " + p.Error)
	}
	return p.Message.Content, nil
}

func (o *ollama) stream(ctx context.Context, model string,
	messages []Message) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		body, err := o.post(ctx, model, messages, true)
		if err != nil {
			yield("", err)
			return
		}
		defer body.Close()
		for lines := json.NewDecoder(body); ; {
			var p part
			if err := lines.Decode(&p); err != nil {
				yield("", err) // also io.EOF: no line said that it is done
				return
			}
			if p.Error != "" {
				yield("", errors.New("ollama: "+p.Error))
				return
			}
			if p.Message.Content != "" && !yield(p.Message.Content, nil) || p.Done {
				return
			}
		}
	}
}
