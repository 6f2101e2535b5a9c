//! The `Date` of answers: one text for all answers of a second.

use fanfare_protocol::http::HttpDate;

use crate::clock::{Millis, Wall};

/// The text of the present second, and until when it is present.
#[derive(Debug)]
pub(super) struct Dates {
    wall: Wall,
    text: HttpDate,
    until: Millis,
}

impl Dates {
    /// Reads the time of day when it is first asked.
    pub(super) fn new(wall: Wall) -> Self {
        Self { wall, text: HttpDate::from_unix_seconds(0), until: Millis(0) }
    }

    /// The date of an answer that is written now. The time of day is read once in a second.
    pub(super) fn at(&mut self, now: Millis) -> HttpDate {
        if now >= self.until {
            let millis = self.wall.unix_millis(now);
            self.text = HttpDate::from_unix_seconds(millis / 1_000);
            self.until = now.plus(1_000 - millis % 1_000);
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_date_and_the_next_another() {
        // Half a second before RFC 9110's own example.
        let mut dates = Dates::new(Wall::Since(784_111_776_500));
        for (now, second) in [(0, "36"), (499, "36"), (500, "37"), (1_499, "37"), (61_500, "38")] {
            let expected = format!(":{second} GMT");
            let date = dates.at(Millis(now));
            assert!(date.as_str().ends_with(&expected), "{now}: {date:?}");
        }
        assert_eq!(dates.at(Millis(61_600)).as_str(), "Sun, 06 Nov 1994 08:50:38 GMT");
    }
}
