//! Which function a context serves: each only the one that it was handed to.
//!
//! An operation takes its position by the order of the calls. What the function of a step calls is not called again when
//! the step is replayed, and what a branch calls on the context around it comes whenever its thread does: operations
//! would find each other's records. So a context takes no operation while the function of one of its own is at work in
//! the same thread of control, nor from the function of an operation elsewhere.
//!
//! A thread of control is known by a mark that the driver lets its functions carry, and that may go with them to other
//! threads. Threads without a mark are the user's own, and nobody knows from where they were started: what they call
//! while a function is at work may come from it. Threads that did not come out of the function at work may use the
//! context beside it, as long as what they call cannot be taken for the operation at work.
//!
//! A driver of tasks runs them all in one thread ([`Engine::share_thread`]): each carries a mark of its own, and that alone
//! tells them apart. They take turns, and an operation takes its position where it is called. So several of one context
//! may be at work at one time; what another thread calls would come by chance.

use std::iter;
use std::sync::Arc;

use crate::call::{Begun, Call, Place};
use crate::engine::Engine;
use crate::id::OperationId;
use crate::operation::Payload;
use crate::refusal::{Identity, Refusal};
use crate::scope::{Scope, ScopeId};
use crate::wrong_context::{Misuse, WrongContext};

/// Where a thread of control stands, as its mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// In the function that a context was handed to.
    Inside(ScopeId),
    /// In another function of an operation of a context: the one with this number.
    Beside(ScopeId, u64),
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// None without a mark of this invocation's.
    pub spot: Option<Spot>,
    /// A number that no other thread has.
    pub thread: u64,
    /// The operation whose function it is, if that operation has given up waiting for it.
    pub given_up: Option<OperationId>,
}

impl Caller {
    /// Refuses a function that nobody waits for any more, as what is left of a batch that is over. It alone is refused:
    /// when it calls is chance, and the execution must not depend on that.
    fn check(self) -> Result<(), Refusal> {
        self.given_up.map_or(Ok(()), |id| Err(Refusal::Orphaned(id)))
    }
}

/// What an invocation knows of the threads in it.
#[derive(Debug, Default)]
pub(crate) struct Custody {
    /// How many functions have been at work.
    begun: u64,
    /// The first thread that was seen at work.
    thread: Option<u64>,
    /// Whether others were.
    is_crowded: bool,
    /// The one thread that runs all tasks, where a driver has tasks.
    shared: Option<u64>,
}

/// A function of an operation at work.
#[derive(Debug)]
pub(crate) struct Body {
    number: u64,
    begun: Arc<Begun>,
    thread: u64,
    /// Whether the thread that began it was known to stand in the function of the context.
    is_placed: bool,
}

impl Body {
    fn identity(&self) -> Identity {
        Identity::begun(&self.begun)
    }
}

/// What an operation without a record is called inside the engine. No user can choose a subtype with a space.
const VIRTUAL: Call<'static> = Call::Child { name: None, sub_type: "virtual context" };
const FLAT: Call<'static> = Call::Child { name: None, sub_type: "flat branch" };

impl<P: Payload, W> Engine<P, W> {
    /// Whether it depends on the caller if `scope` takes an operation: see [`Engine::admit`].
    ///
    /// As long as one thread does all the work, a context with nothing at work is used where it was handed to.
    pub fn is_contested(&self, scope: ScopeId, call: &Call<'_>, thread: u64) -> bool {
        // A map or parallel comes to its branches itself, wherever they run.
        !matches!(call, Call::Branch { .. })
            && (self.is_disputed(scope) || self.custody.shared.is_some_and(|shared| shared != thread))
    }

    fn is_disputed(&self, scope: ScopeId) -> bool {
        self.custody.is_crowded || !self.scopes[scope.0].bodies.is_empty()
    }

    /// Refuses an operation of `scope` that is not for the caller to call. From then on nothing goes on.
    pub fn admit(&mut self, scope: ScopeId, call: &Call<'_>, caller: Caller) -> Result<(), Refusal> {
        call.check()?;
        caller.check()?;
        if self.gate.is_some() {
            return Ok(()); // which says why, whatever is called
        }
        let Some(Found { misuse, at_work, function }) = self.misuse(scope, call, caller) else { return Ok(()) };
        let refusal = Refusal::WrongContext(Box::new(WrongContext {
            called: Identity::called(call),
            owner: self.identity_of(scope),
            is_root: scope == ScopeId::ROOT,
            at_work,
            function,
            misuse,
            line: None,
        }));
        Err(self.gate.insert(refusal).clone())
    }

