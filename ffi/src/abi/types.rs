//! The structures of the C ABI. Each begins with its own size, so that it can grow at its end:
//! an older program's smaller one is taken, and a newer program's larger one too as long as the
//! part that is not known here is zero.

use std::ffi::{c_char, c_void};
use std::mem::offset_of;

use super::extensible::Extensible;

/// The ABI that this library speaks: it changes when a program must be compiled again.
pub const FANFARE_ABI: u32 = 1;

/// The server finds out: JSON where the bytes are valid JSON, text where they are other UTF-8,
/// else binary.
pub const FANFARE_DETECT: u32 = 0;
/// JSON; refused where it is not valid.
pub const FANFARE_JSON: u32 = 1;
/// Text; refused where it is not UTF-8.
pub const FANFARE_TEXT: u32 = 2;
/// Bytes.
pub const FANFARE_BINARY: u32 = 3;

/// A flag of a message: it is for those who follow the channel now; it has no offset, and nobody
/// keeps it.
pub const FANFARE_EPHEMERAL: u32 = 1;

/// A flag of a receipt: an earlier sending of the message got the place, by the caller or by the
/// library itself after a lost connection.
pub const FANFARE_DUPLICATE: u32 = 1;

/// An open publisher: a number, so that one that was closed, closed twice or never opened is
/// recognized. 0 is never open.
pub type Handle = u64;

/// How to open. Zero means the default everywhere but in `size` and `abi`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// sizeof(fanfare_options)
    pub size: u32,
    /// FANFARE_ABI
    pub abi: u32,
    /// Messages without an outcome after which calls give AGAIN. Default 65,536.
    pub queue_messages: u64,
    /// Their bytes. Default 64 MiB.
    pub queue_bytes: u64,
    /// Milliseconds after which a message that was sent, and whose connection was lost and not made
    /// again, is told UNKNOWN. Longer than the server's limits.publisher_session_age it is of no
    /// use. Default 240,000.
    pub unknown_ms: u64,
    /// Milliseconds that fanfare_open waits for a server to answer. Default 0: it does not wait,
    /// and the library connects when there is one.
    pub connect_ms: u64,
    /// Where fanfare_open writes why it failed, with a NUL at its end; may be null. The caller's;
    /// used during the call only.
    pub error_text: *mut c_char,
    /// Bytes at error_text.
    pub error_text_size: usize,
}

/// The name of a channel, which need not end with a NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// 1 to 255 bytes of UTF-8.
    pub name: *const c_char,
    /// How many bytes.
    pub size: usize,
}

/// Where a message stands in one channel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ChannelReceipt {
    /// Within the channel, 1, 2, 3, ...; 0 of an ephemeral message.
    pub offset: u64,
    /// Connections of this node that follow the channel at that position.
    pub subscribers: u64,
}

/// One message. Everything it points to is the caller's, and is used during the call only.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// sizeof(fanfare_message)
    pub size: u32,
    /// FANFARE_DETECT, FANFARE_JSON, FANFARE_TEXT or FANFARE_BINARY
    pub kind: u32,
    /// 1 to 255 bytes of UTF-8; no NUL is needed.
    pub channel: *const c_char,
    /// Bytes of the channel's name.
    pub channel_size: usize,
    /// The payload, at least one byte.
    pub data: *const c_void,
    /// Bytes of the payload.
    pub data_size: usize,
    /// The name of the event; null for none.
    pub event: *const c_char,
    /// Bytes of the event's name.
    pub event_size: usize,
    /// The idempotency key, 1 to 255 bytes; null for none.
    pub key: *const c_void,
    /// Bytes of the key.
    pub key_size: usize,
    /// The origin of the connection that does not get it, as that connection was told it: sixteen
    /// hexadecimal digits. Null for none.
    pub except: *const c_char,
    /// Bytes of the origin.
    pub except_size: usize,
    /// FANFARE_EPHEMERAL or 0
    pub flags: u32,
    /// 0
    pub reserved: u32,
    /// Further channels for the same message, at the same position: who follows several of them
    /// gets it once. None of them twice; null for none.
    pub also: *const Name,
    /// How many.
    pub also_count: usize,
}

