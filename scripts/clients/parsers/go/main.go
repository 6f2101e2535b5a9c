// The Go parsers of the matrix, each as its own page says that it is used.
//
//	gosse NAME URL [LAST_ID]
//
// One line of JSON for each thing that the program hears, see ../npm.mjs.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	donovanhide "github.com/donovanhide/eventsource"
	launchdarkly "github.com/launchdarkly/eventsource"
	r3labs "github.com/r3labs/sse/v2"
	tmaxmax "github.com/tmaxmax/go-sse"
	backoff "gopkg.in/cenkalti/backoff.v1"
)

type thing map[string]any

var out = json.NewEncoder(os.Stdout)

func say(what thing) { _ = out.Encode(what) }

func heard(event, data, id string) {
	if event == "" {
		event = "message"
	}
	say(thing{"event": event, "data": data, "id": id})
}

func followR3labs(url, lastID string) error {
	client := r3labs.NewClient(url)
	if lastID != "" {
		client.LastEventID.Store([]byte(lastID))
	}
	client.ReconnectStrategy = backoff.NewConstantBackOff(100 * time.Millisecond)
	client.ReconnectNotify = func(err error, _ time.Duration) { say(thing{"error": err.Error()}) }
	err := client.SubscribeRaw(func(msg *r3labs.Event) {
		heard(string(msg.Event), string(msg.Data), string(msg.ID))
		lastID = string(msg.ID)
	})
	say(thing{"end": lastID})
	return err
}

func followDonovanhide(url, lastID string) error {
	stream, err := donovanhide.Subscribe(url, lastID)
	if err != nil {
		return err
	}
	for {
		select {
		case event := <-stream.Events:
			heard(event.Event(), event.Data(), event.Id())
		case err := <-stream.Errors:
			say(thing{"error": err.Error()})
		}
	}
}

func followLaunchDarkly(url, lastID string) error {
	stream, err := launchdarkly.SubscribeWithURL(url,
		launchdarkly.StreamOptionLastEventID(lastID),
		launchdarkly.StreamOptionInitialRetry(100*time.Millisecond),
		launchdarkly.StreamOptionErrorHandler(complain))
	if err != nil {
		return err
	}
	for event := range stream.Events {
		heard(event.Event(), event.Data(), event.Id())
	}
	return nil
}

func complain(err error) launchdarkly.StreamErrorHandlerResult {
	say(thing{"error": err.Error()})
	return launchdarkly.StreamErrorHandlerResult{}
}

func followTmaxmax(url, lastID string) error {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if lastID != "" {
		request.Header.Set("Last-Event-ID", lastID)
	}
	client := tmaxmax.Client{
		Backoff: tmaxmax.Backoff{InitialInterval: 100 * time.Millisecond},
		OnRetry: func(err error, _ time.Duration) { say(thing{"error": err.Error()}) },
	}
	connection := client.NewConnection(request)
	connection.SubscribeToAll(func(event tmaxmax.Event) {
		heard(event.Type, event.Data, event.LastEventID)
	})
	return connection.Connect()
}

func main() {
	follow, known := map[string]func(string, string) error{
		"r3labs/sse":               followR3labs,
		"donovanhide/eventsource":  followDonovanhide,
		"launchdarkly/eventsource": followLaunchDarkly,
		"tmaxmax/go-sse":           followTmaxmax,
	}[os.Args[1]]
	if !known {
		fmt.Fprintln(os.Stderr, "unknown:", os.Args[1])
		os.Exit(2)
	}
	lastID := ""
	if len(os.Args) > 3 {
		lastID = os.Args[3]
	}
	if err := follow(os.Args[2], lastID); err != nil {
		say(thing{"error": err.Error()})
	}
}
