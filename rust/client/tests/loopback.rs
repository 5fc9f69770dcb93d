//! The client against servers on loopback: kept connections, dead ones, slow ones, and what goes over the wire.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use perdure_client::client::Client;
use perdure_client::credentials::{Credentials, Source};
use perdure_client::endpoint::Endpoint;
use perdure_client::environment::Config;
use perdure_client::error::Error;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
const ARN: &str = "arn:aws:lambda:eu-west-1:1:function:f:1/durable-execution/a b/é";

/// A server that treats each connection, in turn, by one of the scripts; gives what it was sent.
fn serve(scripts: Vec<fn(&mut Peer)>) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("it is bound").port();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for script in scripts {
            let Ok((socket, _)) = listener.accept() else { return };
            script(&mut Peer { socket, tell: tell.clone() });
        }
    });
    (port, told)
}

struct Peer {
    socket: TcpStream,
    tell: mpsc::Sender<String>,
}

impl Peer {
    /// Reads one request, head and body.
    fn hear(&mut self) {
        let mut text = Vec::new();
        let mut byte = [0; 1];
        while !text.ends_with(b"\r\n\r\n") {
            self.socket.read_exact(&mut byte).expect("a head");
            text.push(byte[0]);
        }
        let head = String::from_utf8(text.clone()).expect("ASCII");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        self.socket.read_exact(&mut body).expect("a body");
        text.extend(body);
        let _ = self.tell.send(String::from_utf8(text).expect("UTF-8"));
    }

    fn say(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).expect("somebody listens");
    }
}

