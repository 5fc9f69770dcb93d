//! A connection to the API: TCP, a proxy's tunnel where there is one, TLS; and none of it beyond a deadline.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::answer::{Answer, Reader, Unread};
use crate::endpoint::Endpoint;
use crate::environment::Proxy;
use crate::error::Error;
use crate::interrupt::{again, is_given_up};

/// What connecting may take, with the tunnel and the handshake; and how long no byte may come.
const CONNECT: Duration = Duration::from_secs(5);
const READ: Duration = Duration::from_secs(50);
/// How long it may take to be connected ahead of a call, without the handshake: an invocation that ends meanwhile waits
/// for it. A call that then finds no connection has more patience.
const AHEAD: Duration = Duration::from_millis(250);
/// How long a connection may lie unused and still be trusted. Counted by the clock of the world, which goes on while a
/// sandbox is frozen.
const IDLE: Duration = Duration::from_secs(30);

/// An open connection.
pub struct Connection {
    stream: Stream,
    address: String,
    last_used: SystemTime,
}

enum Stream {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

/// A socket whose every read and write ends with a deadline.
struct Timed {
    socket: TcpStream,
    until: Instant,
    /// What the socket allows each read and each write. The system is told only of what changes: nothing does for as long
    /// as there is plenty of time.
    read: Option<Duration>,
    write: Option<Duration>,
}

/// Why an exchange failed.
pub struct Failed {
    pub error: Error,
    /// Whether the connection died without a byte of an answer. One that had lain idle had ended unnoticed.
    pub silent: bool,
}

/// That nobody waits for a connection any more, which a thread opens ahead of any call.
#[derive(Default)]
pub struct Withdrawal {
    is_withdrawn: AtomicBool,
    /// Of the connection that is being opened.
    socket: Mutex<Option<TcpStream>>,
}

impl Withdrawal {
    /// Has the thread come to its end: what it waits for on the socket is over at once.
    pub fn withdraw(&self) {
        self.is_withdrawn.store(true, Ordering::SeqCst);
        if let Some(socket) = self.socket().take() {
            // It fails where the connection is lost already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Lets the wait on a socket be ended from now on.
    fn watch(&self, socket: &TcpStream) -> io::Result<()> {
        *self.socket() = Some(socket.try_clone()?);
        // Looked at after that, so that one of the two is seen by the other.
        if self.is_withdrawn.load(Ordering::SeqCst) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// The connection is open: whether it was ended before. From now on it is not.
    fn came_first(&self) -> bool {
        self.socket().take().is_none()
    }

    fn socket(&self) -> MutexGuard<'_, Option<TcpStream>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Connects to an endpoint.
    pub fn open(
        endpoint: &Endpoint,
        proxy: Option<&Proxy>,
        tls: Option<&Arc<ClientConfig>>,
        until: Instant,
    ) -> Result<Self, Error> {
        Self::opened(endpoint, proxy, tls, until, None)
    }

    /// The same ahead of any call, which can be withdrawn.
    pub fn open_ahead(
        endpoint: &Endpoint,
        proxy: Option<&Proxy>,
        tls: Option<&Arc<ClientConfig>>,
        until: Instant,
        withdrawal: &Withdrawal,
    ) -> Result<Self, Error> {
        Self::opened(endpoint, proxy, tls, until, Some(withdrawal))
    }

    fn opened(
        endpoint: &Endpoint,
        proxy: Option<&Proxy>,
        tls: Option<&Arc<ClientConfig>>,
        until: Instant,
        withdrawal: Option<&Withdrawal>,
    ) -> Result<Self, Error> {
        let address = endpoint.host_header();
        let limit = until.min(Instant::now() + CONNECT);
        let (host, port) = proxy.map_or((&endpoint.host, endpoint.port), |proxy| (&proxy.host, proxy.port));
        let lost = |source| Error::Lost { address: address.clone(), source };
        let first = if withdrawal.is_some() { limit.min(Instant::now() + AHEAD) } else { limit };
        let mut socket = connect(host, port, first)?;
        if let Some(withdrawal) = withdrawal {
            withdrawal.watch(&socket).map_err(lost)?;
        }
        if let Some(proxy) = proxy {
            socket = tunnel(socket, endpoint, proxy, limit)?;
        }
        let stream = match tls {
            None => Stream::Plain(Timed::new(socket, until)),
            Some(config) => handshake(Timed::new(socket, limit), endpoint, config)?,
        };
        if withdrawal.is_some_and(Withdrawal::came_first) {
            return Err(lost(io::ErrorKind::ConnectionAborted.into()));
        }
        Ok(Self { stream, address, last_used: SystemTime::now() })
    }

    /// Whether it may be used again: not after it has lain for long.
    pub fn is_fresh(&self) -> bool {
        self.last_used.elapsed().is_ok_and(|idle| idle < IDLE)
    }

    /// The connection, if nothing has come on it while no request was under way. An answer that nobody asked for (servers
    /// send a 408 before they hang up) would be taken for that to the next request; and whoever has hung up hears none.
    pub fn if_silent(mut self) -> Option<Self> {
        let is_silent = self.stream.has_more().is_ok_and(|has_more| !has_more);
        is_silent.then_some(self)
    }

    /// Sends a request and reads its answer.
    pub fn exchange(&mut self, request: &[u8], until: Instant) -> Result<Answer, Failed> {
        self.timed().until = until;
        let (answer, began) = match self.stream.write_all(request).and_then(|()| self.stream.flush()) {
            Ok(()) => {
                let mut reader = Reader::new(&mut self.stream);
                (reader.answer(), reader.began)
            }
            Err(error) => (Err(error.into()), false),
        };
        self.last_used = SystemTime::now();
        answer.map_err(|unread| self.failed(unread, !began))
    }

    fn timed(&mut self) -> &mut Timed {
        match &mut self.stream {
            Stream::Plain(timed) => timed,
            Stream::Tls(tls) => &mut tls.sock,
        }
    }

    fn failed(&self, unread: Unread, silent: bool) -> Failed {
        let error = match unread {
            Unread::Malformed(reason) => Error::Protocol { address: self.address.clone(), reason },
            Unread::Io(error) => ended(&self.address, error),
        };
        Failed { silent: silent && matches!(error, Error::Lost { .. }), error }
    }
}

impl Stream {
    /// Whether anything has come for whoever reads next, the end of the connection included.
    fn has_more(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(timed) => timed.at_once(|socket| socket.peek(&mut [0])).map(|got| got.is_some()),
            Self::Tls(tls) => {
                let StreamOwned { conn, sock } = &mut **tls;
                loop {
                    let state = conn.process_new_packets().map_err(io::Error::other)?;
                    if state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() {
                        return Ok(true);
                    }
                    // What is TLS's own, such as tickets for later sessions, is for nobody else.
                    match sock.at_once(|socket| conn.read_tls(socket))? {
                        None => return Ok(false),
                        Some(0) => return Ok(true),
                        Some(_) => {}
                    }
                }
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

impl Timed {
    fn new(socket: TcpStream, until: Instant) -> Self {
        Self { socket, until, read: None, write: None }
    }

    /// The time that one read or write may take.
    fn allowance(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left.min(READ)) }
    }
}

impl Timed {
    /// What can be done with the socket without waiting; None if that would be needed.
    fn at_once<T>(&mut self, action: impl FnOnce(&mut TcpStream) -> io::Result<T>) -> io::Result<Option<T>> {
        self.socket.set_nonblocking(true)?;
        let done = action(&mut self.socket);
        self.socket.set_nonblocking(false)?;
        match done {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            done => done.map(Some),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        again(|| {
            let allowed = Some(self.allowance()?);
            if self.read != allowed {
                self.socket.set_read_timeout(allowed)?;
                self.read = allowed;
            }
            self.socket.read(buffer)
        })
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        again(|| {
            let allowed = Some(self.allowance()?);
            if self.write != allowed {
                self.socket.set_write_timeout(allowed)?;
                self.write = allowed;
            }
            self.socket.write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// Why there is no connection any more.
fn ended(address: &str, source: io::Error) -> Error {
    let address = address.to_owned();
    match source {
        error if is_timeout(&error) => Error::Timeout { address },
        error if is_given_up(&error) => Error::Interrupted { address },
        source => Error::Lost { address, source },
    }
}

fn connect(host: &str, port: u16, until: Instant) -> Result<TcpStream, Error> {
    let began = Instant::now();
    let failed = |source: io::Error| {
        let address = format!("{host}:{port}");
        if is_timeout(&source) {
            Error::ConnectTimeout { address, after: began.elapsed() }
        } else {
            Error::Connect { address, source }
        }
    };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in resolve(host, port, until).map_err(failed)? {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failed(io::ErrorKind::TimedOut.into()));
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => {
                // A request is written at once: waiting for more would only delay it.
                socket.set_nodelay(true).map_err(failed)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// The addresses of a host. The system resolves names without a limit of time, so a thread asks it.
fn resolve(host: &str, port: u16, until: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let (answer, answered) = mpsc::channel();
    let name = host.to_owned();
    thread::Builder::new().name("perdure-resolve".to_owned()).spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
        let _ = answer.send(found);
    })?;
    let left = until.saturating_duration_since(Instant::now());
    answered.recv_timeout(left).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Asks a proxy for a tunnel.
fn tunnel(socket: TcpStream, endpoint: &Endpoint, proxy: &Proxy, until: Instant) -> Result<TcpStream, Error> {
    let address = format!("{}:{}", proxy.host, proxy.port);
    let host = if endpoint.host.contains(':') { format!("[{}]", endpoint.host) } else { endpoint.host.clone() };
    let target = format!("{host}:{}", endpoint.port);
    let mut request = zeroize::Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
    if let Some(login) = &proxy.login {
        let encoded = zeroize::Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(login.as_bytes()));
        request.push_str("Proxy-Authorization: Basic ");
        request.push_str(&encoded);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let mut timed = Timed::new(socket, until);
    timed.write_all(request.as_bytes()).map_err(|error| ended(&address, error))?;
    match Reader::new(&mut timed).head_alone() {
        Ok((200..=299, _)) => Ok(timed.socket),
        Ok((status, reason)) => Err(Error::Proxy { address, answer: format!("{status} {reason}") }),
        Err(Unread::Malformed(reason)) => Err(Error::Protocol { address, reason }),
        Err(Unread::Io(error)) => Err(ended(&address, error)),
    }
}

/// Whether it is TLS that failed, rather than the connection below it.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<rustls::Error>())
}

fn handshake(mut timed: Timed, endpoint: &Endpoint, config: &Arc<ClientConfig>) -> Result<Stream, Error> {
    let address = endpoint.host_header();
    let refused = |reason: String| Error::Tls { address: address.clone(), reason };
    let name = ServerName::try_from(endpoint.host.clone()).map_err(|error| refused(error.to_string()))?;
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(|error| refused(error.to_string()))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut timed).map_err(|error| match error {
            error if is_refusal(&error) => refused(error.to_string()),
            error => ended(&address, error),
        })?;
    }
    Ok(Stream::Tls(Box::new(StreamOwned::new(tls, timed))))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

    /// A connection that is new, and the other end of it.
    fn new() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = listener.local_addr().expect("it is bound").port();
        let endpoint = Endpoint::parse(&format!("http://127.0.0.1:{port}")).expect("an address");
        let connection = Connection::open(&endpoint, None, None, soon()).expect("somebody listens");
        (connection, listener.accept().expect("a connection").0)
    }

    /// One that has carried a call.
    fn used() -> (Connection, TcpStream) {
        let (mut connection, mut peer) = new();
        peer.write_all(OK).expect("somebody reads");
        assert!(connection.exchange(REQUEST, soon()).is_ok_and(|answer| answer.keeps_alive));
        hear(&mut peer);
        (connection, peer)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn hear(peer: &mut TcpStream) {
        peer.read_exact(&mut [0; REQUEST.len()]).expect("a request");
    }

    fn arrived(connection: &Connection) {
        let Stream::Plain(timed) = &connection.stream else { panic!("it is no TLS") };
        timed.socket.peek(&mut [0]).expect("it comes");
    }

    #[test]
    fn a_connection_on_which_nothing_has_come_may_be_used_again() {
        let (connection, _peer) = new();
        assert!(connection.if_silent().is_some());
        let (connection, mut peer) = used();
        let mut connection = connection.if_silent().expect("it is silent");
        // Whoever reads next waits as before.
        let server = thread::spawn(move || {
            hear(&mut peer);
            peer.write_all(OK).expect("somebody reads");
            peer
        });
        assert!(connection.exchange(REQUEST, soon()).is_ok());
        let _peer = server.join().expect("it answers");
        assert!(connection.if_silent().is_some());
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_no_answer_to_the_next_request() {
        for more in [OK, b"HTTP/1.1 408 Too late\r\n\r\n", b"\r\n"] {
            for (connection, mut peer) in [new(), used()] {
                peer.write_all(more).expect("somebody is there");
                arrived(&connection);
                assert!(connection.if_silent().is_none());
            }
        }
    }

    #[test]
    fn what_a_socket_allows_follows_the_deadline_of_each_exchange() {
        let (mut connection, mut peer) = used();
        assert_eq!((connection.timed().read, connection.timed().write), (Some(READ), Some(READ)));
        // That was plenty of time, and is as much again.
        peer.write_all(OK).expect("somebody reads");
        assert!(connection.exchange(REQUEST, soon()).is_ok());
        hear(&mut peer);
        assert_eq!((connection.timed().read, connection.timed().write), (Some(READ), Some(READ)));
        // Nobody answers this time.
        let began = Instant::now();
        let failed = connection.exchange(REQUEST, began + Duration::from_millis(50)).expect_err("it is too late");
        assert!(matches!(failed.error, Error::Timeout { .. }), "{}", failed.error);
        assert!(began.elapsed() < READ / 2);
    }

    #[test]
    fn a_connection_that_has_ended_is_not_used_again() {
        for (connection, peer) in [new(), used()] {
            drop(peer);
            arrived(&connection);
            assert!(connection.if_silent().is_none());
        }
    }
}
