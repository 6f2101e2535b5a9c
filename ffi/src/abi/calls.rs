//! The calls of the C ABI.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use fanfare_protocol::ingest::{self as wire, ChannelNames, DeclaredKind, PublishFrame};
use fanfare_protocol::message::Kind;

use super::table::{self, Instance};
use super::types::{
    BatchCallback, Callback, ChannelReceipt, FANFARE_ABI, FANFARE_BINARY, FANFARE_DETECT,
    FANFARE_DUPLICATE, FANFARE_EPHEMERAL, FANFARE_JSON, FANFARE_TEXT, FlushCallback, Handle,
    Message, Numbers, Options, Receipt,
};
use super::{borrow, signals};
use crate::code::{
    self, Code, FANFARE_E_AGAIN, FANFARE_E_INVAL, FANFARE_E_PANIC, FANFARE_E_TIMEOUT,
    FANFARE_E_VERSION, FANFARE_OK,
};
use crate::outcome::{Done, Outcome, Ticket, together};
use crate::publisher::{Publisher, PublisherSettings};

/// Messages of one batch: enough that more is a mistake in a size.
const BATCH_MAX: usize = 1 << 20;

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// The version of the library as a number: major << 16 | minor << 8 | patch. Never 0. Any thread,
/// any time, a signal handler too.
#[unsafe(no_mangle)]
pub extern "C" fn fanfare_version() -> u32 {
    VERSION
}

const VERSION: u32 = number(env!("CARGO_PKG_VERSION_MAJOR")) << 16
    | number(env!("CARGO_PKG_VERSION_MINOR")) << 8
    | number(env!("CARGO_PKG_VERSION_PATCH"));
const _: () = assert!(VERSION != 0, "0 is what a program reads that has no library");

const fn number(text: &str) -> u32 {
    match u32::from_str_radix(text, 10) {
        Ok(number) if number < 256 => number,
        _ => panic!("a part of the version is a number below 256"),
    }
}

/// The ABI of the library: a program that was compiled with another FANFARE_ABI must be compiled
/// again. Any thread, any time, a signal handler too.
#[unsafe(no_mangle)]
pub extern "C" fn fanfare_abi() -> u32 {
    FANFARE_ABI
}

/// A sentence in English for a result. It is the library's, lives as long as it, and is never
/// null. Any thread, any time, a signal handler too.
#[unsafe(no_mangle)]
pub extern "C" fn fanfare_result_text(result: i32) -> *const c_char {
    code::text(result).as_ptr()
}

/// Opens a publisher and writes its handle, to be given to fanfare_close.
///
/// `url` is "unix:/path/of/the/socket", or "embedded:" with the text of a configuration file
/// (TOML) right behind it, which starts a whole node in this process. `options` may be null. With
/// unix: it returns at once, whether or not a server is there, unless connect_ms says otherwise.
///
/// INVAL: url, options or handle is null, misaligned or malformed. VERSION: options were compiled
/// for another ABI. CONFIG, UNAVAILABLE, FORBIDDEN: see error_text. MFILE: 256 are open. AGAIN:
/// from inside of a callback. Any thread.
///
/// # Safety
/// `url` ends with a NUL; `options` and `handle` point to what they say; nobody changes them
/// during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_open(
    url: *const c_char,
    options: *const Options,
    handle: *mut Handle,
) -> i32 {
    guard(|| {
        if handle.is_null() || !handle.is_aligned() {
            return Err(FANFARE_E_INVAL);
        }
        let options = if options.is_null() {
            None
        } else {
            // SAFETY: the caller's promise.
            Some(unsafe { borrow::read(options) }?)
        };
        if options.is_some_and(|options: Options| options.abi != FANFARE_ABI) {
            return Err(FANFARE_E_VERSION);
        }
        // SAFETY: the caller's promise.
        let url = unsafe { borrow::text(url) }?;
        let settings = settings(options.as_ref())?;
        let opened = signals::blocked(|| Publisher::open(url, settings)).map_err(|failure| {
            if let Some(options) = options {
                let (room, size) = (options.error_text, options.error_text_size);
                // SAFETY: the caller's promise about what the options point to.
                unsafe { borrow::write_text(&failure.text, room, size) };
            }
            failure.code
        })?;
        let instance = Instance { publisher: opened, poisoned: Arc::default() };
        let number = table::open(instance).map_err(|refused| {
            let (instance, code) = *refused;
            instance.publisher.close();
            code
        })?;
        // SAFETY: not null, aligned, the caller's.
        unsafe { handle.write(number) };
        Ok(())
    })
}

