//! Whom the node believes when they say for whom they ask: `trusted_proxies`, `proxy_header`,
//! `proxy_protocol`.

use super::document::Section;
use super::read;
use super::source::{Problem, Sourced};
use crate::admission::forwarded::{ForwardedField, TrustedProxies};

/// What a file said of proxies. `None` where it was silent.
#[derive(Debug, Default)]
pub(super) struct ProxiesSaid {
    pub(super) trusted: Option<Sourced<Vec<String>>>,
    pub(super) field: Option<Sourced<ForwardedField>>,
    pub(super) protocol: Option<Sourced<bool>>,
}

impl ProxiesSaid {
    /// Reads the three keys.
    pub(super) fn read(root: &Section<'_, '_>) -> Self {
        Self {
            trusted: root.list("trusted_proxies", |value| {
                let range = read::text(value)?;
                TrustedProxies::new(std::slice::from_ref(&range)).map(|_| range)
            }),
            field: root.value("proxy_header", read::word(ForwardedField::parse)),
            protocol: root.value("proxy_protocol", read::switch),
        }
    }

    /// The list as it was written.
    pub(super) fn list(&self) -> Vec<String> {
        self.trusted.as_ref().map_or_else(Vec::new, |said| said.value.clone())
    }

    /// What counts.
    pub(super) fn proxies(&self) -> TrustedProxies {
        let mut proxies = TrustedProxies::new(&self.list()).unwrap_or_default();
        proxies.field = self.field.as_ref().map_or_else(Default::default, |said| said.value);
        proxies.proxy_protocol = self.protocol.as_ref().is_some_and(|said| said.value);
        proxies
    }

    /// What is said of proxies where none is trusted would be done by nobody.
    pub(super) fn problems(&self) -> Vec<Problem> {
        if !self.list().is_empty() {
            return Vec::new();
        }
        const LIST: &str = "list the proxies, as in trusted_proxies = [\"10.0.0.0/8\"]";
        let mut problems = Vec::new();
        if let Some(said) = self.protocol.as_ref().filter(|said| said.value) {
            let what = format!(
                "proxy_protocol: only trusted proxies may speak it, and none is, so that nobody \
                 could connect: {LIST}"
            );
            problems.push(Problem::new(said.source.clone(), what));
        }
        if let Some(said) = &self.field {
            let what =
                format!("proxy_header: it is read of trusted proxies alone, and none is: {LIST}");
            problems.push(Problem::new(said.source.clone(), what));
        }
        problems
    }
}
