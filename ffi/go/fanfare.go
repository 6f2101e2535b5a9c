// Package fanfare publishes to Fanfare through libfanfare: connected to a running server
// ("unix:/path"), or with a whole node in this process ("embedded:" and its configuration).
//
// A Publisher may be used by many goroutines. Publish waits for the outcome until its context is
// done; Enqueue never waits. Errors are Results: compare them with errors.Is.
//
// What an acknowledgement is worth, and everything else that is promised, ffi/README.md says.
package fanfare

// #cgo pkg-config: fanfare
// #include "glue.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/cgo"
	"time"
	"unsafe"
)

// Result says why something was not done; it is an error, and comparable. A server may refuse with
// results that are not named here.
type Result int32

// The results that the library gives by itself; fanfare.h says more of each.
const (
	ErrClosed       Result = C.FANFARE_E_BADF
	ErrAgain        Result = C.FANFARE_E_AGAIN
	ErrInvalid      Result = C.FANFARE_E_INVAL
	ErrPipe         Result = C.FANFARE_E_PIPE
	ErrTimeout      Result = C.FANFARE_E_TIMEOUT
	ErrVersion      Result = C.FANFARE_E_VERSION
	ErrForked       Result = C.FANFARE_E_FORKED
	ErrConfig       Result = C.FANFARE_E_CONFIG
	ErrUnavailable  Result = C.FANFARE_E_UNAVAILABLE
	ErrUnknown      Result = C.FANFARE_E_UNKNOWN
	ErrPanic        Result = C.FANFARE_E_PANIC
	ErrForbidden    Result = C.FANFARE_E_FORBIDDEN
	ErrConflict     Result = C.FANFARE_E_CONFLICT
	ErrTooLarge     Result = C.FANFARE_E_TOO_LARGE
	ErrRateLimited  Result = C.FANFARE_E_RATE_LIMITED
	ErrBadChannel   Result = C.FANFARE_E_BAD_CHANNEL
	ErrBadEvent     Result = C.FANFARE_E_BAD_EVENT
	ErrBadKey       Result = C.FANFARE_E_BAD_KEY
	ErrBadData      Result = C.FANFARE_E_BAD_DATA
	ErrChannelLimit Result = C.FANFARE_E_CHANNEL_LIMIT
)

func (r Result) Error() string {
	return "fanfare: " + C.GoString(C.fanfare_result_text(C.int32_t(r)))
}

// Kind is what a payload is.
type Kind uint32

// Detect lets the server find out: JSON where the bytes are valid JSON, text where they are other
// UTF-8, else binary.
const (
	Detect Kind = C.FANFARE_DETECT
	JSON   Kind = C.FANFARE_JSON
	Text   Kind = C.FANFARE_TEXT
	Binary Kind = C.FANFARE_BINARY
)

// Message is what is published. Channel and Data are needed.
type Message struct {
	Channel string
	Data    []byte
	Kind    Kind
	Event   string
	// Key is the idempotency key: published again under it, the message keeps its first place.
	Key []byte
}

// Receipt is the place that a message has.
type Receipt struct {
	// Epoch is the life of the node: positions and offsets of two say nothing about each other.
	Epoch       uint64
	Position    uint64
	Offset      uint64
	Subscribers uint64
	// Duplicate says that an earlier sending got the place.
	Duplicate bool
	// Err is why this message of a batch was not published.
	Err error
}

// Options of Open; the zero value is the defaults.
type Options struct {
	QueueMessages uint64
	QueueBytes    uint64
	// UnknownAfter is when a message whose outcome was lost is told ErrUnknown instead of being
	// sent again; default 4 minutes.
	UnknownAfter time.Duration
	// ConnectTimeout is how long Open waits for a server; 0 for not at all.
	ConnectTimeout time.Duration
}

// Stats are a publisher's numbers since it was opened.
type Stats struct {
	Connected                                                          bool
	Pending, Published, Refused, Unknown, Duplicates, Resent, Connects uint64
	Epoch                                                              uint64
	LastError                                                          error
	ListenPort, APIPort                                                int
}

