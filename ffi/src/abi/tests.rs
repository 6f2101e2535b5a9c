//! What a C program cannot be made to do on purpose: panics on both sides of the boundary, and
//! structures of other versions. The rest is tested from C, in `ffi/tests`.

use std::ffi::{CString, c_void};

use super::calls::*;
use super::types::*;
use crate::code::*;

const QUIET: &str = "listen = \"127.0.0.1:0\"\napi = \"none\"\nsocket = \"none\"\n\
                     driver = \"epoll\"\nshards = 1\n";

fn embedded() -> Handle {
    let url = CString::new(format!("embedded:{QUIET}")).unwrap();
    let mut handle = 0;
    // SAFETY: a text with its NUL, and a place for the handle.
    assert_eq!(unsafe { fanfare_open(url.as_ptr(), std::ptr::null(), &mut handle) }, FANFARE_OK);
    handle
}

fn message(data: &[u8]) -> Message {
    Message {
        size: size_of::<Message>() as u32,
        kind: FANFARE_DETECT,
        channel: c"demo".as_ptr(),
        channel_size: 4,
        data: data.as_ptr().cast(),
        data_size: data.len(),
        event: std::ptr::null(),
        event_size: 0,
        key: std::ptr::null(),
        key_size: 0,
        except: std::ptr::null(),
        except_size: 0,
        flags: 0,
        reserved: 0,
        also: std::ptr::null(),
        also_count: 0,
    }
}

extern "C-unwind" fn panics(_user: *mut c_void, _receipt: *const Receipt) {
    panic!("on purpose");
}

#[test]
fn a_panic_in_a_call_poisons_the_handle() {
    let handle = embedded();
    assert_eq!(super::calls::with(handle, |_| panic!("on purpose")), FANFARE_E_PANIC);
    assert_eq!(fanfare_flush(handle, 60_000), FANFARE_E_PANIC);
    let message = message(b"x");
    // SAFETY: the message is one.
    let published = unsafe { fanfare_publish(handle, &message, 0, std::ptr::null_mut()) };
    assert_eq!(published, FANFARE_E_PANIC);
    assert_eq!(fanfare_close(handle), FANFARE_OK);
    assert_eq!(fanfare_close(handle), FANFARE_E_BADF);
}

#[test]
fn a_panic_in_a_callback_poisons_the_handle_and_nothing_else() {
    let (handle, other) = (embedded(), embedded());
    let message = message(b"x");
    // SAFETY: the message is one, and the callback uses nothing.
    let taken =
        unsafe { fanfare_publish_async(handle, &message, Some(panics), std::ptr::null_mut()) };
    assert_eq!(taken, FANFARE_OK);
    while fanfare_flush(handle, 60_000) == FANFARE_OK {
        std::thread::yield_now();
    }
    assert_eq!(fanfare_flush(handle, 60_000), FANFARE_E_PANIC);
    assert_eq!(fanfare_flush(other, 60_000), FANFARE_OK);
    assert_eq!((fanfare_close(handle), fanfare_close(other)), (FANFARE_OK, FANFARE_OK));
}

/// THREATS C8.
#[test]
fn structures_of_other_versions() {
    #[repr(C)]
    struct Larger {
        message: Message,
        tail: [u64; 3],
    }
    let handle = embedded();
    let publish = |larger: &Larger| {
        // SAFETY: it begins with a message, and is as large as it says.
        unsafe { fanfare_publish(handle, &larger.message, 0, std::ptr::null_mut()) }
    };
    let mut larger = Larger { message: message(b"x"), tail: [0; 3] };
    larger.message.size = size_of::<Larger>() as u32;
    assert_eq!(publish(&larger), FANFARE_OK, "a tail of zeros asks for nothing");
    larger.tail[2] = 1 << 40;
    assert_eq!(publish(&larger), FANFARE_E_INVAL, "a tail that asks for something is not known");
    larger.message.size = size_of::<Message>() as u32;
    assert_eq!(publish(&larger), FANFARE_OK, "what is not of the structure is not read");
    larger.message.flags = 8;
    assert_eq!(publish(&larger), FANFARE_E_INVAL, "no flag has this bit");
    larger.message.size = 72;
    assert_eq!(publish(&larger), FANFARE_OK, "the message of the first header ended before it");
    for size in [0, 4, 71, 5_000, u32::MAX] {
        larger.message.size = size;
        assert_eq!(publish(&larger), FANFARE_E_INVAL, "{size}");
    }
    assert_eq!(fanfare_close(handle), FANFARE_OK);
    for (size, abi, expected) in [
        (8, FANFARE_ABI, FANFARE_OK),
        (16, FANFARE_ABI, FANFARE_OK),
        (8, FANFARE_ABI + 1, FANFARE_E_VERSION),
        (8, 0, FANFARE_E_VERSION),
        (7, FANFARE_ABI, FANFARE_E_INVAL),
    ] {
        let options = Options {
            size,
            abi,
            queue_messages: 0,
            queue_bytes: 0,
            unknown_ms: 0,
            // Beyond the sizes above: not to be read, or this would take long.
            connect_ms: u64::MAX,
            error_text: std::ptr::null_mut(),
            error_text_size: 0,
        };
        let mut handle = 0;
        // SAFETY: a text with its NUL, options of at least the size that they say.
        let opened = unsafe { fanfare_open(c"unix:/nowhere".as_ptr(), &options, &mut handle) };
        assert_eq!(opened, expected, "{size} {abi}");
        assert_eq!(fanfare_close(handle), if expected == 0 { 0 } else { FANFARE_E_BADF });
    }
}