    /// [`Engine::admit`] for a virtual context.
    pub fn admit_virtual(&mut self, scope: ScopeId, caller: Caller) -> Result<(), Refusal> {
        self.admit(scope, &VIRTUAL, caller)
    }

    /// The functions of an operation come to work; gives their number.
    pub fn enter(&mut self, begun: &Arc<Begun>, caller: Caller) -> u64 {
        self.come_to_work(begun.place.scope, Arc::clone(begun), caller)
    }

    /// They have done it.
    pub fn leave(&mut self, scope: ScopeId, number: u64) {
        let bodies = &mut self.scopes[scope.0].bodies;
        // They are in the order of their numbers, and those of a wide batch are many.
        if let Ok(place) = bodies.binary_search_by_key(&number, |body| body.number) {
            bodies.remove(place);
        }
    }

    /// The function that a context is handed to comes to work.
    pub fn enter_context(&mut self, scope: ScopeId, caller: Caller) {
        let inner = &mut self.scopes[scope.0];
        inner.is_at_work = true;
        // A virtual context has no operation that would be at work in its surroundings.
        if let (Some(outer), Some(id), true) = (inner.outer, inner.prefix, inner.is_virtual()) {
            let call = if inner.branch { FLAT } else { VIRTUAL };
            let place = Place { scope: outer, id, parent: None, index: None };
            let number = self.come_to_work(outer, Arc::new(Begun::new(place, &call)), caller);
            self.scopes[scope.0].body = number;
        }
    }

    /// It has done it.
    pub fn leave_context(&mut self, scope: ScopeId) {
        let inner = &mut self.scopes[scope.0];
        inner.is_at_work = false;
        if let (Some(outer), number @ 1..) = (inner.outer, inner.body) {
            self.leave(outer, number);
        }
    }

    /// The context in which a thread of control stands: the handler's if it is not known.
    pub fn whereabouts(&self, caller: Caller) -> Result<ScopeId, Refusal> {
        caller.check()?;
        Ok(match caller.spot.filter(|spot| self.is_at_work(*spot)) {
            Some(Spot::Inside(scope) | Spot::Beside(scope, _)) => scope,
            None => ScopeId::ROOT,
        })
    }

    /// A function of an operation goes on in a thread of its own, and nobody waits for it: from now on every caller is
    /// looked at.
    pub fn crowd(&mut self) {
        self.custody.is_crowded = true;
    }

    /// All code of the invocation is run by tasks, in this thread.
    pub fn share_thread(&mut self, thread: u64) {
        self.custody.shared = Some(thread);
    }

    /// Whether that is so.
    pub fn is_of_tasks(&self) -> bool {
        self.custody.shared.is_some()
    }

    fn come_to_work(&mut self, scope: ScopeId, begun: Arc<Begun>, caller: Caller) -> u64 {
        let custody = &mut self.custody;
        custody.begun += 1;
        custody.is_crowded |= *custody.thread.get_or_insert(caller.thread) != caller.thread;
        let (number, thread) = (custody.begun, caller.thread);
        let is_placed = caller.spot == Some(Spot::Inside(scope));
        self.scopes[scope.0].bodies.push(Body { number, begun, thread, is_placed });
        number
    }

