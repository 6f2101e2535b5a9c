//! A way to publish, whatever it goes over.

/// How messages go out. An error is a sentence; nothing can be published after it.
pub(super) trait Outlet: Send {
    /// Publishes a payload to a channel, as the message with this sequence. May return before the
    /// server has it.
    fn send(&mut self, channel: &str, sequence: u32, payload: &[u8]) -> Result<(), String>;

    /// Sees to it that what was sent is under way.
    fn flush(&mut self) -> Result<(), String>;
}