fn settings(options: Option<&Options>) -> Result<PublisherSettings, Code> {
    let mut settings = PublisherSettings::default();
    let Some(options) = options else { return Ok(settings) };
    let size = |number: u64| usize::try_from(number).map_err(|_| FANFARE_E_INVAL);
    if options.queue_messages > 0 {
        settings.queue_messages = size(options.queue_messages)?;
    }
    if options.queue_bytes > 0 {
        settings.queue_bytes = size(options.queue_bytes)?;
    }
    if options.unknown_ms > 0 {
        settings.unknown_ms = options.unknown_ms;
    }
    settings.connect_ms = options.connect_ms;
    Ok(settings)
}

/// Publishes one message.
///
/// With `receipt` null the message is queued and the call returns at once; what becomes of it is
/// told by fanfare_flush and fanfare_stats. Otherwise the call waits for the outcome, at most
/// timeout_ms milliseconds, and writes the receipt when it is FANFARE_OK.
///
/// AGAIN: the queue is full, or from inside of a callback; nothing was queued. TIMEOUT: it was
/// queued and is still on its way. UNKNOWN: nobody knows whether it was published; with a key of
/// the caller's it may be published again. PIPE: closed. INVAL: a pointer or size. BADF, FORKED,
/// PANIC: the handle. The refusals: TOO_LARGE, BAD_CHANNEL, BAD_CHANNELS, BAD_EVENT, BAD_KEY,
/// BAD_EXCEPT, BAD_DATA, CONFLICT, RATE_LIMITED, CHANNEL_LIMIT, FORBIDDEN, and minus the number of
/// others. Any thread.
///
/// # Safety
/// `message` and `receipt` point to structures of the size that they say, and the message to
/// bytes as many as it says; nobody changes them during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_publish(
    handle: Handle,
    message: *const Message,
    timeout_ms: u64,
    receipt: *mut Receipt,
) -> i32 {
    with(handle, |instance| {
        // SAFETY: the caller's promise.
        let message = unsafe { borrow::read(message) }?;
        // SAFETY: the caller's promise about what the message points to.
        let also = unsafe { borrow::names(message.also, message.also_count) }?;
        // SAFETY: as above.
        let frame = unsafe { frame(&message, &also) }?;
        if receipt.is_null() {
            return instance.publisher.offer(&frame, Done::Nobody);
        }
        // SAFETY: the caller's promise.
        let size = unsafe { borrow::size_of_theirs(receipt) }?;
        let ticket = Ticket::new(1);
        instance.publisher.offer(&frame, Done::Wait(Arc::clone(&ticket), 0))?;
        let outcome = ticket.wait(Duration::from_millis(timeout_ms)).pop().flatten();
        let (ours, also) = told(outcome);
        if ours.result == FANFARE_OK {
            // SAFETY: the size was judged above; it is the caller's, who does not use it now.
            unsafe { borrow::write_receipt(receipt, size, ours, &also) };
        }
        result(ours.result)
    })
}

/// Publishes one message; `callback` hears what became of it, with `user`, exactly once, on a
/// thread of the library, before fanfare_close returns. It may be called before this returns. If
/// this does not give FANFARE_OK it is not called.
///
/// `user` is the caller's and must be good until then, on another thread. Never waits. Results as
/// of fanfare_publish; TIMEOUT and UNKNOWN are for the callback. INVAL also for a null callback.
/// Any thread.
///
/// # Safety
/// As for fanfare_publish; `callback` may be called with `user` on another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_publish_async(
    handle: Handle,
    message: *const Message,
    callback: Callback,
    user: *mut c_void,
) -> i32 {
    with(handle, |instance| {
        let callback = callback.ok_or(FANFARE_E_INVAL)?;
        // SAFETY: the caller's promise.
        let message = unsafe { borrow::read(message) }?;
        // SAFETY: the caller's promise about what the message points to.
        let also = unsafe { borrow::names(message.also, message.also_count) }?;
        // SAFETY: as above.
        let frame = unsafe { frame(&message, &also) }?;
        let (user, poisoned) = (User(user), Arc::clone(&instance.poisoned));
        let call = move |outcome: Outcome| {
            let (user, (mut receipt, also)) = (user, told(Some(outcome)));
            lend(&mut receipt, &also);
            call_back(&poisoned, || callback(user.0, &receipt));
        };
        instance.publisher.offer(&frame, Done::Call(Box::new(call)))
    })
}

/// The program's, who promised that it may be used on another thread.
struct User(*mut c_void);
// SAFETY: only handed through to the callback, whose owner promised that it may.
unsafe impl Send for User {}

