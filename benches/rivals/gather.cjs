// Gathers messages that come close together and hands them on at once.
//
// A publisher that waits for each answer sends its next message a few dozen microseconds after the
// answer. A server that fans out at once is then busy for many milliseconds before it reads that
// next message, and so never has two that could share a send. Waiting for a quiet moment costs no
// CPU and less than a twentieth of a fan-out's time, and every message of a window or a burst goes
// out in the same pass: each contender that has no such step of its own is quoted with this one
// where messages come in numbers, and without it where they come singly.

"use strict";

/// Milliseconds without a new message after which the gathered ones go out, and how many clients
/// add one more: the longer the fan-out, the more is won by one that is not needed.
const QUIET_MS = 1;
const CLIENTS_PER_MS = 4000;
/// The first message of a batch waits for no more than so many such moments.
const MOMENTS_MAX = 8;

/// Returns a function that takes one message. `fanOut` gets an array of them, in their order;
/// `clients` says how many there are.
module.exports = function gather(fanOut, clients) {
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
        const quiet = QUIET_MS + clients() / CLIENTS_PER_MS;
        if (waiting.push(message) === 1) {
            first = now;
        } else if (now - first >= MOMENTS_MAX * quiet) {
            return;
        }
        clearTimeout(timer);
        timer = setTimeout(go, quiet);
    };
};
