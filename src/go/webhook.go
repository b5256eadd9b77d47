package foreman

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Tolerance is how old, or early, a delivery may be.
const Tolerance = 5 * time.Minute

// What [VerifyWebhook] refuses with.
var (
	// ErrNoWebhook: what came is none. Answer 400.
	ErrNoWebhook = errors.New("foreman: no webhook")
	// ErrTimestamp: it is too far from now. Answer 401.
	ErrTimestamp = errors.New("foreman: the webhook's time is too far from now")
	// ErrSignature: it is not from who knows a secret. Answer 401.
	ErrSignature = errors.New("foreman: no signature of the webhook fits")
)

// Delivery is a webhook that may be believed.
type Delivery struct {
	// ID names the event: the same over all attempts. Do nothing, and answer 2xx,
	// if you have seen it.
	ID   string
	Type string    // "job.done"
	At   time.Time // when the job came to that state
	Job  *Job      // as it was at that moment; nil: the event is none of foreman's
}

// VerifyWebhook believes a delivery (Standard Webhooks 1.0.0) that one of the
// secrets ("whsec_...") signed within [Tolerance] of now. The body is the bytes as
// they came, before any parser touched them.
func VerifyWebhook(secrets []string, header http.Header, body []byte,
	now time.Time) (*Delivery, error) {
	id, stamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseUint(stamp, 10, 40)
	if id == "" || err != nil {
		return nil, fmt.Errorf("%w: webhook-id or webhook-timestamp is missing", ErrNoWebhook)
	}
	if now.Sub(time.Unix(int64(seconds), 0)).Abs() > Tolerance {
		return nil, ErrTimestamp
	}
	if err := signed(secrets, header, id+"."+stamp+".", body); err != nil {
		return nil, err
	}
	var said struct {
		Type      string
		Timestamp time.Time
		Data      struct{ Job json.RawMessage }
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoWebhook, err)
	}
	d := &Delivery{ID: id, Type: said.Type, At: said.Timestamp}
	if said.Data.Job != nil {
		if d.Job, err = readJob(said.Data.Job); err != nil {
			return nil, fmt.Errorf("%w: its job is none", ErrNoWebhook)
		}
	}
	return d, nil
}

// signed is nil if one of the signatures is one of the secrets'.
func signed(secrets []string, header http.Header, prefix string, body []byte) error {
	given := strings.Fields(header.Get("webhook-signature"))
	for i, secret := range secrets {
		text, marked := strings.CutPrefix(secret, "whsec_")
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || !marked || len(key) < 24 || len(key) > 64 {
			return fmt.Errorf(
				"foreman: secret %d is not whsec_ and the base64 of 24 to 64 bytes", i)
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(prefix))
		mac.Write(body)
		want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		for _, one := range given {
			if hmac.Equal([]byte(one), []byte(want)) {
				return nil
			}
		}
	}
	return ErrSignature
}