/// Calls a callback of the program: what it calls is told AGAIN, and a panic of it poisons.
fn call_back(poisoned: &AtomicBool, callback: impl FnOnce()) {
    IN_CALLBACK.set(true);
    let called = catch_unwind(AssertUnwindSafe(callback));
    IN_CALLBACK.set(false);
    if called.is_err() {
        poisoned.store(true, SeqCst);
    }
}

/// Publishes several messages, one after the other with nothing else of this handle between them.
/// `messages` are `count` structures one after the other, each of the size that the first one
/// says. All of them are queued, or none: also where one is refused for what it is (BAD_CHANNEL,
/// BAD_EVENT, BAD_KEY, BAD_DATA, and in an embedded node TOO_LARGE). What the server refuses later
/// (CONFLICT, CHANNEL_LIMIT, ...) does not take the others with it.
///
/// With `receipts` null the call returns at once. Otherwise they are `count` structures, each of
/// the size that the first one says; the call waits for all outcomes, at most timeout_ms
/// milliseconds, and writes them all, with TIMEOUT in those that are still on their way. It gives
/// FANFARE_OK when all messages were published, else the result of the first that was not.
///
/// Results as of fanfare_publish; TOO_LARGE also when the queue could never hold them all. INVAL
/// also for a count of 0 or over 1,048,576. Any thread.
///
/// # Safety
/// As for fanfare_publish, for each message and receipt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_publish_batch(
    handle: Handle,
    messages: *const Message,
    count: usize,
    timeout_ms: u64,
    receipts: *mut Receipt,
) -> i32 {
    with(handle, |instance| {
        // SAFETY: the caller's promise.
        let also = unsafe { names(messages, count) }?;
        // SAFETY: as above.
        let frames = unsafe { frames(messages, &also) }?;
        if receipts.is_null() {
            let nobody = (0..count).map(|_| Done::Nobody).collect();
            return instance.publisher.offer_batch(&frames, nobody);
        }
        // SAFETY: the caller's promise.
        let size = unsafe { borrow::size_of_theirs(receipts) }?;
        let ticket = Ticket::new(count);
        let waits = (0..count).map(|nth| Done::Wait(Arc::clone(&ticket), nth)).collect();
        instance.publisher.offer_batch(&frames, waits)?;
        let mut worst = FANFARE_OK;
        let outcomes = ticket.wait(Duration::from_millis(timeout_ms));
        for (nth, outcome) in outcomes.into_iter().enumerate() {
            let (ours, also) = told(outcome);
            worst = if worst == FANFARE_OK { ours.result } else { worst };
            // The first one's size was judged above, and the caller promised as many.
            let theirs = borrow::nth(receipts, size, nth).cast_mut();
            // SAFETY: as above, for the array of each.
            unsafe { borrow::write_receipt(theirs, size, ours, &also) };
        }
        result(worst)
    })
}

/// Publishes several messages as fanfare_publish_batch does, all or none; `callback` hears what
/// became of them when all have their outcome, with `user` and the receipts in the order of the
/// messages, exactly once, on a thread of the library, before fanfare_close returns. It may be
/// called before this returns. If this does not give FANFARE_OK nothing was queued and it is not
/// called.
///
/// `user` is the caller's and must be good until then, on another thread. Never waits. Results as
/// of fanfare_publish_batch; TIMEOUT never, UNKNOWN is for the callback. INVAL also for a null
/// callback. Any thread.
///
/// # Safety
/// As for fanfare_publish_batch; `callback` may be called with `user` on another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_publish_batch_async(
    handle: Handle,
    messages: *const Message,
    count: usize,
    callback: BatchCallback,
    user: *mut c_void,
) -> i32 {
    with(handle, |instance| {
        let callback = callback.ok_or(FANFARE_E_INVAL)?;
        // SAFETY: the caller's promise.
        let also = unsafe { names(messages, count) }?;
        // SAFETY: as above.
        let frames = unsafe { frames(messages, &also) }?;
        let (user, poisoned) = (User(user), Arc::clone(&instance.poisoned));
        let call = move |outcomes: Vec<Outcome>| {
            let told = outcomes.into_iter().map(|outcome| told(Some(outcome)));
            let (mut receipts, also): (Vec<_>, Vec<_>) = told.unzip();
            receipts.iter_mut().zip(&also).for_each(|(receipt, also)| lend(receipt, also));
            let user = user;
            call_back(&poisoned, || callback(user.0, receipts.as_ptr(), receipts.len()));
        };
        instance.publisher.offer_batch(&frames, together(count, call))
    })
}

