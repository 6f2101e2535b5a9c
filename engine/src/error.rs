//! What may go wrong at start, by blame.