// Publisher is an open publisher.
type Publisher struct{ handle C.fanfare_t }

// Open opens a publisher, to be closed with Close. The error says what happened and what to do.
func Open(url string, options *Options) (*Publisher, error) {
	if options == nil {
		options = &Options{}
	}
	const room = 1024
	why := (*C.char)(C.calloc(1, room))
	defer C.free(unsafe.Pointer(why))
	text := C.CString(url)
	defer C.free(unsafe.Pointer(text))
	asked := C.fanfare_options{
		size:            C.sizeof_fanfare_options,
		abi:             C.FANFARE_ABI,
		queue_messages:  C.uint64_t(options.QueueMessages),
		queue_bytes:     C.uint64_t(options.QueueBytes),
		unknown_ms:      C.uint64_t(max(options.UnknownAfter, 0).Milliseconds()),
		connect_ms:      C.uint64_t(max(options.ConnectTimeout, 0).Milliseconds()),
		error_text:      why,
		error_text_size: room,
	}
	publisher := &Publisher{}
	if result := C.fanfare_open(text, &asked, &publisher.handle); result != C.FANFARE_OK {
		return nil, fmt.Errorf("%w: %s", Result(result), C.GoString(why))
	}
	return publisher, nil
}

// Publish publishes a message and waits for its place until the context is done. When that ends the
// wait the error is ErrTimeout and the context's, and the message is still on its way.
func (p *Publisher) Publish(ctx context.Context, message Message) (Receipt, error) {
	told := make(chan Receipt, 1)
	user := cgo.NewHandle(told)
	if err := p.offer(ctx, func() C.int32_t { return offer(p.handle, &message, user) }); err != nil {
		user.Delete()
		return Receipt{}, err
	}
	select {
	case receipt := <-told:
		return receipt, receipt.Err
	case <-ctx.Done():
		return Receipt{}, late(ctx)
	}
}

// Enqueue hands a message over and does not wait: ErrAgain where the queue is full. Flush waits for
// what became of it, and Stats counts it.
func (p *Publisher) Enqueue(message Message) error {
	return wrong(offer(p.handle, &message, 0))
}

// EnqueueBatch hands messages over, one after the other with nothing else of this publisher between
// them, and does not wait: all are queued, or none is and the error says why, ErrAgain where there
// is no room.
func (p *Publisher) EnqueueBatch(messages []Message) error {
	if len(messages) == 0 {
		return nil
	}
	batch := newBatch(messages)
	defer batch.free()
	return wrong(batch.enqueue(p.handle))
}

// PublishBatch publishes messages one after the other, with nothing else of this publisher between
// them: all are queued or none is. It waits until the context is done. Each receipt has the error
// of its own message; the error is that of the first message that was not published.
func (p *Publisher) PublishBatch(ctx context.Context, messages []Message) ([]Receipt, error) {
	if len(messages) == 0 {
		return nil, nil
	}
	type answer struct {
		receipts []Receipt
		err      error
	}
	batch, told := newBatch(messages), make(chan answer, 1)
	patience := patience(ctx)
	// The library waits on a thread; the context may be cancelled before that.
	go func() {
		defer batch.free()
		result := C.int32_t(C.FANFARE_E_AGAIN)
		err := p.offer(ctx, func() C.int32_t { result = batch.publish(p.handle, patience); return notTaken(result) })
		if err != nil {
			told <- answer{nil, err}
			return
		}
		receipts := batch.told()
		if receipts[0].Epoch == 0 && receipts[0].Err == nil {
			receipts = nil // nothing was queued, so nothing was written
		}
		told <- answer{receipts, wrong(result)}
	}()
	select {
	case answer := <-told:
		return answer.receipts, answer.err
	case <-ctx.Done():
		return nil, late(ctx)
	}
}

