//! The client: signs a call, sends it over a kept connection, and gives its answer.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustls::ClientConfig;

use crate::answer::Answer;
use crate::connection::{Connection, Failed, Withdrawal};
use crate::credentials::{Credentials, Source};
use crate::date::Moment;
use crate::environment::{self, Config, Process};
use crate::error::Error;
use crate::process::PerProcess;
use crate::secret::Secret;
use crate::sigv4::{self, Scope};
use crate::uri;
use crate::{interrupt, lookup, tls};

const SERVICE: &str = "lambda";
/// What some say who close a connection that has lain idle.
const REQUEST_TIMEOUT: u16 = 408;
const API: &str = "/2025-12-01/durable-executions/";

/// One client a process; calls may come from any thread.
pub struct Client {
    config: Config,
    user_agent: String,
    tls: Option<Arc<ClientConfig>>,
    state: PerProcess<State>,
}

/// What changes from call to call.
struct State {
    /// A connection that is open and not in use.
    idle: Mutex<Option<Connection>>,
    /// A thread that opens a connection ahead of any call.
    opening: Mutex<Option<Opening>>,
    /// How many calls are under way, each with a connection of its own or about to have one.
    calls: AtomicUsize,
    credentials: lookup::Credentials,
}

impl State {
    fn new(config: &Config) -> Self {
        let credentials = lookup::Credentials::new(config.credentials.clone());
        Self { idle: Mutex::default(), opening: Mutex::default(), calls: AtomicUsize::new(0), credentials }
    }

    /// Closes this process's end of a connection that it shares with the one it was forked from.
    fn leave(&self) {
        if let Ok(mut idle) = self.idle.try_lock() {
            *idle = None;
        }
    }

    /// Waits in some way for the connection that is being opened, and withdraws it where that ends early.
    fn join<E>(&self, wait: impl FnOnce(&Opening) -> Result<(), E>) -> Result<(), E> {
        let Some(opening) = lock(&self.opening).take() else { return Ok(()) };
        let waited = wait(&opening);
        if waited.is_err() {
            opening.withdrawal.withdraw();
        }
        if let Ok(Some(connection)) = opening.thread.join() {
            *lock(&self.idle) = Some(connection);
        }
        waited
    }

    fn exchange(&self, mut connection: Connection, request: &[u8], until: Instant) -> Result<Answer, Failed> {
        let answer = connection.exchange(request, until)?;
        if answer.keeps_alive {
            *lock(&self.idle) = Some(connection);
        }
        Ok(answer)
    }
}

/// A thread that opens a connection, and what ends it early.
struct Opening {
    thread: JoinHandle<Option<Connection>>,
    /// Whose other end the thread has until its end.
    running: Receiver<Infallible>,
    withdrawal: Arc<Withdrawal>,
}

/// What the variables of the process say at the moment of a call.
pub struct Present {
    credentials: Result<Option<Credentials>, Error>,
    trace: Option<String>,
}

/// What is asked of the service.
struct Call<'a> {
    method: &'a str,
    path: String,
    query: Vec<(&'a str, &'a str)>,
    body: &'a [u8],
}

impl Client {
    /// A client for what the environment says.
    ///
    /// # Errors
    ///
    /// If certificates are to be read from a file and cannot.
    pub fn new(config: Config, mut user_agent: String) -> Result<Self, Error> {
        if let Some(app) = &config.app_id {
            user_agent.push_str(" app/");
            user_agent.extend(app.chars().map(|c| if is_of_a_token(c) { c } else { '-' }));
        }
        let tls = config.endpoint.tls.then(|| tls::config(config.ca_bundle.as_deref())).transpose()?;
        let state = PerProcess::new(State::new(&config));
        Ok(Self { config, user_agent, tls, state })
    }

    /// What is of this process.
    fn own(&self) -> &State {
        self.state.get(|before| {
            before.leave();
            State::new(&self.config)
        })
    }

    /// What the variables say now. To be asked while nobody changes them, which in Python takes the GIL.
    pub fn present(&self) -> Present {
        let credentials = match self.config.credentials {
            Source::Variables => {
                environment::credentials(&Process).map_err(|reason| Error::Credentials(reason.to_string()))
            }
            _ => Ok(None),
        };
        let trace = std::env::var("_X_AMZN_TRACE_ID").ok().filter(|trace| environment::is_header(trace));
        Present { credentials, trace }
    }

    /// What the client was made for.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Records updates; `body` is the JSON of the request without the ARN.
    pub fn checkpoint(&self, present: Present, arn: &str, body: &[u8], until: Instant) -> Result<Answer, Error> {
        self.call(&Call { method: "POST", path: path(arn, "checkpoint"), query: Vec::new(), body }, present, until)
    }

    /// Reads a page of the recorded operations: that of a marker, with so many operations at most.
    pub fn state(
        &self,
        present: Present,
        arn: &str,
        token: &str,
        (marker, most): (&str, &str),
        until: Instant,
    ) -> Result<Answer, Error> {
        let query = vec![("CheckpointToken", token), ("Marker", marker), ("MaxItems", most)];
        self.call(&Call { method: "GET", path: path(arn, "state"), query, body: b"" }, present, until)
    }

