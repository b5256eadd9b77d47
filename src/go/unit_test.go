package foreman

// What needs no service: retries on a clock of their own, and answers that the real
// one never gives.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

const doneJob = `{"id":"J","state":"done","terminal":true,"seq":4}`

func answer(status int, body string, header ...string) *http.Response {
	res := &http.Response{
		StatusCode: status,
		Header:     http.Header{},
		Body:       io.NopCloser(strings.NewReader(body)),
	}
	for i := 0; i < len(header); i += 2 {
		res.Header.Set(header[i], header[i+1])
	}
	return res
}

func problem(status int, code string, header ...string) *http.Response {
	return answer(status, `{"title":"T","detail":"D","code":"`+code+`","retryable":true}`,
		header...)
}

// script is a client whose calls get these answers, one after the other: a
// *http.Response or an error. at is when they were made, from the first on.
func script(t *testing.T, answers ...any) (c *Client, at *[]time.Duration) {
	at = new([]time.Duration)
	begin := time.Now()
	c = New("http://foreman.test/prefix/", "token")
	c.HTTP = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Authorization") != "Bearer token" ||
			!strings.HasPrefix(r.URL.Path, "/prefix/jobs") {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		*at = append(*at, time.Since(begin))
		if len(*at) > len(answers) {
			t.Errorf("call %d: %s %s", len(*at), r.Method, r.URL)
			return nil, errors.New("no more answers")
		}
		switch a := answers[len(*at)-1].(type) {
		case *http.Response:
			return a, nil
		case error:
			return nil, a
		default: // silence
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}
	})}
	return c, at
}

func TestAnAnswerIsTriedForAgain(t *testing.T) {
	again := map[string]any{
		"429":           problem(429, "too_many_jobs"),
		"502":           problem(502, "responder_unavailable"),
		"503":           problem(503, "busy"),
		"504, no words": answer(504, "<html>"),
		"507":           problem(507, "storage_full"),
		"no connection": errors.New("refused"),
		"a cut answer": &http.Response{StatusCode: 200, Body: io.NopCloser(
			iotest.ErrReader(io.ErrUnexpectedEOF))},
	}
	for name, first := range again {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, at := script(t, first, answer(200, doneJob))
				job, err := c.Get(t.Context(), "J")
				if err != nil || job.ID != "J" || len(*at) != 2 {
					t.Error(job, err, *at)
				}
				if pause := (*at)[1]; pause < firstPause || pause > 2*firstPause {
					t.Errorf("after %v", pause)
				}
			})
		})
	}
}

func TestOtherAnswersAreFinal(t *testing.T) {
	for _, status := range []int{301, 307, 400, 401, 403, 404, 410, 413, 422, 500} {
		synctest.Test(t, func(t *testing.T) {
			c, at := script(t, problem(status, "x", "Location", "http://other.test/"))
			_, err := c.Submit(t.Context(), Submission{Request: struct{}{}})
			var said *Error
			if !errors.As(err, &said) || said.Status != status || said.Code != "x" ||
				said.Detail != "D" || !said.Retryable || len(*at) != 1 {
				t.Error(status, err, *at)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		c, at := script(t, &tlsError)
		if _, err := c.Get(t.Context(), "J"); err == nil || len(*at) != 1 ||
			errors.Is(err, ErrUnreachable) {
			t.Error(err, *at)
		}
	})
}

func TestPausesGrowUntilThePatienceIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := slices.Repeat([]any{errors.New("refused")}, 20)
		c, at := script(t, answers...)
		_, err := c.Get(t.Context(), "J")
		if !errors.Is(err, ErrUnreachable) {
			t.Error(err)
		}
		last := (*at)[len(*at)-1]
		if len(*at) < 8 || last > DefaultPatience || last < DefaultPatience-2*lastPause {
			t.Error(*at)
		}
		for i := 2; i < len(*at); i++ {
			if pause := (*at)[i] - (*at)[i-1]; pause > lastPause*5/4 {
				t.Error(*at)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c, at := script(t, errors.New("refused"))
		c.Patience = 0
		if _, err := c.Get(t.Context(), "J"); !errors.Is(err, ErrUnreachable) || len(*at) != 1 {
			t.Error(err, *at)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		date := time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat)
		c, at := script(t, problem(503, "busy", "Retry-After", "7"),
			problem(503, "busy", "Retry-After", date), answer(200, doneJob))
		if _, err := c.Get(t.Context(), "J"); err != nil {
			t.Error(err)
		}
		if (*at)[1] != 7*time.Second || (*at)[2] < 19*time.Second {
			t.Error(*at)
		}
	})
	synctest.Test(t, func(t *testing.T) { // longer than the patience: the caller's to decide
		c, at := script(t, problem(429, "too_many_jobs", "Retry-After", "3600"))
		_, err := c.Get(t.Context(), "J")
		var said *Error
		if !errors.As(err, &said) || said.RetryAfter != time.Hour || len(*at) != 1 ||
			!errors.Is(err, ErrBusy) {
			t.Error(err, *at)
		}
	})
	for text, want := range map[string]time.Duration{"": 0, "-1": 0, "soon": 0, "1.5": 0,
		"99999999999999999999": 0, "Mon, 02 Jan 2006 15:04:05 GMT": 0, "60": time.Minute} {
		if got := retryAfter(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestAContextEndsAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, at := script(t, problem(503, "busy", "Retry-After", "20"))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := c.Get(ctx, "J")
		if !errors.Is(err, context.DeadlineExceeded) || len(*at) != 1 {
			t.Error(err, *at)
		}
	})
}

func TestSilenceIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silence := struct{}{}
		c, at := script(t, silence, answer(200, doneJob))
		c.Patience = 2 * time.Minute
		if _, err := c.Get(t.Context(), "J"); err != nil || (*at)[1] < answerTime {
			t.Error(err, *at)
		}
		c, _ = script(t, silence)
		c.Patience = 0
		if _, err := c.Get(t.Context(), "J"); !errors.Is(err, ErrUnreachable) {
			t.Error(err)
		}
	})
}