fn client(port: u16) -> Client {
    let config = Config {
        endpoint: Endpoint::parse(&format!("http://127.0.0.1:{port}")).expect("an address"),
        region: "eu-west-1".to_owned(),
        credentials: Source::Given(Credentials::new("AKID", "secret", Some("token"))),
        proxy: None,
        ca_bundle: None,
        max_attempts: None,
        app_id: None,
    };
    Client::new(config, "perdure/test".to_owned()).expect("nothing is read from a file")
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn checkpoint(client: &Client) -> Result<u16, Error> {
    client.checkpoint(client.present(), ARN, b"{\"CheckpointToken\": \"t\"}", soon()).map(|answer| answer.status)
}

#[test]
fn a_request_is_what_the_service_expects() {
    let (port, told) = serve(vec![|peer| {
        for _ in 0..2 {
            peer.hear();
            peer.say(OK);
        }
    }]);
    let client = client(port);
    assert_eq!(checkpoint(&client).expect("an answer"), 200);
    let page = client.state(client.present(), ARN, "to/ken", ("mark er", "1000"), soon()).expect("an answer");
    assert_eq!(page.body, b"{}");
    let (sent, asked) = (told.recv().expect("a request"), told.recv().expect("another on the same connection"));
    let arn = "arn%3Aaws%3Alambda%3Aeu-west-1%3A1%3Afunction%3Af%3A1%2Fdurable-execution%2Fa%20b%2F%C3%A9";
    assert!(sent.starts_with(&format!("POST /2025-12-01/durable-executions/{arn}/checkpoint HTTP/1.1\r\n")), "{sent}");
    assert!(sent.ends_with("\r\n\r\n{\"CheckpointToken\": \"t\"}"), "{sent}");
    let start = format!(
        "GET /2025-12-01/durable-executions/{arn}/state?CheckpointToken=to%2Fken&Marker=mark%20er&MaxItems=1000 HTTP/1.1\r\n"
    );
    assert!(asked.starts_with(&start), "{asked}");
    for request in [sent, asked] {
        for header in [
            &format!("host: 127.0.0.1:{port}"),
            "x-amz-security-token: token",
            "user-agent: perdure/test",
            "authorization: AWS4-HMAC-SHA256 Credential=AKID/",
        ] {
            assert!(request.contains(&format!("\r\n{header}")), "{header} in {request}");
        }
    }
}

#[test]
fn a_kept_connection_that_has_ended_costs_no_failure() {
    let (port, told) = serve(vec![
        |peer| {
            peer.hear();
            peer.say(OK);
        },
        |peer| {
            peer.hear();
            peer.say(OK);
        },
    ]);
    let client = client(port);
    assert_eq!(checkpoint(&client).expect("an answer"), 200);
    assert_eq!(checkpoint(&client).expect("an answer on a new connection"), 200);
    assert_eq!(told.iter().take(2).count(), 2);
}

/// Waits for what a peer tells last: on loopback, what it has said before is there by then.
fn done(told: &Receiver<String>) {
    while told.recv().expect("the peer goes on") != "done" {}
}

#[test]
fn what_nobody_asked_for_is_no_answer_to_the_next_call() {
    let late: [fn(&mut Peer); 2] = [
        |peer| {
            peer.hear();
            peer.say(OK);
            peer.say("HTTP/1.1 418 Nobody's\r\nContent-Length: 0\r\n\r\n");
            let _ = peer.tell.send("done".to_owned());
        },
        |peer| {
            peer.hear();
            peer.say(OK);
            peer.say("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            let _ = peer.tell.send("done".to_owned());
        },
    ];
    for script in late {
        let (port, told) = serve(vec![script, |peer| {
            peer.hear();
            peer.say(OK);
        }]);
        let client = client(port);
        assert_eq!(checkpoint(&client).expect("an answer"), 200);
        done(&told);
        assert_eq!(checkpoint(&client).expect("an answer on a new connection"), 200);
    }
}

#[test]
fn an_idle_connection_whose_end_crosses_a_call_costs_no_failure() {
    // It says so only when the call is there: nothing could be seen before.
    let (port, told) = serve(vec![
        |peer| {
            peer.hear();
            peer.say(OK);
            peer.hear();
            peer.say("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        },
        |peer| {
            peer.hear();
            peer.say(OK);
        },
    ]);
    let client = client(port);
    for _ in 0..2 {
        assert_eq!(checkpoint(&client).expect("an answer"), 200);
    }
    assert_eq!(told.iter().take(3).count(), 3);
    // On a new connection it is said of this very call.
    let (port, _told) = serve(vec![|peer| {
        peer.hear();
        peer.say("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
    }]);
    assert_eq!(checkpoint(&self::client(port)).expect("an answer"), 408);
}

#[test]
fn a_prepared_connection_that_has_ended_costs_no_failure() {
    let at_once: fn(&mut Peer) = |_| {};
    let with_the_call: fn(&mut Peer) = Peer::hear;
    for script in [at_once, with_the_call] {
        let (port, _told) = serve(vec![script, |peer| {
            peer.hear();
            peer.say(OK);
        }]);
        let client = client(port);
        assert!(client.prepare(soon()));
        client.settle();
        assert_eq!(checkpoint(&client).expect("an answer on a new connection"), 200);
    }
}

#[test]
fn a_call_whose_answer_began_is_not_repeated() {
    let (port, told) = serve(vec![|peer| {
        peer.hear();
        peer.say(OK);
        peer.hear();
        peer.say("HTTP/1.1 2");
    }]);
    let client = client(port);
    checkpoint(&client).expect("an answer");
    assert!(matches!(checkpoint(&client), Err(Error::Lost { .. })));
    assert_eq!(told.iter().take(3).count(), 2);
}

#[test]
fn a_new_connection_that_dies_is_an_error() {
    let (port, _told) = serve(vec![Peer::hear]);
    assert!(matches!(checkpoint(&client(port)), Err(Error::Lost { .. })));
}

#[test]
fn a_connection_that_is_not_kept_is_not_used_again() {
    let closing: fn(&mut Peer) = |peer| {
        peer.hear();
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    };
    let (port, _told) = serve(vec![closing, closing]);
    let client = client(port);
    for _ in 0..2 {
        assert_eq!(checkpoint(&client).expect("an answer"), 200);
    }
}

#[test]
fn no_answer_is_waited_for_beyond_the_deadline() {
    // It says a little, again and again, and never enough.
    let (port, _told) = serve(vec![|peer| {
        peer.hear();
        peer.say("HTTP/1.1 200 OK\r\n");
        while peer.socket.write_all(b"x: y\r\n").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    }]);
    let began = Instant::now();
    let client = client(port);
    let answer = client.checkpoint(client.present(), ARN, b"{}", began + Duration::from_millis(300));
    assert!(matches!(answer, Err(Error::Timeout { .. } | Error::Protocol { .. })), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_host_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    let error = checkpoint(&client(port)).expect_err("nobody listens");
    assert!(matches!(error, Error::Connect { .. }));
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[test]
fn redirects_are_answers_like_any_other() {
    let (port, _told) = serve(vec![|peer| {
        peer.hear();
        peer.say("HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
    }]);
    assert_eq!(checkpoint(&client(port)).expect("an answer"), 307);
}

#[test]
fn a_connection_that_was_prepared_is_the_one_that_is_used() {
    let (port, told) = serve(vec![|peer| {
        peer.hear();
        peer.say(OK);
    }]);
    let client = client(port);
    assert!(client.prepare(soon()));
    assert!(!client.prepare(soon()), "one is on its way");
    client.settle();
    client.withdraw(); // which comes too late
    assert!(!client.prepare(soon()), "one is open");
    assert_eq!(checkpoint(&client).expect("an answer"), 200);
    assert_eq!(told.iter().take(1).count(), 1);
}

#[test]
fn a_connection_that_nobody_waits_for_any_more_is_given_up_at_once() {
    // Connected, it never goes on with the handshake.
    let (port, told) = serve(vec![|peer| {
        let length = peer.socket.read(&mut [0; 1_024]).expect("a greeting");
        let _ = peer.tell.send(length.to_string());
        let rest = peer.socket.read_to_end(&mut Vec::new());
        let _ = peer.tell.send(format!("gone: {}", rest.is_ok()));
    }]);
    let plain = client(port);
    let endpoint = Endpoint::parse(&format!("https://127.0.0.1:{port}")).expect("it is one");
    let client =
        Client::new(Config { endpoint, ..plain.config().clone() }, String::new()).expect("nothing is read from a file");
    assert!(client.prepare(soon()));
    assert_ne!(told.recv().expect("a greeting"), "0");
    let began = Instant::now();
    client.withdraw();
    assert!(began.elapsed() < Duration::from_secs(4), "a handshake may take 5 s");
    assert_eq!(told.recv().expect("the end"), "gone: true");
    assert!(client.prepare(soon()), "nothing is open");
    client.withdraw();
}

#[test]
fn an_execution_through_a_proxy_asks_for_a_tunnel() {
    let (port, told) = serve(vec![|peer| {
        let mut head = [0; 1_024];
        let length = peer.socket.read(&mut head).expect("a request");
        let _ = peer.tell.send(String::from_utf8_lossy(&head[..length]).into_owned());
        peer.say("HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n");
    }]);
    let login = Some("user:pass".to_owned().into());
    let proxy = perdure_client::environment::Proxy { host: "127.0.0.1".to_owned(), port, login };
    let endpoint = Endpoint::of_region("eu-west-1", false, false).expect("it is known");
    let config = Config { endpoint, proxy: Some(proxy), ..client(port).config().clone() };
    let client = Client::new(config, String::new()).expect("nothing is read from a file");
    let error = checkpoint(&client).expect_err("the proxy refuses");
    assert!(error.to_string().contains("407 Who are you"), "{error}");
    let asked = told.recv().expect("a request");
    assert!(asked.starts_with("CONNECT lambda.eu-west-1.amazonaws.com:443 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n"), "{asked}");
}
