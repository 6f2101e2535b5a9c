/* libfanfare: publish to Fanfare from C.
 *
 * Generated from ffi/src; a test compares the two. ffi/README.md is the manual: results, ownership,
 * threads, callbacks, forks.
 *
 * In short. Every call but three gives a result: FANFARE_OK (0) or a negative number, and writes
 * through its out-pointers only as it says. What you pass stays yours and is used during the call
 * only. Any thread may call anything on any handle. Nothing waits unless you give it a timeout.
 */

#ifndef FANFARE_H
#define FANFARE_H

#include <stddef.h>
#include <stdint.h>

/* The version of this header: major << 16 | minor << 8 | patch. The library's is fanfare_version().
 */
#define FANFARE_VERSION 0x000100

// The ABI that this library speaks: it changes when a program must be compiled again.
#define FANFARE_ABI 1

// The server finds out: JSON where the bytes are valid JSON, text where they are other UTF-8,
// else binary.
#define FANFARE_DETECT 0

// JSON; refused where it is not valid.
#define FANFARE_JSON 1

// Text; refused where it is not UTF-8.
#define FANFARE_TEXT 2

// Bytes.
#define FANFARE_BINARY 3

// A flag of a message: it is for those who follow the channel now; it has no offset, and nobody
// keeps it.
#define FANFARE_EPHEMERAL 1

// A flag of a receipt: an earlier sending of the message got the place, by the caller or by the
// library itself after a lost connection.
#define FANFARE_DUPLICATE 1

// How to open. Zero means the default everywhere but in `size` and `abi`.
typedef struct fanfare_options {
  // sizeof(fanfare_options)
  uint32_t size;
  // FANFARE_ABI
  uint32_t abi;
  // Messages without an outcome after which calls give AGAIN. Default 65,536.
  uint64_t queue_messages;
  // Their bytes. Default 64 MiB.
  uint64_t queue_bytes;
  // Milliseconds after which a message that was sent, and whose connection was lost and not made
  // again, is told UNKNOWN. Longer than the server's limits.publisher_session_age it is of no
  // use. Default 240,000.
  uint64_t unknown_ms;
  // Milliseconds that fanfare_open waits for a server to answer. Default 0: it does not wait,
  // and the library connects when there is one.
  uint64_t connect_ms;
  // Where fanfare_open writes why it failed, with a NUL at its end; may be null. The caller's;
  // used during the call only.
  char *error_text;
  // Bytes at error_text.
  size_t error_text_size;
} fanfare_options;

// An open publisher: a number, so that one that was closed, closed twice or never opened is
// recognized. 0 is never open.
typedef uint64_t fanfare_t;

// The name of a channel, which need not end with a NUL.
typedef struct fanfare_name {
  // 1 to 255 bytes of UTF-8.
  const char *name;
  // How many bytes.
  size_t size;
} fanfare_name;

// One message. Everything it points to is the caller's, and is used during the call only.
typedef struct fanfare_message {
  // sizeof(fanfare_message)
  uint32_t size;
  // FANFARE_DETECT, FANFARE_JSON, FANFARE_TEXT or FANFARE_BINARY
  uint32_t kind;
  // 1 to 255 bytes of UTF-8; no NUL is needed.
  const char *channel;
  // Bytes of the channel's name.
  size_t channel_size;
  // The payload, at least one byte.
  const void *data;
  // Bytes of the payload.
  size_t data_size;
  // The name of the event; null for none.
  const char *event;
  // Bytes of the event's name.
  size_t event_size;
  // The idempotency key, 1 to 255 bytes; null for none.
  const void *key;
  // Bytes of the key.
  size_t key_size;
  // The origin of the connection that does not get it, as that connection was told it: sixteen
  // hexadecimal digits. Null for none.
  const char *except;
  // Bytes of the origin.
  size_t except_size;
  // FANFARE_EPHEMERAL or 0
  uint32_t flags;
  // 0
  uint32_t reserved;
  // Further channels for the same message, at the same position: who follows several of them
  // gets it once. None of them twice; null for none.
  const struct fanfare_name *also;
  // How many.
  size_t also_count;
} fanfare_message;

