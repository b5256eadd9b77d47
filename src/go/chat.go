package foreman

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"time"
)

// Message is one of a chat.
type Message struct {
	Role    string   `json:"role"` // system, user, assistant
	Content string   `json:"content"`
	Images  [][]byte `json:"images,omitempty"` // whole files, for models that see
}

// User is a message of the user's.
func User(text string) Message { return Message{Role: "user", Content: text} }

// System is a message that says how to answer.
func System(text string) Message { return Message{Role: "system", Content: text} }

// Assistant is a message of the model's, from an earlier turn.
func Assistant(text string) Message { return Message{Role: "assistant", Content: text} }

func chat(model string, messages []Message, stream bool) Submission {
	return Submission{Request: struct {
		Model    string    `json:"model"`
		Messages []Message `json:"messages"`
		Stream   bool      `json:"stream"`
	}{model, messages, stream}}
}

// Run submits the job and waits for its end. With a [*JobError] comes the job that
// failed. When ctx is done, or the service is lost, the job is canceled, as far as
// that can be said within a few seconds.
func (c *Client) Run(ctx context.Context, s Submission) (*Job, error) {
	job, err := c.begin(ctx, s)
	if err != nil {
		return nil, err
	}
	end, err := c.Wait(ctx, job.ID)
	if err != nil {
		c.abandon(ctx, job.ID)
		return nil, err
	}
	return end, end.Err()
}

// Chat sends the messages, waits for its turn, and returns the assistant's text. It
// is a [Client.Run]; for more than messages, say options or tools, use that.
func (c *Client) Chat(ctx context.Context, model string, messages ...Message) (string, error) {
	job, err := c.Run(ctx, chat(model, messages, false))
	if err != nil {
		return "", err
	}
	return c.Text(ctx, job)
}

// Piece is a part of a text that is being written.
type Piece struct {
	Text string
	// Restart: the run was interrupted, and what it says now is not what it said
	// before. Text is the whole so far; forget the pieces before it.
	Restart bool
}

// ChatStream is [Client.Chat] with the text as it is written. All pieces together,
// from the last that has Restart on, are the whole text when the loop ends without
// an error. Whatever happens to connections and service meanwhile, no piece comes
// twice. To leave the loop is to cancel the job.
func (c *Client) ChatStream(ctx context.Context, model string,
	messages ...Message) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		job, err := c.begin(ctx, chat(model, messages, true))
		if err != nil {
			yield(Piece{}, err)
			return
		}
		over := false
		defer func() {
			if !over {
				c.abandon(ctx, job.ID)
			}
		}()
		over = c.show(ctx, job.ID, yield)
	}
}

// show hands pieces over to the end; true: the job has ended.
func (c *Client) show(ctx context.Context, id string, yield func(Piece, error) bool) bool {
	var s shown
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		before := len(s.text)
		res, err := c.openStream(ctx, id)
		if err != nil {
			yield(Piece{}, err)
			return errors.Is(err, ErrGone)
		}
		more, err := s.read(chunks(ctx, id, res), yield)
		if !more {
			return false
		}
		if err == nil {
			if piece, ok := s.end(); ok {
				yield(piece, nil)
			}
			return true
		}
		if !errors.Is(err, ErrInterrupted) && !errors.Is(err, ErrUnreachable) {
			yield(Piece{}, err)
			var failed *JobError
			return errors.As(err, &failed)
		}
		if len(s.text) > before {
			pause = firstPause
		}
		if err := sleep(ctx, pause); err != nil {
			yield(Piece{}, err)
			return false
		}
	}
}

// shown is the text that the caller has. A stream that is opened again begins at
// the beginning; at is how far it has come in saying the same.
type shown struct {
	text []byte
	at   int
}

// read takes one stream's chunks; false: the caller has left. Only the line that says
// so is the end.
func (s *shown) read(chunks iter.Seq2[[]byte, error],
	yield func(Piece, error) bool) (bool, error) {
	done := false
	s.at = 0
	for chunk, err := range chunks {
		if err != nil {
			return true, err
		}
		var part struct {
			Message Message
			Done    bool
		}
		if json.Unmarshal(chunk, &part) != nil {
			continue
		}
		done = done || part.Done
		if piece, ok := s.add(part.Message.Content); ok && !yield(piece, nil) {
			return false, nil
		}
	}
	if !done {
		return true, network(io.ErrUnexpectedEOF)
	}
	return true, nil
}

// add gives what of the text is new, if something is.
func (s *shown) add(text string) (Piece, bool) {
	known := s.text[s.at:]
	n := min(len(known), len(text))
	restart := string(known[:n]) != text[:n]
	if restart {
		n = 0
		s.text = s.text[:s.at]
	}
	s.at += len(text)
	s.text = append(s.text, text[n:]...)
	if restart {
		return Piece{Text: string(s.text), Restart: true}, true
	}
	return Piece{Text: text[n:]}, n < len(text)
}

// end gives the whole text anew if the last run said less than was shown.
func (s *shown) end() (Piece, bool) {
	if s.at == len(s.text) {
		return Piece{}, false
	}
	s.text = s.text[:s.at]
	return Piece{Text: string(s.text), Restart: true}, true
}

// abandonTime is what canceling a job may take that nobody waits for.
const abandonTime = 5 * time.Second

// begin submits. Should ctx be done meanwhile, the job may be there without our
// knowing: the same key finds it, or makes it, and it is canceled.
func (c *Client) begin(ctx context.Context, s Submission) (*Job, error) {
	if ctx.Err() != nil {
		return nil, ended(ctx)
	}
	if s.IdempotencyKey == "" {
		s.IdempotencyKey = rand.Text()
	}
	job, err := c.Submit(ctx, s)
	if err != nil && ctx.Err() != nil {
		c.detached(ctx, func(ctx context.Context, c *Client) {
			if job, err := c.Submit(ctx, s); err == nil {
				_, _ = c.Cancel(ctx, job.ID)
			}
		})
	}
	return job, err
}

// abandon cancels a job that nobody waits for any more.
func (c *Client) abandon(ctx context.Context, id string) {
	c.detached(ctx, func(ctx context.Context, c *Client) {
		_, _ = c.Cancel(ctx, id)
	})
}

// detached does what has to be done though ctx is over: soon, or not at all.
func (c *Client) detached(ctx context.Context, do func(context.Context, *Client)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTime)
	defer cancel()
	hasty := *c
	hasty.Patience = min(c.Patience, abandonTime/2)
	do(ctx, &hasty)
}
