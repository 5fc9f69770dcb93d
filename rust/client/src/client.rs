//! The client: signs a call, sends it over a kept connection, and gives its answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustls::ClientConfig;
use zeroize::Zeroizing;

use crate::answer::Answer;
use crate::connection::{Connection, Failed};
use crate::credentials::Credentials;
use crate::date::Moment;
use crate::environment::Config;
use crate::error::Error;
use crate::sigv4::{self, Scope};
use crate::uri;
use crate::{lookup, tls};

const SERVICE: &str = "lambda";
const API: &str = "/2025-12-01/durable-executions/";

/// One client a process; calls may come from any thread.
pub struct Client {
    config: Config,
    user_agent: String,
    tls: Option<Arc<ClientConfig>>,
    /// A connection that is open and not in use.
    idle: Mutex<Option<Connection>>,
    /// A connection that is being opened.
    opening: Mutex<Option<Opening>>,
    /// How many calls are under way, each with a connection of its own or about to have one.
    calls: AtomicUsize,
    credentials: lookup::Credentials,
}

/// A thread that connects, and the process that it belongs to.
struct Opening {
    thread: JoinHandle<Option<Connection>>,
    process: u32,
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
    pub fn new(config: Config, user_agent: String) -> Result<Self, Error> {
        let tls = config.endpoint.tls.then(|| tls::config(config.ca_bundle.as_deref())).transpose()?;
        let credentials = lookup::Credentials::new(config.credentials.clone());
        let (idle, opening, calls) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
        Ok(Self { config, user_agent, tls, idle, opening, calls, credentials })
    }

    /// What the client was made for.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Records updates; `body` is the JSON of the request without the ARN.
    pub fn checkpoint(&self, arn: &str, body: &[u8], until: Instant) -> Result<Answer, Error> {
        self.call(&Call { method: "POST", path: path(arn, "checkpoint"), query: Vec::new(), body }, until)
    }

    /// Reads a page of the recorded operations.
    pub fn state(&self, arn: &str, token: &str, marker: &str, page: &str, until: Instant) -> Result<Answer, Error> {
        let query = vec![("CheckpointToken", token), ("Marker", marker), ("MaxItems", page)];
        self.call(&Call { method: "GET", path: path(arn, "state"), query, body: b"" }, until)
    }

    /// Begins to open a connection, unless one is open or in use; the next call finds it.
    pub fn prepare(&self, until: Instant) {
        let mut opening = lock(&self.opening);
        let is_open =
            self.calls.load(Ordering::SeqCst) > 0 || lock(&self.idle).as_ref().is_some_and(Connection::is_fresh);
        let process = std::process::id();
        if is_open || opening.as_ref().is_some_and(|opening| opening.process == process) {
            return;
        }
        let (endpoint, proxy, tls) = (self.config.endpoint.clone(), self.config.proxy.clone(), self.tls.clone());
        let open = move || Connection::open(&endpoint, proxy.as_ref(), tls.as_ref(), until).ok();
        // Without a thread to spare, the call itself opens it.
        let thread = thread::Builder::new().name("perdure-connect".to_owned()).spawn(open).ok();
        *opening = thread.map(|thread| Opening { thread, process });
    }

    /// Waits for what [`Client::prepare`] began.
    pub fn settle(&self) {
        let opening = lock(&self.opening).take();
        // A forked process has not the thread of the one it came from.
        let Some(opening) = opening.filter(|opening| opening.process == std::process::id()) else { return };
        if let Some(connection) = opening.thread.join().ok().flatten() {
            *lock(&self.idle) = Some(connection);
        }
    }

    fn call(&self, call: &Call<'_>, until: Instant) -> Result<Answer, Error> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer(call, until);
        self.calls.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    fn answer(&self, call: &Call<'_>, until: Instant) -> Result<Answer, Error> {
        let credentials = self.credentials.get(until)?;
        let request = self.request(call, &credentials, now());
        self.settle();
        let kept = lock(&self.idle).take().filter(Connection::is_fresh);
        if let Some(connection) = kept {
            match self.exchange(connection, &request, until) {
                // It had ended unnoticed, as connections do while a sandbox is frozen: nobody has seen the request.
                Err(Failed { stale: true, .. }) => {}
                Err(failed) => return Err(failed.error),
                Ok(answer) => return Ok(answer),
            }
        }
        let connection = Connection::open(&self.config.endpoint, self.config.proxy.as_ref(), self.tls.as_ref(), until)?;
        self.exchange(connection, &request, until).map_err(|failed| failed.error)
    }

    fn exchange(&self, mut connection: Connection, request: &[u8], until: Instant) -> Result<Answer, Failed> {
        let answer = connection.exchange(request, until)?;
        if answer.keeps_alive {
            *lock(&self.idle) = Some(connection);
        }
        Ok(answer)
    }

    /// The bytes of a signed request.
    fn request(&self, call: &Call<'_>, credentials: &Credentials, at: Moment) -> Zeroizing<Vec<u8>> {
        let path = format!("{}{}", self.config.endpoint.base, call.path);
        let host = self.config.endpoint.host_header();
        let mut headers = vec![("host", host.as_str())];
        if call.method == "POST" {
            headers.push(("content-type", "application/json"));
        }
        let signed =
            sigv4::Request { method: call.method, path: &path, query: &call.query, headers: &headers, body: call.body };
        let added = sigv4::sign(&signed, credentials, Scope { region: &self.config.region, service: SERVICE }, at);

        // Large enough not to move: what it leaves behind would not be overwritten.
        let mut bytes = Zeroizing::new(Vec::with_capacity(call.body.len() + path.len() + 16 * 1_024));
        let mut put = |text: &str| bytes.extend_from_slice(text.as_bytes());
        put(call.method);
        put(" ");
        put(&path);
        if !call.query.is_empty() {
            put("?");
            put(&sigv4::query_string(&call.query));
        }
        put(" HTTP/1.1\r\n");
        let length = call.body.len().to_string();
        let trace = std::env::var("_X_AMZN_TRACE_ID").ok().filter(|trace| is_header(trace));
        let unsigned = [
            ("user-agent", Some(&self.user_agent)),
            ("content-length", Some(&length)),
            ("x-amzn-trace-id", trace.as_ref()),
        ];
        let more = added.iter().map(|(name, value)| (*name, Some(value))).chain(unsigned);
        let more = more.filter_map(|(name, value)| Some((name, value?.as_str())));
        for (name, value) in headers.iter().copied().chain(more) {
            put(name);
            put(": ");
            put(value);
            put("\r\n");
        }
        put("\r\n");
        bytes.extend_from_slice(call.body);
        bytes
    }
}

fn path(arn: &str, action: &str) -> String {
    format!("{API}{}/{action}", uri::encode(arn))
}

/// Whether text may stand in a header, where a line break would begin another one.
fn is_header(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn now() -> Moment {
    Moment::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept is whole at every moment, whatever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