/// Waits until every message that was queued before has its outcome and its callback has
/// returned, at most timeout_ms milliseconds.
///
/// TIMEOUT: not all have. PIPE: closed meanwhile. BADF, FORKED, PANIC: the handle. AGAIN: from
/// inside of a callback. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn fanfare_flush(handle: Handle, timeout_ms: u64) -> i32 {
    with(handle, |instance| instance.publisher.flush(Duration::from_millis(timeout_ms)))
}

/// As fanfare_flush, without waiting: `callback` hears when every message that was queued before
/// has its outcome and its callback has returned, with `user` and FANFARE_OK, or with PIPE when
/// the publisher was closed meanwhile or its node has ended; exactly once, on a thread of the
/// library, before fanfare_close returns. It may be called before this returns. If this does not
/// give FANFARE_OK it is not called.
///
/// AGAIN: no room for the question, or from inside of a callback. PIPE: closed. INVAL: callback is
/// null. BADF, FORKED, PANIC: the handle. Any thread.
///
/// # Safety
/// `callback` may be called with `user` on another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_flush_async(
    handle: Handle,
    callback: FlushCallback,
    user: *mut c_void,
) -> i32 {
    with(handle, |instance| {
        let callback = callback.ok_or(FANFARE_E_INVAL)?;
        let (user, poisoned) = (User(user), Arc::clone(&instance.poisoned));
        instance.publisher.flush_then(Box::new(move |flushed| {
            let user = user;
            let result = flushed.err().unwrap_or(FANFARE_OK);
            call_back(&poisoned, || callback(user.0, result));
        }))
    })
}

/// Writes the publisher's numbers. Never waits.
///
/// INVAL: numbers is null, misaligned or of another size. BADF, FORKED, PANIC: the handle. AGAIN:
/// from inside of a callback. Any thread.
///
/// # Safety
/// `numbers` points to a structure of the size that it says, which nobody uses during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_stats(handle: Handle, numbers: *mut Numbers) -> i32 {
    with(handle, |instance| {
        // SAFETY: the caller's promise.
        let size = unsafe { borrow::size_of_theirs(numbers) }?;
        let stats = instance.publisher.stats();
        let ours = Numbers {
            size: 0,
            connected: stats.connected.into(),
            pending: stats.pending,
            published: stats.published,
            refused: stats.refused,
            unknown: stats.unknown,
            duplicates: stats.duplicates,
            resent: stats.resent,
            connects: stats.connects,
            epoch: stats.epoch,
            last_error: stats.last_error,
            listen_port: stats.listen_port.into(),
            api_port: stats.api_port.into(),
            reserved: 0,
        };
        // SAFETY: the size was judged above; it is the caller's, who does not use it now.
        unsafe { borrow::write(numbers, size, &ours) };
        Ok(())
    })
}

/// Closes a publisher: its handle is no more. Does not wait for messages: call fanfare_flush
/// before. Those that were not sent end with PIPE, those that were sent and have no outcome with
/// UNKNOWN; calls that wait return with that. An embedded node is stopped, which takes up to its
/// limits.shutdown. When this returns every callback has returned and none will be called.
///
/// BADF: not open (closed twice). FORKED: opened by the parent process, whose it stays. AGAIN:
/// from inside of a callback. PANIC: a bug; the handle is closed. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn fanfare_close(handle: Handle) -> i32 {
    guard(|| {
        let instance = table::close(handle)?;
        instance.publisher.close();
        Ok(())
    })
}

/// The gate of every call: not inside of a callback, and no panic passes.
fn guard(call: impl FnOnce() -> Result<(), Code>) -> Code {
    if IN_CALLBACK.get() {
        return FANFARE_E_AGAIN;
    }
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => FANFARE_OK,
        Ok(Err(code)) => code,
        Err(_) => FANFARE_E_PANIC,
    }
}

/// The gate of every call on a handle; a panic poisons it.
pub(super) fn with(handle: Handle, call: impl FnOnce(&Instance) -> Result<(), Code>) -> Code {
    guard(|| {
        let instance = table::find(handle)?;
        if instance.poisoned.load(SeqCst) {
            return Err(FANFARE_E_PANIC);
        }
        catch_unwind(AssertUnwindSafe(|| call(&instance))).unwrap_or_else(|_| {
            instance.poisoned.store(true, SeqCst);
            Err(FANFARE_E_PANIC)
        })
    })
}

