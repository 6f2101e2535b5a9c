//! Lies that clients and backends tell themselves, to see that the oracle hears them.

use clap::ValueEnum;

use super::wire::Said;

/// A lie about what was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Canary {
    /// A message is left out.
    Lose,
    /// A message comes twice.
    Double,
    /// Two messages change places.
    Swap,
    /// An offset is one too high.
    WrongOffset,
    /// A bit of a payload is another one.
    Flip,
    /// A gap ends one message late.
    GapTooLong,
    /// Slow clients are told of no gap.
    LoseSlow,
    /// A message comes with another of its channels than the first that is followed.
    OtherChannel,
    /// Clients are not told that an epoch began.
    LoseEpoch,
    /// A backend is told an offset that is one too high.
    WrongOutcome,
    /// Who publishes is told the place of another's message.
    WrongTicket,
    /// Who asks for what is kept does not hear the first of it.
    LoseOldest,
    /// Who asks for the last so many hears of them as if it had asked for one less.
    OneTooOld,
    /// What is published again is so without its key.
    ForgetKey,
    /// A client with commands does not hear what came of one.
    LoseAnswer,
    /// It hears it twice.
    AnswerTwice,
}

/// Tells a client this lie about what it has read.
pub(super) fn spoil(canary: Canary, said: &mut Vec<Said>) {
    let messages: Vec<usize> =
        (0..said.len()).filter(|nth| matches!(said[*nth], Said::Message(_))).collect();
    match (canary, &messages[..]) {
        (Canary::Lose, [first, _, ..]) => drop(said.remove(*first)),
        (Canary::Double, [first, ..]) => said.insert(*first, said[*first].clone()),
        (Canary::Swap, [first, second, ..]) => said.swap(*first, *second),
        (Canary::WrongOffset, [first, ..]) => {
            if let Said::Message(message) = &mut said[*first] {
                message.offset = message.offset.map(|offset| offset + 1);
            }
        }
        (Canary::Flip, [first, ..]) => {
            if let Said::Message(message) = &mut said[*first] {
                *message.payload.last_mut().unwrap() ^= 1;
            }
        }
        (Canary::GapTooLong, _) => {
            for one in said {
                if let Said::Gap(gap) = one {
                    gap.bounds = gap.bounds.map(|(from, to)| (from, to + 1));
                }
            }
        }
        (Canary::LoseEpoch, _) => {
            said.retain(|one| !matches!(one, Said::Gap(gap) if gap.reason == "epoch"));
        }
        (Canary::LoseSlow, _) => {
            said.retain(|one| !matches!(one, Said::Gap(gap) if gap.reason == "slow"));
        }
        (Canary::LoseAnswer, _) => {
            let answer = said.iter().position(is_answer);
            answer.map(|nth| said.remove(nth));
        }
        (Canary::AnswerTwice, _) => {
            let answer = said.iter().position(is_answer);
            answer.iter().for_each(|nth| said.insert(*nth, said[*nth].clone()));
        }
        _ => {}
    }
}

/// Whether it is what came of a command.
fn is_answer(said: &Said) -> bool {
    matches!(said, Said::Told(text) if text.starts_with(|first: char| first.is_ascii_digit()))
}
