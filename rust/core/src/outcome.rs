//! How an invocation ends: by what stopped it, and by what its handler did.
//!
//! | stopped by → | nothing | suspension | revoked token | refusal | end of the stack | end of its time | failed call |
//! |---|---|---|---|---|---|---|---|
//! | returned | succeed | pending | revoked | refused | too deep | late | broken |
//! | raised: suspension | pending | pending | revoked | refused | too deep | late | broken |
//! | raised: what passes | repeat | pending | revoked | refused | too deep | late | broken |
//! | raised: a refusal | fail as refused | pending | revoked | refused | too deep | late | broken |
//! | raised: any error | fail | pending | revoked | refused | too deep | late | broken |
//! | raised: no error | raise | raise | raise | raise | raise | raise | raise |
//!
//! So whatever code makes of a suspension or a refusal that reached it, the invocation ends by that.

/// What stopped an invocation, whatever its handler made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Its handler is to wait for something.
    Suspended,
    /// The service has revoked its checkpoint token.
    Revoked,
    /// The code and its history do not go together.
    Refused,
    /// An operation was cut short by the end of the stack.
    TooDeep,
    /// It is out of time, and no operation of its own will wake it.
    Late,
    /// A call to the service has failed.
    Broken,
}

/// What a handler did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    Returned,
    /// It raised a suspension.
    Suspended,
    /// It raised trouble that passes, for which the invocation is to be repeated.
    Passing,
    /// It raised a refusal of the engine's, or what is as good as one.
    Refused,
    /// It raised any other error.
    Failed,
    /// It raised what is no error: an interrupt and its like.
    BrokenOff,
}

impl Handler {
    /// All, in the order of the table.
    pub const ALL: [Self; 6] =
        [Self::Returned, Self::Suspended, Self::Passing, Self::Refused, Self::Failed, Self::BrokenOff];

    /// By which name a driver says so.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Returned => "returned",
            Self::Suspended => "suspended",
            Self::Passing => "passing",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::BrokenOff => "broken off",
        }
    }

    /// What a name says.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|handler| handler.as_str() == text)
    }
}

/// How an invocation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The handler's result is the execution's, unless the record holds what it has not come to.
    Succeed,
    /// The handler's error is the execution's, under the same condition.
    Fail,
    /// The handler's error is the execution's.
    FailAsRefused,
    /// The service is to go on with the execution when it has news.
    Pending,
    /// The same, and nothing more can be sent.
    Revoked,
    /// Lambda is to repeat the invocation, for what the handler raised.
    Repeat,
    /// Lambda is to repeat the invocation, which is out of time.
    Late,
    /// The execution fails by what the engine refused.
    Refused,
    /// The execution fails since its stack ended.
    TooDeep,
    /// By what broke the queue.
    Broken,
    /// What the handler raised is no business of the execution's.
    Raise,
}

impl Ending {
    /// By which name a driver is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeed => "succeed",
            Self::Fail => "fail",
            Self::FailAsRefused => "fail as refused",
            Self::Pending => "pending",
            Self::Revoked => "revoked",
            Self::Repeat => "repeat",
            Self::Late => "late",
            Self::Refused => "refused",
            Self::TooDeep => "too deep",
            Self::Broken => "broken",
            Self::Raise => "raise",
        }
    }

    /// Whether what is queued is sent before. (Of a success, and of an error held against the record, it is by itself.)
    pub const fn flushes(self) -> bool {
        matches!(self, Self::FailAsRefused | Self::Pending | Self::Repeat | Self::Late | Self::TooDeep)
    }
}

/// The table above.
pub const fn ending(stop: Option<Stop>, handler: Handler) -> Ending {
    match (handler, stop) {
        (Handler::BrokenOff, _) => Ending::Raise,
        (_, Some(Stop::Suspended)) | (Handler::Suspended, None) => Ending::Pending,
        (_, Some(Stop::Revoked)) => Ending::Revoked,
        (_, Some(Stop::Refused)) => Ending::Refused,
        (_, Some(Stop::TooDeep)) => Ending::TooDeep,
        (_, Some(Stop::Late)) => Ending::Late,
        (_, Some(Stop::Broken)) => Ending::Broken,
        (Handler::Returned, None) => Ending::Succeed,
        (Handler::Passing, None) => Ending::Repeat,
        (Handler::Refused, None) => Ending::FailAsRefused,
        (Handler::Failed, None) => Ending::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_as_the_table_says() {
        const STOPS: [Stop; 6] =
            [Stop::Suspended, Stop::Revoked, Stop::Refused, Stop::TooDeep, Stop::Late, Stop::Broken];
        let stopped = ["pending", "revoked", "refused", "too deep", "late", "broken"];
        let raised = ["raise"; 6];
        let table = [
            ("returned", "succeed", stopped),
            ("suspended", "pending", stopped),
            ("passing", "repeat", stopped),
            ("refused", "fail as refused", stopped),
            ("failed", "fail", stopped),
            ("broken off", "raise", raised),
        ];
        for (handler, unstopped, rest) in table {
            let Some(did) = Handler::parse(handler) else { panic!("{handler:?} is none") };
            assert_eq!(ending(None, did).as_str(), unstopped, "{handler}");
            for (stop, expected) in STOPS.into_iter().zip(rest) {
                assert_eq!(ending(Some(stop), did).as_str(), expected, "{handler} {stop:?}");
            }
        }
        assert_eq!(Handler::parse("else"), None);
    }

    #[test]
    fn nothing_is_sent_where_nothing_can_be_or_should_be() {
        for ending in [Ending::Revoked, Ending::Refused, Ending::Broken, Ending::Raise] {
            assert!(!ending.flushes(), "{ending:?}");
        }
        for ending in [Ending::Pending, Ending::Repeat, Ending::Late, Ending::TooDeep, Ending::FailAsRefused] {
            assert!(ending.flushes(), "{ending:?}");
        }
    }
}