/// What became of a message.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Receipt {
    /// sizeof(fanfare_receipt), set by the caller
    pub size: u32,
    /// The result of this message; the rest is zero unless it is FANFARE_OK.
    pub result: i32,
    /// Which life of the node: a server that was restarted has another one, and positions and
    /// offsets of two say nothing about each other.
    pub epoch: u64,
    /// Node-wide, strictly increasing.
    pub position: u64,
    /// Within the channel, 1, 2, 3, ...; 0 of an ephemeral message.
    pub offset: u64,
    /// Connections of this node that follow the channel at that position.
    pub subscribers: u64,
    /// FANFARE_DUPLICATE or 0; ignore other bits.
    pub flags: u32,
    /// 0
    pub reserved: u32,
    /// Those of the message's further channels, in their order. In a call that waits: an array of
    /// the caller's, into which they are written, or null. In a callback: the library's, and it
    /// ends with the call.
    pub also: *mut ChannelReceipt,
    /// In a call that waits: for how many there is room.
    pub also_room: usize,
    /// How many were written, or are there: none where there was no room for all.
    pub also_count: usize,
}

/// A publisher's numbers, counted since it was opened.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// sizeof(fanfare_numbers), set by the caller
    pub size: u32,
    /// 1 while there is a node at the other end, else 0.
    pub connected: u32,
    /// Messages without an outcome.
    pub pending: u64,
    /// Messages that were published.
    pub published: u64,
    /// Messages that were refused.
    pub refused: u64,
    /// Messages of which nobody knows.
    pub unknown: u64,
    /// Messages whose place was given to an earlier sending.
    pub duplicates: u64,
    /// Messages that were sent again after a lost connection.
    pub resent: u64,
    /// Connections that were made.
    pub connects: u64,
    /// The life of the node that was heard of last; 0 before.
    pub epoch: u64,
    /// Why the last connection ended or was not made; 0 where nothing went wrong.
    pub last_error: i32,
    /// Port where clients connect to an embedded node, else 0.
    pub listen_port: u32,
    /// Port of the HTTP API of an embedded node, else 0.
    pub api_port: u32,
    /// 0
    pub reserved: u32,
}

/// Hears what became of a message, once, on a thread of the library. It must not wait long (other
/// outcomes wait behind it), not leave by longjmp or an exception, and every call that it makes
/// into this library but fanfare_version, fanfare_abi and fanfare_result_text gives AGAIN. The
/// receipt is the library's and ends with the call.
pub type Callback = Option<extern "C-unwind" fn(user: *mut c_void, receipt: *const Receipt)>;

/// Hears what became of the messages of a batch, once, as fanfare_callback does. The receipts are
/// `count` structures one after the other, each of the size that the first one says; they are the
/// library's and end with the call.
pub type BatchCallback =
    Option<extern "C-unwind" fn(user: *mut c_void, receipts: *const Receipt, count: usize)>;

/// Hears that what was queued before a fanfare_flush_async is done, once, as fanfare_callback does.
pub type FlushCallback = Option<extern "C-unwind" fn(user: *mut c_void, result: i32)>;

// SAFETY: repr(C), the first field is `size: u32`, no padding between 64-bit fields, and all-zero
// bytes are a value of each field (null pointers included).
unsafe impl Extensible for Options {
    /// Up to and with `abi`.
    const SIZE_MIN: usize = 8;
}
// SAFETY: as above.
unsafe impl Extensible for Message {
    /// Up to and with `key_size`.
    const SIZE_MIN: usize = offset_of!(Message, except);
}
// SAFETY: as above.
unsafe impl Extensible for Receipt {
    /// Up to and with `reserved`.
    const SIZE_MIN: usize = offset_of!(Receipt, also);
}
// SAFETY: as above.
unsafe impl Extensible for Numbers {
    const SIZE_MIN: usize = size_of::<Numbers>();
}

// What is compiled into programs: a structure grows at its end, and every other change here is
// another ABI.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(
    size_of::<Options>() == 56
        && size_of::<Message>() == 112
        && Message::SIZE_MIN == 72
        && size_of::<Receipt>() == 72
        && Receipt::SIZE_MIN == 48
        && size_of::<Name>() == 16
        && size_of::<ChannelReceipt>() == 16
        && size_of::<Numbers>() == 88
);
