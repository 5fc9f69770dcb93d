//! What the service accepts, checked before anything is sent; and bounds of our own.

use thiserror::Error;

/// The longest name of an operation, in characters.
pub const MAX_NAME: usize = 256;
/// The longest subtype, in characters.
pub const MAX_SUB_TYPE: usize = 32;
/// The longest wait or retry delay, in seconds: 366 days.
pub const MAX_WAIT: i64 = 31_622_400;
/// The longest timeout of a callback, in seconds.
pub const MAX_CALLBACK_TIMEOUT: i64 = 99_999_999;
/// How many updates one call may carry.
pub const MAX_UPDATES: usize = 250;
/// How many bytes of JSON one call may carry, unless a single update is larger.
pub const MAX_BYTES: usize = 750 * 1024;
/// The largest payload of an update, in bytes.
pub const MAX_PAYLOAD: usize = 6 * 1024 * 1024;
/// The largest response of an invocation, in bytes.
pub const MAX_RESPONSE: usize = 6 * 1024 * 1024;
/// The largest error object, in bytes of JSON.
pub const MAX_ERROR: usize = 32 * 1024;
/// The longest result of a context that is recorded as it is, in characters; of a longer one a summary is.
pub const MAX_CONTEXT_RESULT: usize = 256 * 1024;
/// How many operations an execution may have.
pub const MAX_OPERATIONS: usize = 3_000;
/// How many bytes an execution may write.
pub const MAX_WRITTEN: usize = 100 * 1024 * 1024;
/// How many threads for branches a process runs at one time: well below Lambda's 1,024.
pub const MAX_THREADS: usize = 256;
/// How many operations may be at work inside of one another in a thread: more than an execution may have. Each takes some
/// of the native stack, which Python 3.11 does not watch where somebody has raised its recursion limit.
pub const MAX_DEPTH: usize = 3_200;
/// How long an invocation may take, in seconds.
pub const MAX_INVOCATION: u64 = 900;

/// The limits that Python asks for, by name.
#[expect(clippy::cast_possible_wrap, reason = "small numbers")]
pub const ALL: [(&str, i64); 10] = [
    ("MAX_NAME", MAX_NAME as i64),
    ("MAX_SUB_TYPE", MAX_SUB_TYPE as i64),
    ("MAX_WAIT", MAX_WAIT),
    ("MAX_PAYLOAD", MAX_PAYLOAD as i64),
    ("MAX_RESPONSE", MAX_RESPONSE as i64),
    ("MAX_ERROR", MAX_ERROR as i64),
    ("MAX_CONTEXT_RESULT", MAX_CONTEXT_RESULT as i64),
    ("MAX_OPERATIONS", MAX_OPERATIONS as i64),
    ("MAX_WRITTEN", MAX_WRITTEN as i64),
    ("MAX_THREADS", MAX_THREADS as i64),
];

/// What is out of bounds, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Invalid {
    #[error("the name {0:?} has characters that the service refuses: use printable ASCII (space to ~)")]
    NameCharacters(String),
    #[error("the name {0} is no text: give it as a str")]
    NameKind(String),
    #[error("the name {0:?}… has {1} characters: the service takes at most {MAX_NAME}")]
    NameLength(String, usize),
    #[error("the subtype {0:?} is refused by the service: use 1 to {MAX_SUB_TYPE} of A-Z, a-z, 0-9, - and _")]
    SubType(String),
    #[error("cannot wait {0} s: the service takes 1 s to {MAX_WAIT} s (366 days)")]
    Wait(i64),
    #[error("a callback cannot have a {0} of {1} s: the service takes 0 (none) to {MAX_CALLBACK_TIMEOUT} s")]
    CallbackTimeout(&'static str, i64),
}

/// Checks the name of an operation.
pub fn name(name: &str) -> Result<(), Invalid> {
    if !name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(Invalid::NameCharacters(name.chars().take(MAX_NAME).collect()));
    }
    if name.len() > MAX_NAME {
        return Err(Invalid::NameLength(name.chars().take(40).collect(), name.len()));
    }
    Ok(())
}

/// Checks a user's subtype.
pub fn sub_type(text: &str) -> Result<(), Invalid> {
    let fits = (1..=MAX_SUB_TYPE).contains(&text.len());
    if fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
        Ok(())
    } else {
        Err(Invalid::SubType(text.chars().take(2 * MAX_SUB_TYPE).collect()))
    }
}

/// Checks the length of a wait, in seconds.
pub fn wait(seconds: i64) -> Result<u32, Invalid> {
    if (1..=MAX_WAIT).contains(&seconds) { narrow(seconds, Invalid::Wait) } else { Err(Invalid::Wait(seconds)) }
}

/// The delay before a next attempt that comes nearest to what a strategy asks for, in seconds.
///
/// It is no error to ask for more: only a failure brings a strategy to its longest delays, and an error there would end
/// an execution that is to be repeated.
pub fn retry_delay(seconds: i64) -> u32 {
    u32::try_from(seconds.clamp(1, MAX_WAIT)).unwrap_or(1)
}

/// Checks a timeout of a callback, in seconds; `what` names it.
pub fn callback_timeout(what: &'static str, seconds: i64) -> Result<u32, Invalid> {
    let invalid = |seconds| Invalid::CallbackTimeout(what, seconds);
    if (0..=MAX_CALLBACK_TIMEOUT).contains(&seconds) { narrow(seconds, invalid) } else { Err(invalid(seconds)) }
}

fn narrow(seconds: i64, invalid: impl Fn(i64) -> Invalid) -> Result<u32, Invalid> {
    u32::try_from(seconds).map_err(|_| invalid(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printable_ascii_of_bounded_length() {
        for good in ["a", "with space", "~!@#", &"x".repeat(MAX_NAME)] {
            assert_eq!(name(good), Ok(()));
        }
        for bad in ["né", "tab\t", "\u{7f}", "line\n"] {
            assert!(matches!(name(bad), Err(Invalid::NameCharacters(_))), "{bad:?}");
        }
        assert!(matches!(name(&"x".repeat(MAX_NAME + 1)), Err(Invalid::NameLength(_, 257))));
    }

    #[test]
    fn subtypes_are_short_identifiers() {
        for good in ["Step", "my-type_2", &"x".repeat(MAX_SUB_TYPE)] {
            assert_eq!(sub_type(good), Ok(()));
        }
        for bad in ["", "a b", "é", &"x".repeat(MAX_SUB_TYPE + 1)] {
            assert!(sub_type(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(wait(1), Ok(1));
        assert_eq!(wait(MAX_WAIT), Ok(31_622_400));
        assert_eq!(wait(0), Err(Invalid::Wait(0)));
        assert_eq!(wait(MAX_WAIT + 1), Err(Invalid::Wait(MAX_WAIT + 1)));
        assert_eq!(callback_timeout("timeout", 0), Ok(0));
        assert_eq!(callback_timeout("timeout", MAX_CALLBACK_TIMEOUT), Ok(99_999_999));
        assert!(callback_timeout("timeout", -1).is_err());
        assert!(callback_timeout("timeout", MAX_CALLBACK_TIMEOUT + 1).is_err());
    }
}
