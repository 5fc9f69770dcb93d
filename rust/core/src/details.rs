//! What the details of an operation say of it, by its kind and status, whoever reads them: from the bytes of an answer, or
//! from an object of Python's.

use crate::operation::{Kind, Millis, Operation};

/// The members of an operation's details; what is not there is none. Only those are asked for that are of use.
pub trait Details<P> {
    /// Why a member cannot be read.
    type Error;

    /// `InputPayload`
    fn input(&mut self) -> Result<Option<P>, Self::Error>;
    /// `Result`
    fn result(&mut self) -> Result<Option<P>, Self::Error>;
    /// `Error`
    fn error(&mut self) -> Result<Option<P>, Self::Error>;
    /// `Attempt`
    fn attempt(&mut self) -> Result<Option<u32>, Self::Error>;
    /// `NextAttemptTimestamp`
    fn next_attempt(&mut self) -> Result<Option<Millis>, Self::Error>;
    /// `ScheduledEndTimestamp`
    fn scheduled_end(&mut self) -> Result<Option<Millis>, Self::Error>;
    /// `CallbackId`
    fn callback_id(&mut self) -> Result<Option<P>, Self::Error>;
    /// `ReplayChildren`
    fn replay_children(&mut self) -> Result<Option<bool>, Self::Error>;

    /// Adds to an operation what its kind and status make use of.
    #[inline]
    fn complete(&mut self, operation: &mut Operation<P>) -> Result<(), Self::Error> {
        operation.result = match operation.kind {
            Kind::Execution => self.input()?,
            Kind::Wait => None,
            _ => self.result()?,
        };
        if operation.may_have_failed() {
            operation.error = self.error()?;
        }
        match operation.kind {
            Kind::Step if operation.may_have_failed() => {
                operation.attempt = self.attempt()?.unwrap_or(0);
                operation.due = self.next_attempt()?;
            }
            Kind::Wait => operation.due = self.scheduled_end()?,
            Kind::Callback => operation.callback_id = self.callback_id()?,
            Kind::Context => operation.replay_children = self.replay_children()?.unwrap_or(false),
            _ => {}
        }
        Ok(())
    }
}
