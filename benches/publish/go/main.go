// The same as publish.c, from Go: publish URL single|batch|await COUNT.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"fanfare"
)

const (
	batchMessages = 1000
	payloadBytes  = 128
)

// retry tries until there is room in the queue; it says how often there was none.
func retry(try func() error) (naps int) {
	for {
		err := try()
		if err == nil {
			return naps
		}
		if !errors.Is(err, fanfare.ErrAgain) {
			log.Fatal(err)
		}
		naps++
		time.Sleep(200 * time.Microsecond)
	}
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: publish URL single|batch|await COUNT")
	}
	mode := os.Args[2]
	count, err := strconv.Atoi(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	publisher, err := fanfare.Open(os.Args[1], &fanfare.Options{ConnectTimeout: 5 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	message := fanfare.Message{
		Channel: fmt.Sprintf("bench:go:%s:%d", mode, time.Now().UnixNano()),
		Data:    bytes.Repeat([]byte("x"), payloadBytes),
		Kind:    fanfare.Text,
	}
	batch := make([]fanfare.Message, batchMessages)
	for nth := range batch {
		batch[nth] = message
	}
	ctx, naps := context.Background(), 0

	began := time.Now()
	switch mode {
	case "single":
		for range count {
			naps += retry(func() error { return publisher.Enqueue(message) })
		}
	case "batch":
		for left := count; left > 0; left -= min(left, batchMessages) {
			naps += retry(func() error { return publisher.EnqueueBatch(batch[:min(left, batchMessages)]) })
		}
	case "await":
		for left := count; left > 0; left -= min(left, batchMessages) {
			if _, err := publisher.PublishBatch(ctx, batch[:min(left, batchMessages)]); err != nil {
				log.Fatal(err)
			}
		}
	default:
		log.Fatalf("%s is no mode", mode)
	}
	if err := publisher.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	seconds := time.Since(began).Seconds()

	last, err := publisher.Publish(ctx, message)
	if err != nil {
		log.Fatal(err)
	}
	stats, err := publisher.Stats()
	if err != nil {
		log.Fatal(err)
	}
	if last.Offset != uint64(count)+1 || stats.Published != uint64(count)+1 || stats.Refused+stats.Unknown+stats.Duplicates != 0 {
		log.Fatalf("%d were published, the channel has %d", count+1, last.Offset)
	}
	if err := publisher.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("messages=%d seconds=%.6f naps=%d resent=%d\n", count, seconds, naps, stats.Resent)
}
