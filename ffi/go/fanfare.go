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
	ErrBadExcept    Result = C.FANFARE_E_BAD_EXCEPT
	ErrBadChannels  Result = C.FANFARE_E_BAD_CHANNELS
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
	// Ephemeral says that it is for those who follow the channel now: it has no offset, and nobody
	// keeps it.
	Ephemeral bool
	// Also are further channels for the same message, at the same position: who follows several of
	// them gets it once. No name may stand twice.
	Also []string
	// Except is the origin of a connection that does not get it, as that connection was told it.
	Except string
}

// flags are those of the message that C knows.
func (m *Message) flags() C.uint32_t {
	if m.Ephemeral {
		return C.FANFARE_EPHEMERAL
	}
	return 0
}

// ChannelReceipt is where a message stands in one channel, and how many connections of this node
// follow it there.
type ChannelReceipt struct{ Offset, Subscribers uint64 }

// Receipt is the place that a message has.
type Receipt struct {
	// Epoch is the life of the node: positions and offsets of two say nothing about each other.
	Epoch    uint64
	Position uint64
	// Offset is 0 of an ephemeral message.
	Offset uint64
	// Subscribers counts the connections of this node that follow the channel at that position.
	Subscribers uint64
	// Also is where it stands in the message's further channels, in their order.
	Also []ChannelReceipt
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

// Publish publishes a message and waits for its place until the context is done. The error says
// whether the message was queued: with ErrTimeout it was, and is still on its way; with ErrAgain the
// context was done before there was room, and nothing was. Both come with the context's error.
func (p *Publisher) Publish(ctx context.Context, message Message) (Receipt, error) {
	if len(message.Also) > 0 {
		return first(p.PublishBatch(ctx, []Message{message}))
	}
	told, err := ask[Receipt](ctx, func(user cgo.Handle) C.int32_t { return offer(p.number(), &message, user) })
	if err != nil {
		return Receipt{}, err
	}
	receipt, err := wait(ctx, told)
	if err != nil {
		return Receipt{}, err
	}
	return receipt, receipt.Err
}

func first(receipts []Receipt, err error) (Receipt, error) {
	if len(receipts) == 0 {
		return Receipt{}, err
	}
	return receipts[0], err
}

// Enqueue hands a message over and does not wait: ErrAgain where the queue is full. Flush waits for
// what became of it, and Stats counts it.
func (p *Publisher) Enqueue(message Message) error {
	if len(message.Also) > 0 {
		return p.EnqueueBatch([]Message{message})
	}
	return wrong(offer(p.number(), &message, 0))
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
	return wrong(batch.enqueue(p.number()))
}

// PublishBatch publishes messages one after the other, with nothing else of this publisher between
// them: all are queued or none is. It waits until the context is done. Each receipt has the error
// of its own message; the error is that of the first message that was not published. Without
// receipts it says whether the messages were queued, as that of Publish does: ErrTimeout, all were
// and are on their way; every other, none was.
func (p *Publisher) PublishBatch(ctx context.Context, messages []Message) ([]Receipt, error) {
	if len(messages) == 0 {
		return nil, nil
	}
	batch := newBatch(messages)
	defer batch.free()
	told, err := ask[[]Receipt](ctx, func(user cgo.Handle) C.int32_t { return batch.offer(p.number(), user) })
	if err != nil {
		return nil, err
	}
	receipts, err := wait(ctx, told)
	if err != nil {
		return nil, err
	}
	for _, receipt := range receipts {
		if receipt.Err != nil {
			return receipts, receipt.Err
		}
	}
	return receipts, nil
}

// Flush waits until every message that was handed over before has its outcome. With ErrTimeout not
// all have.
func (p *Publisher) Flush(ctx context.Context) error {
	told, err := ask[error](ctx, func(user cgo.Handle) C.int32_t {
		return C.fanfare_go_flush(p.number(), C.uintptr_t(user))
	})
	if err != nil {
		return err
	}
	result, err := wait(ctx, told)
	if err != nil {
		return err
	}
	return result
}

// Stats gives the publisher's numbers.
func (p *Publisher) Stats() (Stats, error) {
	numbers := C.fanfare_numbers{size: C.sizeof_fanfare_numbers}
	if err := wrong(C.fanfare_stats(p.number(), &numbers)); err != nil {
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
	return wrong(C.fanfare_close(p.number()))
}

// number is the handle; that of no publisher, or of one that Open did not make, is never open.
func (p *Publisher) number() C.fanfare_t {
	if p == nil {
		return 0
	}
	return p.handle
}

// ask tries until the library takes what is asked, or the context is done; then nothing was taken.
// What is asked is given a handle of the channel that hears the answer, once, from a thread of the
// library: nobody of ours waits in C.
func ask[T any](ctx context.Context, try func(user cgo.Handle) C.int32_t) (chan T, error) {
	if ctx == nil {
		return nil, fmt.Errorf("%w: the context is nil", ErrInvalid)
	}
	told := make(chan T, 1)
	user := cgo.NewHandle(told)
	for {
		if ctx.Err() != nil {
			user.Delete()
			return nil, errors.Join(ErrAgain, ctx.Err())
		}
		switch result := Result(try(user)); result {
		case C.FANFARE_OK:
			return told, nil
		case ErrAgain:
		default:
			user.Delete()
			return nil, result
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
}

// wait waits for what was taken. An answer that is there counts, also where the context is done.
func wait[T any](ctx context.Context, told chan T) (T, error) {
	select {
	case answer := <-told:
		return answer, nil
	case <-ctx.Done():
	}
	select {
	case answer := <-told:
		return answer, nil
	default:
		var none T
		return none, errors.Join(ErrTimeout, ctx.Err())
	}
}

// answer gives an answer to the one who asked; there is room for it, so it does not wait.
func answer[T any](user C.uintptr_t, said T) {
	handle := cgo.Handle(user)
	handle.Value().(chan T) <- said
	handle.Delete()
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
		(*C.char)(unsafe.Pointer(unsafe.StringData(message.Except))), C.size_t(len(message.Except)),
		message.flags(),
	)
	runtime.KeepAlive(message)
	return result
}

//export fanfareGoHeard
func fanfareGoHeard(user C.uintptr_t, receipt *C.fanfare_receipt) {
	answer(user, receiptOf(receipt))
}

//export fanfareGoHeardAll
func fanfareGoHeardAll(user C.uintptr_t, receipts *C.fanfare_receipt, count C.size_t) {
	told := make([]Receipt, count)
	size := uintptr(receipts.size)
	for nth := range told {
		at := unsafe.Add(unsafe.Pointer(receipts), uintptr(nth)*size)
		told[nth] = receiptOf((*C.fanfare_receipt)(at))
	}
	answer(user, told)
}

//export fanfareGoFlushed
func fanfareGoFlushed(user C.uintptr_t, result C.int32_t) {
	answer(user, wrong(result))
}

func receiptOf(receipt *C.fanfare_receipt) Receipt {
	return Receipt{
		Epoch:       uint64(receipt.epoch),
		Position:    uint64(receipt.position),
		Offset:      uint64(receipt.offset),
		Subscribers: uint64(receipt.subscribers),
		Also:        alsoOf(receipt),
		Duplicate:   receipt.flags&C.FANFARE_DUPLICATE != 0,
		Err:         wrong(receipt.result),
	}
}

// alsoOf copies what is the library's.
func alsoOf(receipt *C.fanfare_receipt) []ChannelReceipt {
	if receipt.also_count == 0 {
		return nil
	}
	also := make([]ChannelReceipt, receipt.also_count)
	for nth, one := range unsafe.Slice(receipt.also, receipt.also_count) {
		also[nth] = ChannelReceipt{Offset: uint64(one.offset), Subscribers: uint64(one.subscribers)}
	}
	return also
}

func wrong(result C.int32_t) error {
	if result == C.FANFARE_OK {
		return nil
	}
	return Result(result)
}
