//! What a call is made of, but for the network: `cargo bench -p perdure-client`.

use std::hint::black_box;
use std::time::Instant;

use perdure_client::answer::Reader;
use perdure_client::credentials::Credentials;
use perdure_client::date::Moment;
use perdure_client::sigv4::{self, Request, Scope};

const ROUNDS: u32 = 20_000;

fn main() {
    let credentials = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", Some(&"token".repeat(150)));
    let path = "/2025-12-01/durable-executions/arn%3Aaws%3Alambda%3Aeu-west-1%3A1%3Afunction%3Af%3A1%2Fx/checkpoint";
    for size in [700, 64 * 1_024] {
        let body = vec![b'x'; size];
        let headers = [("host", "lambda.eu-west-1.amazonaws.com"), ("content-type", "application/json")];
        let request = Request { method: "POST", path, query: &[], headers: &headers, body: &body };
        let scope = Scope { region: "eu-west-1", service: "lambda" };
        measure(&format!("signing a request of {size} bytes"), || {
            black_box(sigv4::sign(black_box(&request), &credentials, scope, Moment::from_unix(1_767_225_600)));
        });
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n");
        let answer = [head.as_bytes(), &body].concat();
        measure(&format!("reading an answer of {size} bytes"), || {
            black_box(Reader::new(black_box(&*answer)).answer().is_ok());
        });
    }
}

#[expect(clippy::print_stdout, reason = "it is what a bench is for")]
fn measure(what: &str, act: impl Fn()) {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let began = Instant::now();
        for _ in 0..ROUNDS {
            act();
        }
        best = best.min(began.elapsed().as_secs_f64() / f64::from(ROUNDS));
    }
    println!("{what}: {:.2} µs", best * 1e6);
}