func TestAWaitThatIsAnsweredAtOnceDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answers []any
		for range 10 {
			answers = append(answers, answer(200, `{"id":"J","state":"working","seq":3}`))
		}
		answers = append(answers, answer(200, doneJob))
		c, at := script(t, answers...)
		job, err := c.Wait(t.Context(), "J")
		if err != nil || job.State != Done || (*at)[10] < 15*time.Second {
			t.Error(job, err, *at)
		}
	})
}

func TestARemovalWhoseAnswerWasLostIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := script(t, errors.New("reset"), problem(410, "retired"))
		if err := c.Remove(t.Context(), "J"); err != nil {
			t.Error(err)
		}
		c, _ = script(t, problem(410, "retired"))
		if err := c.Remove(t.Context(), "J"); !errors.Is(err, ErrGone) {
			t.Error(err)
		}
	})
}

func TestASubmissionIsSentAgainWithItsKey(t *testing.T) {
	var keys, bodies []string
	server := httptest.NewServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			keys = append(keys, r.Header.Get("Idempotency-Key"))
			bodies = append(bodies, string(body))
			if len(keys) < 3 {
				panic(http.ErrAbortHandler)
			}
			fmt.Fprint(w, doneJob)
		}))
	defer server.Close()
	c := New(server.URL, "t")
	if _, err := c.Submit(t.Context(), Submission{Request: struct{}{}}); err != nil {
		t.Error(err)
	}
	keys, bodies = slices.Compact(keys), slices.Compact(bodies)
	if len(keys) != 1 || len(keys[0]) < 20 || len(bodies) != 1 || bodies[0] != `{"request":{}}` {
		t.Error(keys, bodies)
	}
}

func TestWhatIsNoForemanIsToldApart(t *testing.T) {
	for _, body := range []string{"", "hello", "[]", "{}", `{"id":""}`} {
		c, _ := script(t, answer(200, body))
		if _, err := c.Get(t.Context(), "J"); !errors.Is(err, errNoForeman) {
			t.Errorf("%q: %v", body, err)
		}
		c, _ = script(t, answer(200, body))
		for _, err := range c.List(t.Context(), Filter{}) {
			if !errors.Is(err, errNoForeman) {
				t.Errorf("%q: %v", body, err)
			}
		}
	}
	c, _ := script(t, answer(404, "<html>"))
	if _, err := c.Get(t.Context(), "J"); errors.Is(err, ErrNotFound) ||
		err.Error() != "foreman: Not Found (HTTP 404)" {
		t.Error(err)
	}
	c, _ = script(t, answer(599, ""))
	if _, err := c.Get(t.Context(), "J"); err.Error() != "foreman: refused (HTTP 599)" {
		t.Error(err)
	}
}

