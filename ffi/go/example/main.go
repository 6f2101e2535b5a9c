// Command example publishes its arguments: go run ./example unix:/tmp/fanfare.sock demo 'hello'
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"fanfare"
)

func main() {
	if len(os.Args) < 4 {
		log.Fatal("usage: example URL CHANNEL MESSAGE...")
	}
	publisher, err := fanfare.Open(os.Args[1], &fanfare.Options{ConnectTimeout: 2 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	defer publisher.Close()
	for _, text := range os.Args[3:] {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		receipt, err := publisher.Publish(ctx, fanfare.Message{Channel: os.Args[2], Data: []byte(text)})
		cancel()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("offset %d, %d subscribers\n", receipt.Offset, receipt.Subscribers)
	}
}
