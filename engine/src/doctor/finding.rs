//! One thing that was looked at: what is, whether it holds, what to change.

/// Whether it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Holds,
    /// It holds, but something is lost that need not be.
    Advice,
    /// The node will not start, or will not hold its connections.
    Fails,
}

impl Verdict {
    /// As machines read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Advice => "advice",
            Self::Fails => "fails",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at. A name that was given out keeps its meaning.
    pub check: &'static str,
    /// Whether it holds.
    pub verdict: Verdict,
    /// What is.
    pub is: String,
    /// Why that is not enough. Empty where it holds.
    pub why: String,
    /// What to change: each a command to be copied, or a setting and where it stands. One of them
    /// is enough, unless they say otherwise.
    pub change: Vec<String>,
}

impl Finding {
    /// It is as it should be.
    pub fn holds(check: &'static str, is: impl Into<String>) -> Self {
        let (is, why, change) = (is.into(), String::new(), Vec::new());
        Self { check, verdict: Verdict::Holds, is, why, change }
    }

    /// It holds, and could be better.
    pub fn advice(check: &'static str, is: impl Into<String>, why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Advice, why: why.into(), ..Self::holds(check, is) }
    }

    /// It does not hold.
    pub fn fails(check: &'static str, is: impl Into<String>, why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fails, why: why.into(), ..Self::holds(check, is) }
    }

    /// With one more way to change it.
    #[must_use]
    pub fn change(mut self, how: impl Into<String>) -> Self {
        self.change.push(how.into());
        self
    }

    /// As [`Finding::change`], where there is such a way.
    #[must_use]
    pub fn maybe(self, how: Option<String>) -> Self {
        match how {
            Some(how) => self.change(how),
            None => self,
        }
    }
}

/// A number as people read it: `100,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes as people read it: `4.2 GiB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1_024 {
        return format!("{number} bytes");
    }
    let (mut value, mut unit) = (number as f64 / 1_024.0, 0);
    while value >= 1_024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1_024.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_aloud() {
        let read = [0, 999, 1_000, 100_000, 2_000_000].map(grouped);
        assert_eq!(read, ["0", "999", "1,000", "100,000", "2,000,000"]);
        let sizes = [12, 2_048, 3 << 29, 5 << 40, 9 << 50].map(bytes);
        assert_eq!(sizes, ["12 bytes", "2.0 KiB", "1.5 GiB", "5.0 TiB", "9216.0 TiB"]);
    }
}
