//! The sequencer's inbox: bounded, many senders, one reader.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::command::Command;

/// The sending side; one clone for each thread that asks.
#[derive(Clone)]
pub struct Inbox(Sender<Command>);

/// A command that was not taken, given back.
pub enum NotTaken {
    /// The inbox is full: offer it again later.
    Full(Command),
    /// The sequencer has ended: nobody will take it.
    Ended(Command),
}

/// An inbox of `commands` places and its reading side.
pub fn inbox(commands: usize) -> (Inbox, Receiver<Command>) {
    let (sender, receiver) = bounded(commands);
    (Inbox(sender), receiver)
}

impl Inbox {
    /// Offers a command without waiting: for shards and the control thread.
    #[allow(clippy::result_large_err)] // the command itself comes back, as it must
    pub fn offer(&self, command: Command) -> Result<(), NotTaken> {
        self.0.try_send(command).map_err(|error| match error {
            TrySendError::Full(command) => NotTaken::Full(command),
            TrySendError::Disconnected(command) => NotTaken::Ended(command),
        })
    }

    /// Waits for room: for threads that have nothing else to do (the publishers' socket is not
    /// read meanwhile, which is the backpressure). The command comes back when the sequencer ended.
    #[allow(clippy::result_large_err)]
    pub fn send(&self, command: Command) -> Result<(), Command> {
        self.0.send(command).map_err(|error| error.0)
    }
}
