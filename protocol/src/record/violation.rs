//! What makes a record unreadable.

/// What makes a record unreadable, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The byte of the record, or of the frames, that is wrong.
    pub offset: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ends in the middle.
    Truncated,
    /// Bytes follow its last item.
    TrailingBytes,
    /// A version that is not spoken here.
    Version,
    /// A flag that is not known here.
    Flag,
    /// More items than a record may have.
    TooManyItems,
    /// An item that must be understood and is not known here.
    UnknownItem(u8),
    /// A field that must be understood and is not known here.
    UnknownField(u8),
    /// An item's body is shorter than what it must hold, or longer.
    ItemLength,
    /// Fields do not rise by number, or one is longer than there are bytes, or not of its length.
    Field,
    /// A kind of payload or of delivery that is not known here.
    Kind,
    /// A name is not UTF-8.
    Name,
    /// A publication without a channel.
    NoChannel,
}

/// What is wrong at this byte.
pub(super) fn violation(offset: u64, fault: Fault) -> Violation {
    Violation { offset, fault }
}
