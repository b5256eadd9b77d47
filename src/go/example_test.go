package foreman_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"foreman"
)

// FOREMAN_URL and FOREMAN_API_TOKEN say where the service is.
var ctx = context.Background()

// The target answers "echo ..." with the rest of it.
func Example() {
	c := foreman.New("", "")
	text, err := c.Chat(ctx, "qwen3:8b", foreman.User("echo because of Rayleigh"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
	// Output: because of Rayleigh
}

func ExampleClient_ChatStream() {
	c := foreman.New("", "")
	for piece, err := range c.ChatStream(ctx, "qwen3:8b",
		foreman.System("Repeat what you hear."),
		foreman.User("echo one two three")) {
		if err != nil {
			log.Fatal(err)
		}
		if piece.Restart {
			fmt.Print("\n(once more) ")
		}
		fmt.Print(piece.Text)
	}
	// Output: one two three
}

func ExampleClient_Submit() {
	c := foreman.New("", "")
	job, err := c.Submit(ctx, foreman.Submission{
		Request: map[string]any{
			"model":    "qwen3:8b",
			"messages": []foreman.Message{foreman.User("echo later is fine")},
			"options":  map[string]any{"temperature": 0},
		},
		ExpiresIn:      2 * time.Hour,
		Metadata:       map[string]string{"ticket": "4711"},
		IdempotencyKey: "ticket-4711",
	})
	if err != nil {
		log.Fatal(err)
	}
	// ... later, perhaps elsewhere, with nothing but job.ID
	if job, err = c.Wait(ctx, job.ID); err != nil {
		log.Fatal(err)
	}
	text, err := c.Text(ctx, job)
	fmt.Println(job.State, job.Metadata["ticket"], text, err)
	// Output: done 4711 later is fine <nil>
}

func ExampleClient_Run() {
	c := foreman.New("", "")
	job, err := c.Run(ctx, foreman.Submission{
		Endpoint: "/api/embed",
		Request:  map[string]any{"model": "nomic-embed-text", "input": []string{"a", "b"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	var answer struct{ Embeddings [][]float64 }
	if err := c.Decode(ctx, job, &answer); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(answer.Embeddings))
	// Output: 2
}

func ExampleJobError() {
	c := foreman.New("", "")
	_, err := c.Chat(ctx, "no-such-model", foreman.User("Hello"))
	var failed *foreman.JobError
	if errors.As(err, &failed) {
		fmt.Println(failed.Reason)
	}
	// Output: model_not_found
}

func ExampleClient_Events() {
	c := foreman.New("", "")
	job, err := c.Submit(ctx, foreman.Submission{Request: map[string]any{
		"model": "qwen3:8b", "messages": []foreman.Message{foreman.User("echo hi")},
	}})
	if err != nil {
		log.Fatal(err)
	}
	for event, err := range c.Events(ctx, job.ID, 0) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Seq, event.State)
	}
	// Output:
	// 1 queued
	// 2 loading
	// 3 working
	// 4 done
}

func ExampleClient_List() {
	c := foreman.New("", "")
	for job, err := range c.List(ctx, foreman.Filter{State: foreman.Done}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(job.State) // the newest; the next page is not asked for
		break
	}
	// Output: done
}

// The delivery that the specification of Standard Webhooks gives.
func ExampleVerifyWebhook() {
	header := http.Header{}
	header.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	header.Set("webhook-timestamp", "1614265330")
	header.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	body := []byte(`{"test": 2432232314}`)
	secrets := []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}

	delivery, err := foreman.VerifyWebhook(secrets, header, body, time.Unix(1614265330, 0))
	fmt.Println(delivery.ID, err)
	_, err = foreman.VerifyWebhook(secrets, header, body, time.Now())
	fmt.Println(err)
	// Output:
	// msg_p5jXN8AQM9LWM0D4loKWxJek <nil>
	// foreman: the webhook's time is too far from now
}
