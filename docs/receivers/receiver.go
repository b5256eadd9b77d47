// receiver.go - a webhook receiver that believes only what is signed.
//
//	WEBHOOK_SECRET=whsec_… go run receiver.go 8088
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	tolerance = 5 * time.Minute // how old, or early, an attempt may be
	maxBody   = 1 << 20         // bytes; more where jobs ask for "artifact": "inline"
)

// verify gives 204 if these bytes come from who knows the key, and lately; else
// why not.
func verify(key []byte, header http.Header, body []byte) int {
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if id == "" || err != nil {
		return http.StatusBadRequest
	}
	age := time.Since(time.Unix(seconds, 0))
	if age > tolerance || age < -tolerance {
		return http.StatusUnauthorized
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	want := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	// several while secrets are exchanged; one that fits is enough
	for _, entry := range strings.Fields(header.Get("webhook-signature")) {
		if hmac.Equal([]byte(entry), want) {
			return http.StatusNoContent
		}
	}
	return http.StatusUnauthorized
}

type receiver struct {
	key  []byte
	lock sync.Mutex
	seen map[string]bool // ids; yours belong into your database, written with the work
}

func (r *receiver) take(header http.Header, body []byte) int {
	if status := verify(r.key, header, body); status != http.StatusNoContent {
		return status
	}
	var event struct {
		Type string
		Data struct{ Job struct{ ID string } }
	}
	if json.Unmarshal(body, &event) != nil {
		return http.StatusBadRequest
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	if id := header.Get("webhook-id"); !r.seen[id] {
		fmt.Println(event.Type, event.Data.Job.ID) // the work
		r.seen[id] = true
	}
	return http.StatusNoContent
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxBody))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.WriteHeader(r.take(request.Header, body))
}

func main() {
	secret := strings.TrimPrefix(os.Getenv("WEBHOOK_SECRET"), "whsec_")
	key, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || len(os.Args) != 2 || len(key) == 0 {
		log.Fatal("usage: WEBHOOK_SECRET=whsec_… receiver PORT")
	}
	server := http.Server{
		Addr:        "127.0.0.1:" + os.Args[1],
		Handler:     &receiver{key: key, seen: map[string]bool{}},
		ReadTimeout: 10 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}
