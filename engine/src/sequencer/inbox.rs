//! The sequencer's inbox: bounded, many senders, one reader.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::command::{Command, PublishAnswer, Refusal};

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

/// Stands in for a sequencer that was lost, until the node is stopped or nobody is left to ask:
/// publishes are refused, everything else is dropped unanswered. Without it, whoever was in the
/// inbox would wait for as long as anyone else could still ask.
pub fn refuse_until_shutdown(commands: &Receiver<Command>) {
    for command in commands {
        match command {
            Command::Publish(_, PublishAnswer::Callback(answer)) => {
                answer(Err(Refusal::ShuttingDown));
            }
            Command::PublishBatch(publications, answer) => {
                answer(vec![Err(Refusal::ShuttingDown); publications.len()]);
            }
            Command::Shutdown => return,
            _ => {}
        }
    }
}