/// The further channels of messages that lie one after the other.
///
/// # Safety
/// There are `count` of the size that the first one says, they and what they point to are there,
/// and nobody changes it for `'a`.
unsafe fn names<'a>(messages: *const Message, count: usize) -> Result<Vec<Vec<&'a [u8]>>, Code> {
    if count == 0 || count > BATCH_MAX {
        return Err(FANFARE_E_INVAL);
    }
    // SAFETY: the caller's promise, for this and for all that follow.
    let size = unsafe { borrow::size_of_theirs(messages) }?;
    let mut names = Vec::with_capacity(count);
    for nth in 0..count {
        // SAFETY: as above; all are of one size, so this is where the n-th one begins.
        let message = unsafe { borrow::read(borrow::nth(messages, size, nth)) }?;
        // SAFETY: the caller's promise about what the message points to.
        names.push(unsafe { borrow::names(message.also, message.also_count) }?);
    }
    Ok(names)
}

/// The messages whose further channels are `also`, as the publisher takes them.
///
/// # Safety
/// As for [`names`], which has read them.
unsafe fn frames<'a>(
    messages: *const Message,
    also: &'a [Vec<&'a [u8]>],
) -> Result<Vec<PublishFrame<'a>>, Code> {
    // SAFETY: the caller's promise, for this and for all that follow.
    let size = unsafe { borrow::size_of_theirs(messages) }?;
    let mut frames = Vec::with_capacity(also.len());
    for (nth, also) in also.iter().enumerate() {
        // SAFETY: as above; all are of one size, so this is where the n-th one begins.
        let message = unsafe { borrow::read(borrow::nth(messages, size, nth)) }?;
        // SAFETY: the caller's promise about what the message points to.
        frames.push(unsafe { frame(&message, also) }?);
    }
    Ok(frames)
}

/// A message as the publisher takes it.
///
/// # Safety
/// What the message points to is there, and nobody changes it for `'a`.
unsafe fn frame<'a>(message: &Message, also: &'a [&'a [u8]]) -> Result<PublishFrame<'a>, Code> {
    let kind = match message.kind {
        FANFARE_DETECT => DeclaredKind::Detect,
        FANFARE_JSON => DeclaredKind::Known(Kind::Json),
        FANFARE_TEXT => DeclaredKind::Known(Kind::Text),
        FANFARE_BINARY => DeclaredKind::Known(Kind::Binary),
        _ => return Err(FANFARE_E_INVAL),
    };
    if message.flags & !FANFARE_EPHEMERAL != 0 || message.reserved != 0 {
        return Err(FANFARE_E_INVAL);
    }
    // SAFETY: the caller's promise is passed on.
    let (channel, data, event, idempotency_key, except) = unsafe {
        (
            borrow::bytes(message.channel, message.channel_size)?,
            borrow::bytes(message.data, message.data_size)?,
            borrow::optional(message.event, message.event_size)?,
            borrow::optional(message.key, message.key_size)?,
            borrow::optional(message.except, message.except_size)?,
        )
    };
    let unknown_required = None;
    Ok(PublishFrame {
        answer: false,
        kind,
        channel,
        event,
        idempotency_key,
        ephemeral: message.flags & FANFARE_EPHEMERAL != 0,
        except,
        also: ChannelNames::of(also),
        data,
        unknown_required,
    })
}

/// An outcome as C programs read it, and that in each further channel; `None` is on its way.
fn told(outcome: Option<Outcome>) -> (Receipt, Vec<ChannelReceipt>) {
    let (result, placed) = match outcome {
        None => (FANFARE_E_TIMEOUT, None),
        Some(Err(code)) => (code, None),
        Some(Ok(placed)) => (FANFARE_OK, Some(placed)),
    };
    let placed = placed.unwrap_or_default();
    let receipt = Receipt {
        size: size_of::<Receipt>() as u32,
        result,
        epoch: placed.epoch,
        position: placed.position,
        offset: placed.offset,
        subscribers: placed.subscribers,
        flags: if placed.duplicate { FANFARE_DUPLICATE } else { 0 },
        reserved: 0,
        also: std::ptr::null_mut(),
        also_room: 0,
        also_count: 0,
    };
    let also = placed.also.iter().flat_map(|also| also.iter());
    let ours = |&wire::ChannelReceipt { offset, subscribers }: &wire::ChannelReceipt| {
        ChannelReceipt { offset, subscribers }
    };
    (receipt, also.map(ours).collect())
}

/// Lets a receipt name those of its further channels, which live as long as the callback that
/// reads it.
fn lend(receipt: &mut Receipt, also: &[ChannelReceipt]) {
    if !also.is_empty() {
        receipt.also = also.as_ptr().cast_mut();
        (receipt.also_room, receipt.also_count) = (also.len(), also.len());
    }
}

fn result(code: Code) -> Result<(), Code> {
    if code == FANFARE_OK { Ok(()) } else { Err(code) }
}
