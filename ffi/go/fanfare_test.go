package fanfare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// node starts a node in this process, with its socket at a path of the test's.
func node(t *testing.T) (*Publisher, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	configuration := "listen = \"127.0.0.1:0\"\napi = \"none\"\ndriver = \"epoll\"\nshards = 1\n"
	publisher, err := Open(fmt.Sprintf("embedded:%ssocket = %q\n", configuration, socket), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { publisher.Close() })
	return publisher, "unix:" + socket
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func both(t *testing.T, test func(t *testing.T, publisher *Publisher)) {
	embedded, url := node(t)
	connected, err := Open(url, &Options{ConnectTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connected.Close() })
	t.Run("embedded", func(t *testing.T) { test(t, embedded) })
	t.Run("connected", func(t *testing.T) { test(t, connected) })
}

func TestPublish(t *testing.T) {
	both(t, func(t *testing.T, publisher *Publisher) {
		message := Message{Channel: t.Name(), Data: []byte(`{"n":1}`), Event: "tick", Key: []byte("k")}
		for _, duplicate := range []bool{false, true} {
			receipt, err := publisher.Publish(soon(t), message)
			if err != nil || receipt.Offset != 1 || receipt.Epoch == 0 || receipt.Duplicate != duplicate {
				t.Fatalf("%+v, %v", receipt, err)
			}
		}
		message.Data = []byte("other")
		if _, err := publisher.Publish(soon(t), message); !errors.Is(err, ErrConflict) {
			t.Fatal(err)
		}
		if _, err := publisher.Publish(soon(t), Message{Channel: "a*", Data: []byte("x")}); !errors.Is(err, ErrBadChannel) {
			t.Fatal(err)
		}
		brief := Message{Channel: t.Name(), Data: []byte("x"), Ephemeral: true, Except: "3f9c0a51b7e2d846"}
		if receipt, err := publisher.Publish(soon(t), brief); err != nil || receipt.Offset != 0 {
			t.Fatalf("%+v, %v", receipt, err)
		}
		receipts, err := publisher.PublishBatch(soon(t), []Message{brief, {Channel: t.Name(), Data: []byte("x")}})
		if err != nil || receipts[0].Offset != 0 || receipts[1].Offset != 2 {
			t.Fatalf("%+v, %v", receipts, err)
		}
		brief.Except = "me"
		if _, err := publisher.Publish(soon(t), brief); !errors.Is(err, ErrBadExcept) {
			t.Fatal(err)
		}
		if err := publisher.Enqueue(Message{Channel: t.Name(), Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		if err := publisher.Flush(soon(t)); err != nil {
			t.Fatal(err)
		}
		stats, err := publisher.Stats()
		if err != nil || stats.Published != 6 || stats.Duplicates != 1 || stats.Refused != 1 || !stats.Connected {
			t.Fatalf("%+v, %v", stats, err)
		}
	})
}

func TestSeveralChannels(t *testing.T) {
	both(t, func(t *testing.T, publisher *Publisher) {
		a, b, c := t.Name()+" a", t.Name()+" b", t.Name()+" c"
		alone := Message{Channel: b, Data: []byte("x")}
		several := Message{Channel: a, Also: []string{b, c}, Data: []byte("to all"), Key: []byte("k")}
		receipts, err := publisher.PublishBatch(soon(t), []Message{alone, several, several})
		if err != nil {
			t.Fatal(err)
		}
		want := []ChannelReceipt{{Offset: 2}, {Offset: 1}}
		for nth, receipt := range receipts[1:] {
			if receipt.Offset != 1 || !slices.Equal(receipt.Also, want) || receipt.Duplicate != (nth == 1) {
				t.Fatalf("%+v", receipt)
			}
		}
		if receipts[0].Also != nil {
			t.Fatalf("%+v", receipts[0])
		}
		several.Key = nil
		receipt, err := publisher.Publish(soon(t), several)
		if err != nil || receipt.Offset != 2 || !slices.Equal(receipt.Also, []ChannelReceipt{{Offset: 3}, {Offset: 2}}) {
			t.Fatalf("%+v, %v", receipt, err)
		}
		if err := publisher.Enqueue(several); err != nil {
			t.Fatal(err)
		}
		several.Also = []string{a}
		if _, err := publisher.Publish(soon(t), several); !errors.Is(err, ErrBadChannels) {
			t.Fatal(err)
		}
	})
}

func TestBatch(t *testing.T) {
	both(t, func(t *testing.T, publisher *Publisher) {
		messages := make([]Message, 500)
		for nth := range messages {
			messages[nth] = Message{Channel: t.Name(), Data: fmt.Appendf(nil, "message %d", nth)}
		}
		messages[7].Key, messages[8].Key = []byte("k"), []byte("k")
		receipts, err := publisher.PublishBatch(soon(t), messages)
		if !errors.Is(err, ErrConflict) || len(receipts) != len(messages) {
			t.Fatalf("%d receipts, %v", len(receipts), err)
		}
		for nth, receipt := range receipts {
			offset := uint64(nth + 1)
			if nth > 8 {
				offset--
			}
			if nth == 8 {
				if !errors.Is(receipt.Err, ErrConflict) {
					t.Fatalf("%+v", receipt)
				}
			} else if receipt.Err != nil || receipt.Offset != offset {
				t.Fatalf("%d: %+v", nth, receipt)
			}
		}
		messages[3].Data = nil
		if receipts, err := publisher.PublishBatch(soon(t), messages); !errors.Is(err, ErrBadData) || receipts != nil {
			t.Fatalf("%v, %v", receipts, err)
		}
		if receipts, err := publisher.PublishBatch(soon(t), nil); receipts != nil || err != nil {
			t.Fatal(receipts, err)
		}
	})
}

func TestEnqueueBatch(t *testing.T) {
	both(t, func(t *testing.T, publisher *Publisher) {
		messages := []Message{{Channel: t.Name(), Data: []byte("one")}, {Channel: t.Name(), Data: []byte("two")}}
		if err := publisher.EnqueueBatch(messages); err != nil {
			t.Fatal(err)
		}
		if err := publisher.EnqueueBatch(nil); err != nil {
			t.Fatal(err)
		}
		messages[1].Data = nil
		if err := publisher.EnqueueBatch(messages); !errors.Is(err, ErrBadData) {
			t.Fatal(err)
		}
		receipt, err := publisher.Publish(soon(t), Message{Channel: t.Name(), Data: []byte("three")})
		if err != nil || receipt.Offset != 3 {
			t.Fatalf("%+v, %v: all of a batch or nothing", receipt, err)
		}
	})
}

func TestManyGoroutines(t *testing.T) {
	both(t, func(t *testing.T, publisher *Publisher) {
		const goroutines, each = 16, 200
		var all sync.WaitGroup
		var seen sync.Map
		for range goroutines {
			all.Go(func() {
				for range each {
					receipt, err := publisher.Publish(soon(t), Message{Channel: t.Name(), Data: []byte("x")})
					if err != nil {
						t.Error(err)
						return
					}
					if _, twice := seen.LoadOrStore(receipt.Offset, true); twice {
						t.Errorf("offset %d was given twice", receipt.Offset)
					}
				}
			})
		}
		all.Wait()
	})
}

func TestContexts(t *testing.T) {
	// Nobody is at the socket: whatever is asked ends with its context.
	publisher, err := Open("unix:"+filepath.Join(t.TempDir(), "nobody"), &Options{QueueMessages: 4})
	if err != nil {
		t.Fatal(err)
	}
	message := Message{Channel: "a", Data: []byte("x")}
	short := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), 20*time.Millisecond)
	}
	pending := func() uint64 {
		stats, err := publisher.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return stats.Pending
	}
	for pending() == 0 { // on a busy machine time may be over before it is queued
		ctx, cancel := short()
		_, err := publisher.Publish(ctx, message)
		cancel()
		if errors.Is(err, ErrTimeout) == (pending() == 0) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	cancelled, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // when both are queued
		for stats, err := publisher.Stats(); err == nil && stats.Pending < 3; stats, err = publisher.Stats() {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := publisher.PublishBatch(cancelled, []Message{message, message}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := publisher.Publish(cancelled, message); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := publisher.Enqueue(message); err != nil {
		t.Fatal(err)
	}
	if err := publisher.Enqueue(message); !errors.Is(err, ErrAgain) {
		t.Fatal(err)
	}
	for told, end := false, time.Now().Add(time.Minute); !told; {
		if time.Now().After(end) {
			t.Fatal("never told that the queue is full")
		}
		ctx, cancel := short()
		_, err := publisher.Publish(ctx, message)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		told = errors.Is(err, ErrAgain) // on a busy machine time may be over before the first try
	}
	ctx, cancel := short()
	defer cancel()
	if err := publisher.Flush(ctx); !errors.Is(err, ErrTimeout) {
		t.Fatal(err)
	}
	if err := publisher.Close(); err != nil {
		t.Fatal(err)
	}
	if err := publisher.Close(); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if _, err := publisher.Publish(soon(t), message); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestCloseTellsWhoWaits(t *testing.T) {
	publisher, err := Open("unix:"+filepath.Join(t.TempDir(), "nobody"), nil)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { publisher.Close() })
	if _, err := publisher.Publish(context.Background(), Message{Channel: "a", Data: []byte("x")}); !errors.Is(err, ErrPipe) {
		t.Fatal(err)
	}
}

func TestOpenSaysWhy(t *testing.T) {
	for url, expected := range map[string]Result{
		"http://localhost":         ErrInvalid,
		"embedded:nonsense = true": ErrConfig,
	} {
		if _, err := Open(url, nil); !errors.Is(err, expected) || len(err.Error()) < 40 {
			t.Fatal(url, err)
		}
	}
	_, err := Open("unix:"+filepath.Join(t.TempDir(), "nobody"), &Options{ConnectTimeout: time.Millisecond})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "Is it running") {
		t.Fatal(err)
	}
}

func TestASubscriberHasIt(t *testing.T) {
	publisher, _ := node(t)
	stats, err := publisher.Stats()
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/sse?channels=demo", stats.ListenPort))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "id:") {
	}
	receipt, err := publisher.Publish(soon(t), Message{Channel: "demo", Data: []byte("hello from Go")})
	if err != nil || receipt.Subscribers != 1 {
		t.Fatalf("%+v, %v", receipt, err)
	}
	for lines.Scan() {
		if lines.Text() == "data: hello from Go" {
			return
		}
	}
	t.Fatal("the stream ended without the message")
}

// A message that an error says was not queued never comes, and one that was always does: the caller
// sends again what was not, and all are published once.
func TestAnErrorSaysWhetherItWasQueued(t *testing.T) {
	// Nobody listens, so the queue is full soon and stays so.
	full, err := Open("unix:"+filepath.Join(t.TempDir(), "nobody"), &Options{QueueMessages: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	queued := func() uint64 {
		stats, err := full.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return stats.Pending
	}
	message := Message{Channel: "a", Data: []byte("x")}
	ways := map[string]func(context.Context) error{
		"Publish": func(ctx context.Context) error { _, err := full.Publish(ctx, message); return err },
		"PublishBatch": func(ctx context.Context) error {
			_, err := full.PublishBatch(ctx, []Message{message, message})
			return err
		},
	}
	for name, way := range ways {
		before := queued()
		if err := way(cancelled); !errors.Is(err, ErrAgain) || !errors.Is(err, context.Canceled) || queued() != before {
			t.Fatal(name, "cancelled before:", err, queued())
		}
		for queued() == before { // on a busy machine time may be over before it is queued
			short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			err := way(short)
			cancel()
			was := queued() > before
			if errors.Is(err, ErrTimeout) != was || errors.Is(err, ErrAgain) == was || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(name, "room:", err, queued())
			}
		}
	}
	for full.Enqueue(message) == nil {
	}
	for name, way := range ways {
		short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		err := way(short)
		cancel()
		if !errors.Is(err, ErrAgain) || errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) || queued() != 5 {
			t.Fatal(name, "no room:", err, queued())
		}
	}
}

// Nobody of ours waits in C, so a wait that was given up leaves no thread behind.
func TestAWaitThatIsGivenUpLeavesNoThread(t *testing.T) {
	publisher, err := Open("unix:"+filepath.Join(t.TempDir(), "nobody"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	// Something to wait for.
	if err := publisher.Enqueue(Message{Channel: "a", Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	threads := func() int {
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := threads()
	var all sync.WaitGroup
	for nth := range 200 {
		all.Add(1)
		go func() {
			defer all.Done()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			var err error
			if nth%2 == 0 {
				err = publisher.Flush(ctx)
			} else {
				_, err = publisher.PublishBatch(ctx, []Message{{Channel: "a", Data: []byte("x")}})
			}
			if !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrAgain) {
				t.Error(err)
			}
		}()
	}
	all.Wait()
	if after := threads(); after > before+50 {
		t.Fatal(before, "threads before,", after, "after")
	}
}

func TestNoPublisherAndNoContext(t *testing.T) {
	message := Message{Channel: "a", Data: []byte("x")}
	for _, none := range []*Publisher{nil, {}} {
		if _, err := none.Publish(context.Background(), message); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
		if _, err := none.PublishBatch(context.Background(), []Message{message}); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
		if err := none.Flush(context.Background()); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
		if err := none.Enqueue(message); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
		if _, err := none.Stats(); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
		if err := none.Close(); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
	}
	publisher, _ := node(t)
	var none context.Context
	if _, err := publisher.Publish(none, message); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	if _, err := publisher.PublishBatch(none, []Message{message}); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	if err := publisher.Flush(none); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
}