// Where a message stands in one channel.
typedef struct fanfare_channel_receipt {
  // Within the channel, 1, 2, 3, ...; 0 of an ephemeral message.
  uint64_t offset;
  // Connections of this node that follow the channel at that position.
  uint64_t subscribers;
} fanfare_channel_receipt;

// What became of a message.
typedef struct fanfare_receipt {
  // sizeof(fanfare_receipt), set by the caller
  uint32_t size;
  // The result of this message; the rest is zero unless it is FANFARE_OK.
  int32_t result;
  // Which life of the node: a server that was restarted has another one, and positions and
  // offsets of two say nothing about each other.
  uint64_t epoch;
  // Node-wide, strictly increasing.
  uint64_t position;
  // Within the channel, 1, 2, 3, ...; 0 of an ephemeral message.
  uint64_t offset;
  // Connections of this node that follow the channel at that position.
  uint64_t subscribers;
  // FANFARE_DUPLICATE or 0; ignore other bits.
  uint32_t flags;
  // 0
  uint32_t reserved;
  // Those of the message's further channels, in their order. In a call that waits: an array of
  // the caller's, into which they are written, or null. In a callback: the library's, and it
  // ends with the call.
  struct fanfare_channel_receipt *also;
  // In a call that waits: for how many there is room.
  size_t also_room;
  // How many were written, or are there: none where there was no room for all.
  size_t also_count;
} fanfare_receipt;

// Hears what became of a message, once, on a thread of the library. It must not wait long (other
// outcomes wait behind it), not leave by longjmp or an exception, and every call that it makes
// into this library but fanfare_version, fanfare_abi and fanfare_result_text gives AGAIN. The
// receipt is the library's and ends with the call.
typedef void (*fanfare_callback)(void *user, const struct fanfare_receipt *receipt);

// Hears what became of the messages of a batch, once, as fanfare_callback does. The receipts are
// `count` structures one after the other, each of the size that the first one says; they are the
// library's and end with the call.
typedef void (*fanfare_batch_callback)(void *user,
                                       const struct fanfare_receipt *receipts,
                                       size_t count);

// Hears that what was queued before a fanfare_flush_async is done, once, as fanfare_callback does.
typedef void (*fanfare_flush_callback)(void *user, int32_t result);

// A publisher's numbers, counted since it was opened.
typedef struct fanfare_numbers {
  // sizeof(fanfare_numbers), set by the caller
  uint32_t size;
  // 1 while there is a node at the other end, else 0.
  uint32_t connected;
  // Messages without an outcome.
  uint64_t pending;
  // Messages that were published.
  uint64_t published;
  // Messages that were refused.
  uint64_t refused;
  // Messages of which nobody knows.
  uint64_t unknown;
  // Messages whose place was given to an earlier sending.
  uint64_t duplicates;
  // Messages that were sent again after a lost connection.
  uint64_t resent;
  // Connections that were made.
  uint64_t connects;
  // The life of the node that was heard of last; 0 before.
  uint64_t epoch;
  // Why the last connection ended or was not made; 0 where nothing went wrong.
  int32_t last_error;
  // Port where clients connect to an embedded node, else 0.
  uint32_t listen_port;
  // Port of the HTTP API of an embedded node, else 0.
  uint32_t api_port;
  // 0
  uint32_t reserved;
} fanfare_numbers;

// Done.
#define FANFARE_OK 0

// The handle is none: it was closed, or never opened, or is not this library's.
#define FANFARE_E_BADF -9

// Not now: the queue is full, or the call was made from inside of a callback. Nothing was queued.
#define FANFARE_E_AGAIN -11

// An argument cannot be: a null or misaligned pointer, a size that is none, a URL that cannot be
// read. Nothing was touched.
#define FANFARE_E_INVAL -22

// There are as many open handles as there may be.
#define FANFARE_E_MFILE -24

// The publisher was closed, or its node has ended. The message was not published.
#define FANFARE_E_PIPE -32

// The time given to the call is over. The message was queued and is still on its way.
#define FANFARE_E_TIMEOUT -110

// The library does not speak the version of the header that the program was compiled with, or the
// server does not speak the library's.
#define FANFARE_E_VERSION -70