func TestAClientThatIsWronglyMadeSaysSo(t *testing.T) {
	for _, url := range []string{"localhost:8080", "ftp://x", "http://", "http://x?y=z",
		"http://x#y", "http://u:secret@x:port"} {
		_, err := New(url, "t").Get(t.Context(), "J")
		if err == nil || strings.Contains(err.Error(), "secret") ||
			errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, token := range []string{"a b", "a\r\nX: y", "ü", "\x00"} {
		_, err := New("http://x", token).Get(t.Context(), "J")
		if err == nil || strings.Contains(err.Error(), token) ||
			errors.Is(err, ErrUnreachable) {
			t.Errorf("%q: %v", token, err)
		}
	}
	c := New("http://u:secret@x/", "secret")
	for _, said := range []string{fmt.Sprintf("%v %+v %#v %s", c, *c, c, c)} {
		if strings.Contains(said, "secret") {
			t.Error(said)
		}
	}
}

func TestTheEnvironmentIsTheDefault(t *testing.T) {
	t.Setenv("FOREMAN_URL", "")
	t.Setenv("FOREMAN_API_TOKEN", "")
	if c := New("", ""); c.BaseURL != DefaultURL || c.Token != "" {
		t.Error(c.BaseURL)
	}
	t.Setenv("FOREMAN_URL", "http://there")
	t.Setenv("FOREMAN_API_TOKEN", "its")
	if c := New("", ""); c.BaseURL != "http://there" || c.Token != "its" {
		t.Error(c.BaseURL)
	}
	if c := New("http://here", "mine"); c.BaseURL != "http://here" || c.Token != "mine" {
		t.Error(c.BaseURL)
	}
}

func TestAnArtifactIsRead(t *testing.T) {
	for text, want := range map[string]Artifact{
		`{"name":"n","inline":{"a": 1}}`:    {Name: "n", Complete: true, Inline: []byte(`{"a": 1}`)},
		`{"name":"n","inline":null}`:        {Name: "n", Complete: true},
		`{"name":"n","complete":false}`:     {Name: "n"},
		`{"bytes":9,"sha256":"s","href":0}`: {Bytes: 9, SHA256: "s", Complete: true},
	} {
		var got Artifact
		if err := json.Unmarshal([]byte(text), &got); err != nil ||
			!reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestASubmissionsBody(t *testing.T) {
	for _, one := range []struct {
		s    Submission
		want string
	}{
		{Submission{}, ""},
		{Submission{Request: func() {}}, ""},
		{Submission{Request: []byte(`{`)}, `{"request":"ew=="}`},
		{Submission{Request: json.RawMessage(`{"a":`)}, ""},
		{Submission{Request: json.RawMessage(`{} , "x": 1`)}, ""},
		{Submission{Request: json.RawMessage(` { "a" : "<" } `)}, `{"request": { "a" : "<" } }`},
		{Submission{Request: map[string]string{"a": "<&>"}}, `{"request":{"a":"<&>"}}`},
		{Submission{Request: 1, Timeout: time.Nanosecond, ExpiresIn: 2 * time.Hour},
			`{"request":1,"expires_in":"7200000ms","timeout":"1ms"}`},
		{Submission{Request: 1, Endpoint: "/e", Artifact: "fetch",
			Metadata: map[string]string{"k": "v"},
			Webhook:  &Webhook{URL: "u", Events: []State{Done}}},
			`{"request":1,"endpoint":"/e","webhook":{"url":"u","events":["done"]},` +
				`"artifact":"fetch","metadata":{"k":"v"}}`},
	} {
		got, err := one.s.body()
		if string(got) != one.want || (err == nil) != (one.want != "") {
			t.Errorf("%s, %v: not %s", got, err, one.want)
		}
	}
}

// --- streams --------------------------------------------------------------------------

func TestEventsAreRead(t *testing.T) {
	for text, want := range map[string][]string{
		"data: a\n\ndata:b\n\n":             {":a", ":b"},
		"event: x\ndata: a\n\ndata: b\n\n":  {"x:a", ":b"},
		"data: a\ndata: b\r\n\r\n":          {":a\nb"},
		": keep\n\n\nid: 3\nretry: 9\n\n":   nil,
		"data: a\n\ndata: cut":              {":a"},
		"data: a: b\n\n":                    {":a: b"},
		"event: x\n\ndata: a\n\n":           {":a"},
		"data: " + strings.Repeat("x", 100): nil,
	} {
		var got []string
		for e, err := range events(iotest.OneByteReader(strings.NewReader(text)), 1000) {
			if err != nil {
				t.Errorf("%q: %v", text, err)
			}
			got = append(got, e.name+":"+string(e.data))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q", text, got)
		}
	}
	for _, text := range []string{"data: " + strings.Repeat("x", 100) + "\n\n",
		strings.Repeat("data: xxxxxxxxx\n", 10) + "\n"} {
		for _, err := range events(strings.NewReader(text), 64) {
			if err != ErrTooLarge {
				t.Error(err)
			}
		}
	}
}

func TestTheLastWordsAreForemans(t *testing.T) {
	for text, want := range map[string]Reason{
		`{"error":"x","reason":"canceled"}`:                   ReasonCanceled,
		`{"error":"x","reason":"a_new_one"}`:                  "a_new_one",
		`{"error":"x"}`:                                       "",
		`{"message":{"content":"{\"error\":"}}`:               "",
		`{"error":{"message":"x","code":"timeout"}}`:          ReasonTimeout,
		`{"error":{"message":"x","code":null}}`:               "",
		`{"error":{"message":"x","code":"context_exceeded"}}`: "",
		`{"error":`: "",
		`[DONE]`:    "",
	} {
		err := lastWords("J", []byte(text))
		var failed *JobError
		if errors.As(err, &failed) != (want != "") ||
			want != "" && (failed.Reason != want || failed.Detail != "x") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := lastWords("J", []byte(interrupted)); !errors.Is(err, ErrInterrupted) {
		t.Error(err)
	}
	if err := lastWords("J", []byte(`{"error":"x","reason":"removed"}`)); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

const (
	interrupted = `{"error":"x","reason":"interrupted"}`
	done        = `{"done":true}`
	cut         = `{}` // nothing behind it
)

// stream is a streamed answer of these words, or lines.
func stream(words ...string) *http.Response {
	var body strings.Builder
	if last := words[len(words)-1]; last != interrupted && last != cut {
		words = append(words, done)
	}
	for _, word := range words {
		if strings.HasPrefix(word, "{") {
			fmt.Fprintf(&body, "  %s\n", word)
		} else {
			fmt.Fprintf(&body, "{\"message\":{\"content\":%q}}\n \n", word)
		}
	}
	return answer(200, body.String(), "Content-Type", "application/x-ndjson")
}

func TestAChatStreamThatBeginsAnew(t *testing.T) {
	submitted := `{"id":"J","state":"queued","seq":1}`
	for name, one := range map[string]struct {
		streams []*http.Response
		want    []Piece
	}{
		"is one": {[]*http.Response{stream("a", "b")}, []Piece{{"a", false}, {"b", false}}},
		"says the same": {
			[]*http.Response{stream("ab", "c", interrupted), stream("a", "bcd")},
			[]Piece{{"ab", false}, {"c", false}, {"d", false}}},
		"says something else": {
			[]*http.Response{stream("ab", "c", interrupted), stream("a", "x", "y")},
			[]Piece{{"ab", false}, {"c", false}, {"ax", true}, {"y", false}}},
		"says less": {
			[]*http.Response{stream("ab", "c", interrupted), stream("a", "b")},
			[]Piece{{"ab", false}, {"c", false}, {"ab", true}}},
		"says nothing": {
			[]*http.Response{stream("ab", interrupted), stream(done)},
			[]Piece{{"ab", false}, {"", true}}},
		"is cut, though cleanly": {
			[]*http.Response{stream("a", cut), stream("a", "b")},
			[]Piece{{"a", false}, {"b", false}}},
		"often": {
			[]*http.Response{stream(interrupted), stream("a", interrupted),
				stream(interrupted), stream("ab", interrupted), stream("abc")},
			[]Piece{{"a", false}, {"b", false}, {"c", false}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answers := []any{answer(202, submitted)}
				for _, s := range one.streams {
					answers = append(answers, s)
				}
				c, _ := script(t, answers...)
				var got []Piece
				for piece, err := range c.ChatStream(t.Context(), "m", User("hi")) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, piece)
				}
				if !slices.Equal(got, one.want) {
					t.Errorf("%v", got)
				}
			})
		})
	}
}

func TestEventsGoOnWhereTheyBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		move := func(seq int, state State) string {
			return fmt.Sprintf("id: %d\nevent: job.%s\ndata: {\"seq\":%d,\"state\":%q,"+
				"\"terminal\":%t}\n\n", seq, state, seq, state, state == Done)
		}
		var after []string
		c, at := script(t, answer(200, move(1, Queued)+move(2, Loading)+"data: {"),
			errors.New("refused"), answer(200, ": nothing yet\n\n"),
			answer(200, move(3, Working)+move(4, Done)+move(5, "never read")))
		transport := c.HTTP.Transport
		c.HTTP.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			after = append(after, r.Header.Get("Last-Event-ID"))
			return transport.RoundTrip(r)
		})
		var states []State
		for e, err := range c.Events(t.Context(), "J", 0) {
			if err != nil {
				t.Fatal(err)
			}
			states = append(states, e.State)
		}
		if !slices.Equal(states, []State{Queued, Loading, Working, Done}) ||
			!slices.Equal(after, []string{"", "2", "2", "2"}) {
			t.Error(states, after, *at)
		}
	})
}