// Flush waits until every message that was handed over before has its outcome.
func (p *Publisher) Flush(ctx context.Context) error {
	told, patience := make(chan error, 1), patience(ctx)
	go func() { told <- wrong(C.fanfare_flush(p.handle, patience)) }()
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
		return late(ctx)
	}
}

// Stats gives the publisher's numbers.
func (p *Publisher) Stats() (Stats, error) {
	numbers := C.fanfare_numbers{size: C.sizeof_fanfare_numbers}
	if err := wrong(C.fanfare_stats(p.handle, &numbers)); err != nil {
		return Stats{}, err
	}
	return Stats{
		Connected:  numbers.connected != 0,
		Pending:    uint64(numbers.pending),
		Published:  uint64(numbers.published),
		Refused:    uint64(numbers.refused),
		Unknown:    uint64(numbers.unknown),
		Duplicates: uint64(numbers.duplicates),
		Resent:     uint64(numbers.resent),
		Connects:   uint64(numbers.connects),
		Epoch:      uint64(numbers.epoch),
		LastError:  wrong(numbers.last_error),
		ListenPort: int(numbers.listen_port),
		APIPort:    int(numbers.api_port),
	}, nil
}

// Close ends the publisher without waiting for messages: call Flush before. Whoever waits is told
// ErrPipe or ErrUnknown. A second Close gives ErrClosed.
func (p *Publisher) Close() error {
	return wrong(C.fanfare_close(p.handle))
}

// offer tries until there is room in the queue or the context is done.
func (p *Publisher) offer(ctx context.Context, try func() C.int32_t) error {
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		result := Result(try())
		if result != ErrAgain {
			return wrong(C.int32_t(result))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrAgain, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// offer hands one message over. C reads the strings and slices during the call only; they are
// arguments of it, so that they stay where they are.
func offer(handle C.fanfare_t, message *Message, user cgo.Handle) C.int32_t {
	result := C.fanfare_go_offer(
		handle, C.uint32_t(message.Kind), C.uintptr_t(user),
		(*C.char)(unsafe.Pointer(unsafe.StringData(message.Channel))), C.size_t(len(message.Channel)),
		unsafe.Pointer(unsafe.SliceData(message.Data)), C.size_t(len(message.Data)),
		(*C.char)(unsafe.Pointer(unsafe.StringData(message.Event))), C.size_t(len(message.Event)),
		unsafe.Pointer(unsafe.SliceData(message.Key)), C.size_t(len(message.Key)),
	)
	runtime.KeepAlive(message)
	return result
}

//export fanfareGoHeard
func fanfareGoHeard(user C.uintptr_t, receipt *C.fanfare_receipt) {
	handle := cgo.Handle(user)
	handle.Value().(chan Receipt) <- receiptOf(receipt)
	handle.Delete()
}

func receiptOf(receipt *C.fanfare_receipt) Receipt {
	return Receipt{
		Epoch:       uint64(receipt.epoch),
		Position:    uint64(receipt.position),
		Offset:      uint64(receipt.offset),
		Subscribers: uint64(receipt.subscribers),
		Duplicate:   receipt.flags&C.FANFARE_DUPLICATE != 0,
		Err:         wrong(receipt.result),
	}
}

// notTaken is AGAIN where it is, else OK: what a batch's own messages say is told by the batch.
func notTaken(result C.int32_t) C.int32_t {
	if result == C.FANFARE_E_AGAIN {
		return result
	}
	return C.FANFARE_OK
}

func wrong(result C.int32_t) error {
	if result == C.FANFARE_OK {
		return nil
	}
	return Result(result)
}

func late(ctx context.Context) error {
	return errors.Join(ErrTimeout, ctx.Err())
}

// patience is the time that the context leaves, in milliseconds.
func patience(ctx context.Context) C.uint64_t {
	deadline, ok := ctx.Deadline()
	if !ok {
		return math.MaxUint64
	}
	return C.uint64_t(max(time.Until(deadline), 0).Milliseconds() + 1)
}