// The process was forked after the handle was opened: open another one in the child.
#define FANFARE_E_FORKED -71

// The configuration of an embedded node has problems.
#define FANFARE_E_CONFIG -78

// What is needed is not there now: an address is taken, the machine lacks threads, memory or
// descriptors.
#define FANFARE_E_UNAVAILABLE -69

// Nobody knows what became of the message: it may be published or not.
#define FANFARE_E_UNKNOWN -75

// A panic in the library, which is a bug in it, or in a callback. The handle is of no use any
// more but to be closed.
#define FANFARE_E_PANIC -99

// Refused: this publisher may not publish there.
#define FANFARE_E_FORBIDDEN -403

// Refused: the idempotency key was used for another message.
#define FANFARE_E_CONFLICT -409

// Refused: the message is longer than one may be.
#define FANFARE_E_TOO_LARGE -413

// Refused: too many messages, try again later.
#define FANFARE_E_RATE_LIMITED -429

// Refused: the channel's name is not one.
#define FANFARE_E_BAD_CHANNEL -460

// Refused: the event's name is not one.
#define FANFARE_E_BAD_EVENT -461

// Refused: the idempotency key is empty or longer than 255 bytes.
#define FANFARE_E_BAD_KEY -462

// Refused: the data is empty, or not what its kind says.
#define FANFARE_E_BAD_DATA -463

// Refused: what is excluded is not the origin of a connection.
#define FANFARE_E_BAD_EXCEPT -465

// Refused: the message is for more channels than one may be, or for one of them twice.
#define FANFARE_E_BAD_CHANNELS -466

// Refused: the node keeps as many channels as it may, try again later.
#define FANFARE_E_CHANNEL_LIMIT -507

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the library as a number: major << 16 | minor << 8 | patch. Never 0. Any thread,
// any time, a signal handler too.
uint32_t fanfare_version(void);

// The ABI of the library: a program that was compiled with another FANFARE_ABI must be compiled
// again. Any thread, any time, a signal handler too.
uint32_t fanfare_abi(void);

// A sentence in English for a result. It is the library's, lives as long as it, and is never
// null. Any thread, any time, a signal handler too.
const char *fanfare_result_text(int32_t result);

// Opens a publisher and writes its handle, to be given to fanfare_close.
//
// `url` is "unix:/path/of/the/socket", or "embedded:" with the text of a configuration file
// (TOML) right behind it, which starts a whole node in this process. `options` may be null. With
// unix: it returns at once, whether or not a server is there, unless connect_ms says otherwise.
//
// INVAL: url, options or handle is null, misaligned or malformed. VERSION: options were compiled
// for another ABI. CONFIG, UNAVAILABLE, FORBIDDEN: see error_text. MFILE: 256 are open. AGAIN:
// from inside of a callback. Any thread.
int32_t fanfare_open(const char *url, const struct fanfare_options *options, fanfare_t *handle);

// Publishes one message.
//
// With `receipt` null the message is queued and the call returns at once; what becomes of it is
// told by fanfare_flush and fanfare_stats. Otherwise the call waits for the outcome, at most
// timeout_ms milliseconds, and writes the receipt when it is FANFARE_OK.
//
// AGAIN: the queue is full, or from inside of a callback; nothing was queued. TIMEOUT: it was
// queued and is still on its way. UNKNOWN: nobody knows whether it was published; with a key of
// the caller's it may be published again. PIPE: closed. INVAL: a pointer or size. BADF, FORKED,
// PANIC: the handle. The refusals: TOO_LARGE, BAD_CHANNEL, BAD_CHANNELS, BAD_EVENT, BAD_KEY,
// BAD_EXCEPT, BAD_DATA, CONFLICT, RATE_LIMITED, CHANNEL_LIMIT, FORBIDDEN, and minus the number of
// others. Any thread.
int32_t fanfare_publish(fanfare_t handle,
                        const struct fanfare_message *message,
                        uint64_t timeout_ms,
                        struct fanfare_receipt *receipt);

