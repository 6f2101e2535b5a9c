// Gathers messages that come close together and hands them on at once.
//
// A publisher that waits for each answer sends its next message a few dozen microseconds after the
// answer. A server that fans out at once is then busy for many milliseconds before it reads that
// next message, and so never has two that could share a send. Waiting for a quiet millisecond costs
// no CPU and a hundredth of a fan-out's time, and every message of a window or a burst goes out in
// the same pass: each contender that has no such step of its own is quoted with this one.

"use strict";

/// Milliseconds without a new message after which the gathered ones go out.
const QUIET_MS = 1;
/// The first message of a batch waits no longer than this, in milliseconds.
const WAIT_MS_MAX = 10;

/// Returns a function that takes one message. `fanOut` gets an array of them, in their order.
module.exports = function gather(fanOut) {
    let waiting = [];
    let first = 0;
    let timer;
    const go = () => {
        timer = undefined;
        const messages = waiting;
        waiting = [];
        fanOut(messages);
    };
    return (message) => {
        const now = performance.now();
        if (waiting.push(message) === 1) {
            first = now;
        }
        if (timer !== undefined) {
            if (now - first >= WAIT_MS_MAX) {
                return;
            }
            clearTimeout(timer);
        }
        timer = setTimeout(go, QUIET_MS);
    };
};
