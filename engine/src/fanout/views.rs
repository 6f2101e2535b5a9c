//! The views by which members of one channel read it: what its frames say beside the message, where
//! the dialect of those who asked for it repeats that ([`fanfare_protocol::dialect::Codec`]).
//!
//! A view is interned here and has a number, so that a subscription and a lane name it by five
//! bits. It is forgotten with the last subscription by it, and what was rendered by it goes too:
//! the next one may have its number. Most channels have none, and hold a word for it.

use std::sync::Arc;

use fanfare_protocol::limits::VIEWS_MAX;

/// Which view of a channel, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ViewNumber(u8);

impl ViewNumber {
    /// Bits that hold any.
    pub(super) const BITS: u32 = 5;

    /// Of these bits.
    pub(super) fn from_bits(bits: u32) -> Self {
        Self(bits as u8)
    }

    /// Its bits.
    pub(super) fn bits(self) -> u32 {
        self.0.into()
    }

    fn place(self) -> Option<usize> {
        usize::from(self.0).checked_sub(1)
    }
}

const _: () = assert!(VIEWS_MAX < 1 << ViewNumber::BITS);

#[derive(Debug)]
struct Interned {
    view: Arc<str>,
    /// Subscriptions by it.
    count: u32,
}

/// The views of one channel.
#[derive(Debug, Default)]
pub(super) struct Views(Option<Box<[Option<Interned>; VIEWS_MAX]>>);

impl Views {
    /// Whether a subscription by `view` has room.
    pub(super) fn has_room(&self, view: &str) -> bool {
        let has_room = |views: &[Option<Interned>; VIEWS_MAX]| {
            views.iter().any(|it| it.as_ref().is_none_or(|it| &*it.view == view))
        };
        self.0.as_deref().is_none_or(has_room)
    }

    /// A subscription more by `view`, which has room.
    pub(super) fn enter(&mut self, view: &Arc<str>) -> ViewNumber {
        let views = self.0.get_or_insert_default();
        let known = |it: &Option<Interned>| it.as_ref().is_some_and(|it| it.view == *view);
        let place = views.iter().position(known);
        let place = place.or_else(|| views.iter().position(Option::is_none));
        let place = place.expect("whoever enters has asked whether there is room");
        let interned = Interned { view: Arc::clone(view), count: 0 };
        views[place].get_or_insert(interned).count += 1;
        ViewNumber(place as u8 + 1)
    }

    /// A subscription less. Whether its view is forgotten with it.
    pub(super) fn leave(&mut self, number: ViewNumber) -> bool {
        let Some(place) = number.place() else { return false };
        let views = self.0.as_deref_mut().expect("it was entered");
        let interned = views[place].as_mut().expect("it was entered");
        interned.count -= 1;
        if interned.count > 0 {
            return false;
        }
        views[place] = None;
        if views.iter().all(Option::is_none) {
            self.0 = None;
        }
        true
    }

    /// What a view says.
    pub(super) fn get(&self, number: ViewNumber) -> Option<&str> {
        let interned = self.0.as_deref()?[number.place()?].as_ref();
        Some(&interned.expect("a subscription holds it").view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_has_a_number_until_nobody_reads_by_it() {
        let mut views = Views::default();
        let texts: Vec<Arc<str>> = (0..=VIEWS_MAX).map(|nth| nth.to_string().into()).collect();
        assert_eq!((size_of::<Views>(), views.get(ViewNumber::default())), (8, None));
        assert!(!views.leave(ViewNumber::default()), "no view is no matter");
        let numbers: Vec<_> = texts[..VIEWS_MAX].iter().map(|view| views.enter(view)).collect();
        assert!(numbers.iter().zip(&texts).all(|(it, view)| views.get(*it) == Some(view)));
        assert!(numbers.iter().all(|it| ViewNumber::from_bits(it.bits()) == *it && it.0 > 0));
        assert!(views.has_room(&texts[3]) && !views.has_room(&texts[VIEWS_MAX]), "one too many");
        assert_eq!(views.enter(&texts[3]), numbers[3], "the same one");
        assert!(!views.leave(numbers[3]) && !views.has_room(&texts[VIEWS_MAX]));
        assert!(views.leave(numbers[3]) && views.has_room(&texts[VIEWS_MAX]));
        assert_eq!(views.enter(&texts[VIEWS_MAX]), numbers[3], "what is free is used again");
        assert!(numbers.iter().all(|it| views.leave(*it)) && views.0.is_none());
    }
}
