//! Refusals that an operator should hear of, because only the configuration can end them: a page
//! whose origin is not listed, a name under which this node does not answer, a proxy that does not
//! say for whom it asks. Strangers can make as
//! many as they like, so the log gets one line of a kind in a while from each shard, and how many
//! it is for.

use fanfare_protocol::http::{Request, Violation};

use fanfare_identity::Identity;

use crate::authority::Denial;
use crate::clock::Millis;
use crate::diagnostics::line_limit::LineLimit;

/// From one line to the next.
const PAUSE_MS: u64 = 10_000;
/// What is told of a name. Longer ones are nobody's.
const CHARS_MAX: usize = 100;

/// What limits one shard's lines.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    origins: LineLimit<PAUSE_MS>,
    hosts: LineLimit<PAUSE_MS>,
    proxies: LineLimit<PAUSE_MS>,
    denials: LineLimit<PAUSE_MS>,
}

impl Complaints {
    /// Tells who was denied something, and by which rule.
    pub(super) fn about_denial(&mut self, denial: &Denial, who: Option<&Identity>, now: Millis) {
        let Some(untold) = self.denials.take(now) else { return };
        let tenant = who.map_or(ANONYMOUS, |who| who.tenant.as_str());
        let user = who.and_then(|who| who.user.as_ref()).map_or(ANONYMOUS, |user| user.as_str());
        let (error, rule) = (denial.violation.code(), &*denial.rule);
        tracing::info!(error, tenant, user, rule, untold, "a client was denied");
    }

    /// Tells of a refusal, where it is one of those, and its time has come.
    pub(super) fn about(&mut self, violation: Violation, request: &Request<'_>, now: Millis) {
        if violation == Violation::BadForwarded {
            if let Some(untold) = self.proxies.take(now) {
                tracing::warn!(
                    untold,
                    "a request was refused: a trusted proxy sent it and does not say readably for \
                     whom; its X-Forwarded-For, or what proxy_header names, must end in the \
                     address of its client"
                );
            }
            return;
        }
        let is_origin = matches!(violation, Violation::Origin | Violation::NullOrigin);
        if !is_origin && violation != Violation::ForeignHost {
            return;
        }
        let limit = if is_origin { &mut self.origins } else { &mut self.hosts };
        let Some(untold) = limit.take(now) else { return };
        if is_origin {
            let origin = shown(request.origin().ok().flatten().unwrap_or_default());
            if origin == "null" {
                tracing::warn!(
                    origin,
                    untold,
                    "a page was refused: one from a file or a sandboxed frame has no origin and \
                     may not connect; serve it over http"
                );
            } else {
                tracing::warn!(
                    origin,
                    untold,
                    "a page was refused: pages of this origin may not connect; to allow them: \
                     origins = [\"{origin}\"]"
                );
            }
        } else {
            let host = shown(request.host.unwrap_or_default());
            tracing::warn!(
                host,
                untold,
                "a request was refused: this node does not answer under this name; to allow it: \
                 hosts = [\"{host}\"], or --no-dev where this is development mode behind a proxy"
            );
        }
    }
}

/// What `user` of a log line is for nobody in particular.
const ANONYMOUS: &str = "";

/// The beginning of a name, which is ASCII without control characters.
fn shown(name: &str) -> &str {
    name.get(..CHARS_MAX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_in_part_only() {
        assert_eq!(shown("a.example"), "a.example");
        assert_eq!(shown(&"x".repeat(16_000)).len(), CHARS_MAX);
    }
}