// --- webhooks -------------------------------------------------------------------------

func TestADeliveryIsVerified(t *testing.T) {
	const (
		id        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
		stamp     = "1614265330"
		signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
		body      = `{"test": 2432232314}`
		secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	)
	other := "whsec_" + strings.Repeat("AAAA", 8)
	now := time.Unix(1614265330, 0)
	header := func(id, stamp, signature string) http.Header {
		h := http.Header{}
		for name, value := range map[string]string{"webhook-id": id,
			"webhook-timestamp": stamp, "webhook-signature": signature} {
			if value != "" {
				h.Set(name, value)
			}
		}
		return h
	}
	good := header(id, stamp, signature)
	for name, one := range map[string]struct {
		secrets []string
		header  http.Header
		body    string
		now     time.Time
		want    error
	}{
		"the specification's own":    {[]string{secret}, good, body, now, nil},
		"with the second secret":     {[]string{other, secret}, good, body, now, nil},
		"with the second signature":  {[]string{secret}, header(id, stamp, "v1a,x v1,eA== "+signature), body, now, nil},
		"five minutes old":           {[]string{secret}, good, body, now.Add(Tolerance), nil},
		"five minutes early":         {[]string{secret}, good, body, now.Add(-Tolerance), nil},
		"older":                      {[]string{secret}, good, body, now.Add(Tolerance + time.Second), ErrTimestamp},
		"earlier":                    {[]string{secret}, good, body, now.Add(-Tolerance - time.Second), ErrTimestamp},
		"without an id":              {[]string{secret}, header("", stamp, signature), body, now, ErrNoWebhook},
		"without a time":             {[]string{secret}, header(id, "", signature), body, now, ErrNoWebhook},
		"with a strange time":        {[]string{secret}, header(id, "soon", signature), body, now, ErrNoWebhook},
		"with a time before all":     {[]string{secret}, header(id, "-1", signature), body, now, ErrNoWebhook},
		"with a time after all":      {[]string{secret}, header(id, "9999999999999999", signature), body, now, ErrNoWebhook},
		"unsigned":                   {[]string{secret}, header(id, stamp, ""), body, now, ErrSignature},
		"of another id":              {[]string{secret}, header("x", stamp, signature), body, now, ErrSignature},
		"of another time":            {[]string{secret}, header(id, "1614265331", signature), body, now, ErrSignature},
		"of another body":            {[]string{secret}, good, body + " ", now, ErrSignature},
		"of another secret":          {[]string{other}, good, body, now, ErrSignature},
		"of another version":         {[]string{secret}, header(id, stamp, "v2"+signature[2:]), body, now, ErrSignature},
		"without a version":          {[]string{secret}, header(id, stamp, signature[3:]), body, now, ErrSignature},
		"with no secret to know":     {nil, good, body, now, ErrSignature},
		"with a longer signature":    {[]string{secret}, header(id, stamp, signature+"="), body, now, ErrSignature},
		"with a shortened signature": {[]string{secret}, header(id, stamp, signature[:20]), body, now, ErrSignature},
	} {
		d, err := VerifyWebhook(one.secrets, one.header, []byte(one.body), one.now)
		if !errors.Is(err, one.want) || (d == nil) == (one.want == nil) {
			t.Errorf("%s: %v, %v", name, d, err)
		}
		if d != nil && (d.ID != id || d.Job != nil) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	for _, wrong := range []string{"", "whsec_", secret[6:], "whsec_AAAA", "whsec_!",
		"whsec_" + strings.Repeat("AAAA", 22)} {
		_, err := VerifyWebhook([]string{wrong}, good, []byte(body), now)
		if err == nil || errors.Is(err, ErrSignature) ||
			wrong != "" && strings.Contains(err.Error(), wrong[6:]) && len(wrong) > 7 {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

var tlsError = tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