    fn misuse(&self, scope: ScopeId, call: &Call<'_>, caller: Caller) -> Option<Found> {
        let spot = caller.spot.filter(|spot| self.is_at_work(*spot));
        if let Some(spot) = spot.filter(|spot| self.is_within(*spot, scope)) {
            let is_handed_one = matches!(spot, Spot::Inside(inside) if !self.is_of_batch(inside));
            let misuse = if is_handed_one { Misuse::InContext } else { Misuse::InFunction };
            return Some(Found { misuse, at_work: self.at_work(scope, spot), function: self.function_at(spot) });
        }
        if let Some(shared) = self.custody.shared {
            let is_inside = spot.is_none_or(|spot| spot == Spot::Inside(scope));
            let misuse = if shared != caller.thread {
                Misuse::OtherThread
            } else if is_inside {
                return None;
            } else {
                Misuse::Elsewhere
            };
            return Some(Found { misuse, at_work: None, function: spot.and_then(|spot| self.function_at(spot)) });
        }
        let bodies = &self.scopes[scope.0].bodies;
        // Whatever mark it carries: of two functions in one thread, it is the later one that calls.
        if let Some(body) = bodies.iter().rev().find(|body| body.thread == caller.thread) {
            let identity = Some(body.identity());
            return Some(Found { misuse: Misuse::InFunction, at_work: identity.clone(), function: identity });
        }
        let is_known = match spot {
            None => false,
            Some(Spot::Inside(inside)) if inside == scope => true,
            // A mark that was taken along from further outside does not tell where its bearer is now.
            Some(Spot::Inside(inside)) if self.is_around(inside, scope) && !self.is_of_batch(inside) => false,
            Some(spot) => {
                return Some(Found { misuse: Misuse::Elsewhere, at_work: None, function: self.function_at(spot) });
            }
        };
        let at_once = |body: &&Body| !is_known && body.is_placed || body.begun.is_called_by(call);
        let beside = bodies.iter().find(at_once)?;
        Some(Found { misuse: Misuse::AtOnce, at_work: Some(beside.identity()), function: None })
    }

    fn is_at_work(&self, spot: Spot) -> bool {
        match spot {
            Spot::Inside(scope) => self.scopes[scope.0].is_at_work,
            Spot::Beside(scope, number) => self.scopes[scope.0].bodies.iter().any(|body| body.number == number),
        }
    }

    /// Whether a spot is in a function of an operation of `scope`, or further inside.
    fn is_within(&self, spot: Spot, scope: ScopeId) -> bool {
        let (Spot::Beside(of, _) | Spot::Inside(of)) = spot;
        self.is_around(scope, of) || of == scope && spot != Spot::Inside(of)
    }

    /// The operation of `scope` that is at work around such a spot; none if it is not known any more.
    fn at_work(&self, scope: ScopeId, spot: Spot) -> Option<Identity> {
        let (Spot::Beside(of, _) | Spot::Inside(of)) = spot;
        let outwards = iter::successors(Some(of), |inside| self.scopes[inside.0].outer);
        match outwards.take_while(|inside| *inside != scope).last() {
            Some(inside) => self.identity_of(inside),
            None => self.function_at(spot),
        }
    }

    /// The operation whose function is at a spot; none for the handler.
    fn function_at(&self, spot: Spot) -> Option<Identity> {
        match spot {
            Spot::Inside(scope) => self.identity_of(scope),
            Spot::Beside(scope, number) => {
                let mut bodies = self.scopes[scope.0].bodies.iter();
                bodies.find(|body| body.number == number).map(Body::identity)
            }
        }
    }

    /// The operation of a context: at work, or recorded.
    fn identity_of(&self, scope: ScopeId) -> Option<Identity> {
        let Scope { outer: Some(outer), prefix: Some(id), .. } = &self.scopes[scope.0] else { return None };
        let at_work = self.scopes[outer.0].bodies.iter().find(|body| body.begun.place.id == *id);
        at_work.map(Body::identity).or_else(|| self.history().get(id).map(Identity::of))
    }

    fn is_around(&self, outer: ScopeId, scope: ScopeId) -> bool {
        iter::successors(self.scopes[scope.0].outer, |scope| self.scopes[scope.0].outer).any(|scope| scope == outer)
    }

    /// Whether it is the context of a map or parallel, which no function is handed.
    fn is_of_batch(&self, scope: ScopeId) -> bool {
        let identity = self.identity_of(scope);
        let sub_type = identity.as_ref().and_then(|identity| identity.sub_type.as_ref());
        sub_type.is_some_and(|sub_type| matches!(sub_type.as_str(), "Map" | "Parallel"))
    }
}

/// What is wrong with a call.
struct Found {
    misuse: Misuse,
    /// The operation of the context that is at work.
    at_work: Option<Identity>,
    /// The operation whose function calls.
    function: Option<Identity>,
}