// Publishes one message; `callback` hears what became of it, with `user`, exactly once, on a
// thread of the library, before fanfare_close returns. It may be called before this returns. If
// this does not give FANFARE_OK it is not called.
//
// `user` is the caller's and must be good until then, on another thread. Never waits. Results as
// of fanfare_publish; TIMEOUT and UNKNOWN are for the callback. INVAL also for a null callback.
// Any thread.
int32_t fanfare_publish_async(fanfare_t handle,
                              const struct fanfare_message *message,
                              fanfare_callback callback,
                              void *user);

// Publishes several messages, one after the other with nothing else of this handle between them.
// `messages` are `count` structures one after the other, each of the size that the first one
// says. All of them are queued, or none: also where one is refused for what it is (BAD_CHANNEL,
// BAD_EVENT, BAD_KEY, BAD_DATA, and in an embedded node TOO_LARGE). What the server refuses later
// (CONFLICT, CHANNEL_LIMIT, ...) does not take the others with it.
//
// With `receipts` null the call returns at once. Otherwise they are `count` structures, each of
// the size that the first one says; the call waits for all outcomes, at most timeout_ms
// milliseconds, and writes them all, with TIMEOUT in those that are still on their way. It gives
// FANFARE_OK when all messages were published, else the result of the first that was not.
//
// Results as of fanfare_publish; TOO_LARGE also when the queue could never hold them all. INVAL
// also for a count of 0 or over 1,048,576. Any thread.
int32_t fanfare_publish_batch(fanfare_t handle,
                              const struct fanfare_message *messages,
                              size_t count,
                              uint64_t timeout_ms,
                              struct fanfare_receipt *receipts);

// Publishes several messages as fanfare_publish_batch does, all or none; `callback` hears what
// became of them when all have their outcome, with `user` and the receipts in the order of the
// messages, exactly once, on a thread of the library, before fanfare_close returns. It may be
// called before this returns. If this does not give FANFARE_OK nothing was queued and it is not
// called.
//
// `user` is the caller's and must be good until then, on another thread. Never waits. Results as
// of fanfare_publish_batch; TIMEOUT never, UNKNOWN is for the callback. INVAL also for a null
// callback. Any thread.
int32_t fanfare_publish_batch_async(fanfare_t handle,
                                    const struct fanfare_message *messages,
                                    size_t count,
                                    fanfare_batch_callback callback,
                                    void *user);

// Waits until every message that was queued before has its outcome and its callback has
// returned, at most timeout_ms milliseconds.
//
// TIMEOUT: not all have. PIPE: closed meanwhile. BADF, FORKED, PANIC: the handle. AGAIN: from
// inside of a callback. Any thread.
int32_t fanfare_flush(fanfare_t handle, uint64_t timeout_ms);

// As fanfare_flush, without waiting: `callback` hears when every message that was queued before
// has its outcome and its callback has returned, with `user` and FANFARE_OK, or with PIPE when
// the publisher was closed meanwhile or its node has ended; exactly once, on a thread of the
// library, before fanfare_close returns. It may be called before this returns. If this does not
// give FANFARE_OK it is not called.
//
// AGAIN: no room for the question, or from inside of a callback. PIPE: closed. INVAL: callback is
// null. BADF, FORKED, PANIC: the handle. Any thread.
int32_t fanfare_flush_async(fanfare_t handle, fanfare_flush_callback callback, void *user);

// Writes the publisher's numbers. Never waits.
//
// INVAL: numbers is null, misaligned or of another size. BADF, FORKED, PANIC: the handle. AGAIN:
// from inside of a callback. Any thread.
int32_t fanfare_stats(fanfare_t handle, struct fanfare_numbers *numbers);

// Closes a publisher: its handle is no more. Does not wait for messages: call fanfare_flush
// before. Those that were not sent end with PIPE, those that were sent and have no outcome with
// UNKNOWN; calls that wait return with that. An embedded node is stopped, which takes up to its
// limits.shutdown. When this returns every callback has returned and none will be called.
//
// BADF: not open (closed twice). FORKED: opened by the parent process, whose it stays. AGAIN:
// from inside of a callback. PANIC: a bug; the handle is closed. Any thread.
int32_t fanfare_close(fanfare_t handle);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FANFARE_H */