    /// Begins to open a connection, unless one is open or in use; the next call finds it. Tells whether it began.
    pub fn prepare(&self, until: Instant) -> bool {
        let state = self.own();
        // Held until the thread is known: a call that begins meanwhile waits for it, and then for the connection.
        let mut opening = lock(&state.opening);
        let is_open =
            state.calls.load(Ordering::SeqCst) > 0 || lock(&state.idle).as_ref().is_some_and(Connection::is_fresh);
        if is_open || opening.is_some() {
            return false;
        }
        let (endpoint, proxy, tls) = (self.config.endpoint.clone(), self.config.proxy.clone(), self.tls.clone());
        let withdrawal = Arc::new(Withdrawal::default());
        let watched = Arc::clone(&withdrawal);
        let (alive, running) = mpsc::channel();
        let open = move || {
            let _alive = alive;
            Connection::open_ahead(&endpoint, proxy.as_ref(), tls.as_ref(), until, &watched).ok()
        };
        // Without a thread to spare, the call itself opens it.
        let thread = thread::Builder::new().name("perdure-connect".to_owned()).spawn(open).ok();
        *opening = thread.map(|thread| Opening { thread, running, withdrawal });
        opening.is_some()
    }

    /// Waits for what [`Client::prepare`] began.
    pub fn settle(&self) {
        let _: Result<(), Infallible> = self.own().join(|_| Ok(()));
    }

    /// Ends what [`Client::prepare`] began, if it is not done yet: nobody waits for it any more. A connection that is open
    /// by now is kept.
    pub fn withdraw(&self) {
        let _: Result<(), ()> = self.own().join(|_| Err(()));
    }

    fn call(&self, call: &Call<'_>, present: Present, until: Instant) -> Result<Answer, Error> {
        let state = self.own(); // looked up once: each time asks the system for the process
        state.calls.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer(state, call, present, until);
        state.calls.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    fn answer(&self, state: &State, call: &Call<'_>, present: Present, until: Instant) -> Result<Answer, Error> {
        let credentials = state.credentials.get(present.credentials?, until)?;
        let request = self.request(call, &credentials, present.trace.as_deref(), now());
        state
            .join(|opening| interrupt::until_gone(&opening.running))
            .map_err(|_| Error::Interrupted { address: self.config.endpoint.host_header() })?;
        let kept = lock(&state.idle).take().filter(Connection::is_fresh).and_then(Connection::if_silent);
        if let Some(connection) = kept {
            match state.exchange(connection, &request, until) {
                // It had ended unnoticed, as connections do while a sandbox is frozen: nobody has seen the request. Or its
                // other end says so, of the time in which there was none, and this one has crossed it.
                Err(Failed { silent: true, .. }) | Ok(Answer { status: REQUEST_TIMEOUT, .. }) => {}
                Err(failed) => return Err(failed.error),
                Ok(answer) => return Ok(answer),
            }
        }
        let Config { endpoint, proxy, .. } = &self.config;
        let connection = Connection::open(endpoint, proxy.as_ref(), self.tls.as_ref(), until)?;
        state.exchange(connection, &request, until).map_err(|failed| failed.error)
    }

    /// The bytes of a signed request.
    fn request(&self, call: &Call<'_>, credentials: &Credentials, trace: Option<&str>, at: Moment) -> Secret<Vec<u8>> {
        let path = format!("{}{}", self.config.endpoint.base, call.path);
        let host = self.config.endpoint.host_header();
        let mut headers = vec![("host", host.as_str())];
        if call.method == "POST" {
            headers.push(("content-type", "application/json"));
        }
        let signed =
            sigv4::Request { method: call.method, path: &path, query: &call.query, headers: &headers, body: call.body };
        let added = sigv4::sign(&signed, credentials, Scope { region: &self.config.region, service: SERVICE }, at);

        let (query, length) = (sigv4::query_string(&call.query), call.body.len().to_string());
        let mut head = vec![call.method, " ", &path];
        if !query.is_empty() {
            head.extend(["?", &query]);
        }
        head.push(" HTTP/1.1\r\n");
        let unsigned = [
            ("user-agent", Some(self.user_agent.as_str())),
            ("content-length", Some(length.as_str())),
            ("x-amzn-trace-id", trace),
        ];
        let more = added.iter().map(|(name, value)| (*name, Some(value.as_str()))).chain(unsigned);
        let more = more.filter_map(|(name, value)| Some((name, value?)));
        for (name, value) in headers.iter().copied().chain(more) {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push("\r\n");

        // As large as need be, so that it does not move: what it leaves behind would not be overwritten.
        let size = head.iter().map(|part| part.len()).sum::<usize>() + call.body.len();
        let mut bytes = Secret::new(Vec::with_capacity(size));
        for part in head {
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.extend_from_slice(call.body);
        bytes
    }
}

fn path(arn: &str, action: &str) -> String {
    format!("{API}{}/{action}", uri::encode(arn))
}

/// Whether a character may stand in a word of a user agent, as botocore has it.
fn is_of_a_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~,".contains(c)
}

fn now() -> Moment {
    Moment::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept is whole at every moment, whatever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
