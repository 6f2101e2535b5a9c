//! Whether a client may still be here: what becomes of it when its token ends, or when it may not
//! do any more what it does.

use std::sync::Arc;

use fanfare_identity::Identity;
use fanfare_protocol::dialect::TokenNotice;
use fanfare_protocol::http::Violation;

use super::Session;
use super::asking::BringResult;
use super::effect::Effect;
use super::here::Here;
use super::leaving::Farewell;
use super::outbox::private;
use super::refresh::{self, Refreshed};
use super::shared::ShardResources;
use super::state::State;
use super::tenure::TenureNews;
use crate::authority::Denial;
use crate::clock::Millis;
use crate::transport::websocket::close_of;

impl Session {
    /// A request on another socket has brought a new token of this identity for its stream.
    pub(crate) fn refresh(
        &mut self,
        identity: Arc<Identity>,
        now: Millis,
        shared: &mut ShardResources,
    ) -> BringResult {
        let State::Stream(stream) = &self.state else { return BringResult::Gone };
        let encoding = stream.encoding();
        let here = &mut Here::new(&mut self.line, now, shared);
        match refresh::by_identity(identity, encoding, here) {
            Refreshed::Done => BringResult::Taken,
            Refreshed::Denied(denial) => {
                here.shared.denied(&denial, here.line.identity().map(|it| &**it), now);
                BringResult::Foreign
            }
        }
    }

    /// It may not do what it does any more: it is told so, and leaves.
    pub(crate) fn deny(&mut self, denial: &Denial, now: Millis, shared: &mut ShardResources) {
        shared.denied(denial, self.line.identity().map(|it| &**it), now);
        self.exchange(now, shared, |exchange, here| exchange.deny(denial.violation, here));
        let (code, reason) = close_of(denial.violation);
        self.farewell(Farewell::Denied(code, reason), shared.context.limits.close_ms, now, shared);
    }

    /// What time does to the token that it has shown. Whether it is over.
    pub(super) fn age(&mut self, told: Millis, now: Millis, shared: &mut ShardResources) -> bool {
        let State::Stream(stream) = &self.state else { return false };
        let encoding = stream.encoding();
        match self.line.tenure.as_mut().map_or(TenureNews::None, |tenure| tenure.news(told)) {
            TenureNews::None => false,
            TenureNews::EndsIn(in_s) => {
                encoding.token(TokenNotice::Expiring(in_s), private(&mut self.line.outbox));
                shared.want(Effect::Visit);
                false
            }
            TenureNews::Over => {
                let rule = "the token of the connection has expired".into();
                self.deny(&Denial { violation: Violation::TokenExpired, rule }, now, shared);
                true
            }
        }
    }
}
